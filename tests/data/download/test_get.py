"""A whole data set: fetched, unpacked beside its place, and renamed; whatever happens, nothing half-made is seen."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from clipbench.data.catalogue import Entry
from clipbench.data.download.download import Patience
from clipbench.data.download.get import STAGING, Got, get
from clipbench.data.download.presence import look
from clipbench.errors import UserError
from tests.data.download.made import images, jpeg, made, source, tarred, tree, zipped
from tests.data.download.server import Server, serving

SPAWN = multiprocessing.get_context("spawn")
QUICK = Patience(tries=2, pause=0.01)


def silent(_: str) -> None:
    """Nobody listens."""


def got(entry: Entry, root: Path, given: Path | None = None) -> Got:
    return get(entry, root, silent, given, QUICK)


def check(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_a_data_set_comes_whole_and_stays(server: Server, tmp_path: Path) -> None:
    content = zipped(images())
    entry = made(source(server.put("made.zip", content), checksum=check(content)))
    found = got(entry, tmp_path / "new" / "root")
    assert (found.presence.state, found.placed, found.without) == ("complete", ("MADE",), ())
    assert tree(tmp_path / "new" / "root") == images()
    assert got(entry, tmp_path / "new" / "root").placed == ()
    assert len(server.asked) == 1
    assert [p.name for p in (tmp_path / "new" / "root" / STAGING / "made").iterdir()] == ["lock"]


def test_what_is_there_in_part_is_neither_overwritten_nor_mixed(server: Server, tmp_path: Path) -> None:
    mine = {"MADE/DenseWood/mine.jpg": b"1", "MADE/Lake/mine.jpg": b"2"}
    for name, content in mine.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=r"holds a part of Made Set: It has 2 of 5 images.*left as it is"):
        got(made(source(server.put("a", zipped(images())))), tmp_path)
    assert tree(tmp_path) == mine
    assert server.asked == []


def test_files_that_are_there_already_stay_as_they_are(server: Server, tmp_path: Path) -> None:
    (tmp_path / "MADE").mkdir()
    (tmp_path / "MADE" / "split.json").write_text("mine")
    split = source(server.put("s", b"theirs"), name="split.json", into="MADE", archive="none")
    found = got(made(source(server.put("a", zipped(images()))), split), tmp_path)
    assert found.presence.state == "complete"
    assert tree(tmp_path) == images() | {"MADE/split.json": b"mine"}
    assert [path for path, _ in server.asked] == ["a"]


def test_a_list_is_fetched_even_where_the_images_must_be_asked_for(server: Server, tmp_path: Path) -> None:
    names = source(server.put("s", b"a list"), name="names.txt", into="MADE", archive="none")
    with pytest.raises(UserError, match=r"no program can fetch Made Set: .*MADE is there now"):
        got(made(names, source(), standing="by-request"), tmp_path)
    assert tree(tmp_path) == {"MADE/names.txt": b"a list"}
    for name, content in images().items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert got(made(names, source(), standing="by-request"), tmp_path).presence.state == "complete"


def test_images_that_come_after_their_lists_are_known_by_them(server: Server, tmp_path: Path) -> None:
    """The annotation files of a segmentation set, fetched before; without them its reader finds nothing."""
    lists = {f"SEG/anns/{part}.json": b"[]" for part in ("train", "val", "test")}
    item = [{"img_name": "a.jpg", "mask_name": "a.png", "prompts": {"p0": ""}}]
    lists["SEG/anns/train.json"] = json.dumps(item).encode()
    for name, content in lists.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    archive = source(server.put("a", zipped({"SEG/images/a.jpg": jpeg(), "SEG/masks/a.png": jpeg()})))
    plain = [source(name=f"{part}.json", into="SEG/anns", archive="none") for part in ("train", "val", "test")]
    one = replace(
        made(archive, *plain, folder="SEG"),
        layout="masked",
        folders=["SEG"],
        classes={"polyp": 1},
        class_count=1,
        layout_options={"annotations": [], "sources": [{"images": ["images"], "masks": ["masks"]}]},
    )
    assert got(one, tmp_path).presence.state == "complete"
    assert {name: content for name, content in tree(tmp_path).items() if name in lists} == lists


def test_an_optional_file_that_cannot_be_had_does_not_stop_the_rest(server: Server, tmp_path: Path) -> None:
    split = source(server.url("gone"), name="s.json", into="MADE", archive="none", optional="The split is rebuilt.")
    found = got(made(split, source(server.put("a", zipped(images())))), tmp_path)
    assert found.presence.state == "complete"
    assert "HTTP 404" in found.without[0]
    assert found.without[0].endswith("The split is rebuilt.")


def test_a_folder_of_the_archive_is_taken_and_inner_archives_are_unpacked(server: Server, tmp_path: Path) -> None:
    inner = tarred({name.removeprefix("MADE/"): content for name, content in images().items()})
    content = zipped({"release-1/data/classes.tar.gz": inner, "release-1/readme": b"r"})
    taken = source(server.put("a", content), into="MADE", take="release-1/data", inner=("classes.tar.gz",))
    assert got(made(taken), tmp_path).presence.state == "complete"
    assert tree(tmp_path) == images()


def test_an_archive_of_something_else_is_not_put_in_place(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="what came is not Made Set"):
        got(made(source(server.put("a", zipped({"other/a.jpg": jpeg()})))), tmp_path)
    assert tree(tmp_path) == {}


def test_a_cut_archive_is_not_met_again(server: Server, tmp_path: Path) -> None:
    content = zipped(images())
    entry = made(source(server.put("a", content[:-100])))
    with pytest.raises(UserError, match="cut or damaged"):
        got(entry, tmp_path)
    assert look(entry, tmp_path).state == "missing"
    server.put("a", content)
    assert got(entry, tmp_path).presence.state == "complete"


def test_an_archive_that_escapes_leaves_nothing_but_its_download(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="would leave the folder"):
        got(made(source(server.put("a", zipped(images() | {"../../../evil": b"x"})))), tmp_path / "root")
    assert tree(tmp_path) == {}


# Files from the user's hand


@pytest.mark.parametrize("named", ["made.zip", "some other name (1).zip"])
def test_an_archive_that_the_user_has_is_taken(tmp_path: Path, named: str) -> None:
    (tmp_path / named).write_bytes(zipped(images()))
    given = tmp_path if named == "made.zip" else tmp_path / named
    assert got(made(source(), standing="by-request"), tmp_path / "root", given).presence.state == "complete"
    assert (tmp_path / named).exists()


def test_the_users_archive_is_taken_beside_an_optional_one(server: Server, tmp_path: Path) -> None:
    (tmp_path / "mine.zip").write_bytes(zipped(images()))
    lists = source(server.url("gone"), name="lists.zip", optional="Not needed.")
    found = got(made(source(server.url("gone")), lists), tmp_path / "root", tmp_path / "mine.zip")
    assert (found.presence.state, [path for path, _ in server.asked]) == ("complete", ["gone"])


def test_a_file_to_take_that_is_not_there_is_said_at_once(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--from .*nowhere: there is no such file or folder"):
        got(made(source(server.put("a", zipped(images())))), tmp_path / "root", tmp_path / "nowhere")
    assert server.asked == []


def test_the_users_archive_is_checked(tmp_path: Path) -> None:
    (tmp_path / "made.zip").write_bytes(zipped(images()))
    with pytest.raises(UserError, match="is not the file that the catalogue means"):
        got(made(source(checksum=check(b"other"))), tmp_path / "root", tmp_path)


def test_what_no_program_can_fetch_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        got(made(standing="by-request"), tmp_path)
    for part in ("no program can fetch Made Set", "by request as of 2026-01-02 (the test)", "Write to its authors."):
        assert part in str(error.value)
    assert not list(tmp_path.iterdir())


# The disk


def test_too_small_a_disk_is_said_before_anything_is_fetched(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: real._replace(free=10**6))
    with pytest.raises(UserError, match=r"Made Set needs 5.0 MB .* but 1.0 MB are free"):
        got(made(source(server.put("a", b""), bytes=2 * 10**6), unpacked_bytes=3 * 10**6), tmp_path)
    assert server.asked == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB, where this machine lets us mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no small file system can be mounted here (that needs root)")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("length", [True, False], ids=["length stated", "length unknown"])
def test_a_full_disk_is_one_paragraph_and_what_came_is_kept(server: Server, small_disk: Path, length: bool) -> None:
    entry = made(source(server.put("a", os.urandom(3_000_000), length=length)))
    with pytest.raises(UserError, match="the disk is full" if not length else "are free there"):
        got(entry, small_disk)
    assert look(entry, small_disk).state == "missing"
    partial = small_disk / STAGING / "made" / "downloads" / "made.zip.partial"
    assert length or partial.stat().st_size > 500_000


def test_a_disk_that_fills_while_unpacking_leaves_nothing_in_place(server: Server, small_disk: Path) -> None:
    entry = made(source(server.put("a", zipped(images() | {"MADE/big": bytes(5_000_000)}))))
    with pytest.raises(UserError, match=r"unpacking made.zip needs"):
        got(entry, small_disk)
    assert tree(small_disk) == {}


def test_a_file_that_may_not_grow_is_one_paragraph(server: Server, tmp_path: Path) -> None:
    """A process limit on file sizes stands for a quota: it works without root."""
    url = server.put("a", os.urandom(3_000_000))
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000)); "
        "from tests.data.download.test_get import *; from tests.data.download.made import made, source; "
        "import sys; from pathlib import Path\n"
        "try:\n    got(made(source(sys.argv[1])), Path(sys.argv[2]))\nexcept UserError as e:\n    print(e)"
    )
    done = subprocess.run([sys.executable, "-c", code, url, tmp_path], capture_output=True, text=True, check=True)
    assert "cannot be written: the file grows beyond what this disk or process may write" in done.stdout


def test_a_target_that_cannot_be_made_is_one_paragraph(server: Server, tmp_path: Path) -> None:
    (tmp_path / "root").write_text("a file is in the way")
    with pytest.raises(UserError, match="is a file, where Made Set needs a folder"):
        got(made(source(server.put("a", zipped(images())))), tmp_path / "root")


def test_a_read_only_target_is_one_paragraph(server: Server, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    if os.geteuid() == 0:  # whom permissions do not bind
        command = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", root]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("root may write everywhere, and no read-only file system can be mounted here")
    else:
        root.chmod(0o555)
    try:
        with pytest.raises(UserError, match=r"cannot be written: .*(read-only|not permitted).*--data DIR"):
            got(made(source(server.put("a", zipped(images())))), root)
    finally:
        if os.geteuid() == 0:
            subprocess.run(["umount", root], check=True)
    assert server.asked == []


# Processes


def _get(url: str, checksum: str, root: str) -> None:
    got(made(source(url, checksum=checksum)), Path(root))


def test_two_processes_at_once_fetch_once(server: Server, tmp_path: Path) -> None:
    content = zipped(images() | {"MADE/more": os.urandom(500_000)})
    url = server.put("a", content, pause=0.1)
    workers = [SPAWN.Process(target=_get, args=(url, check(content), str(tmp_path))) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert server.asked == [("a", None)]
    assert set(tree(tmp_path)) == {*images(), "MADE/more"}


def test_a_kill_in_mid_download_leaves_a_part_that_the_next_call_completes(tmp_path: Path) -> None:
    content = zipped(images() | {"MADE/more": os.urandom(3_000_000)})
    with serving() as server:
        url = server.put("a", content, pause=0.05)
        worker = SPAWN.Process(target=_get, args=(url, check(content), str(tmp_path)))
        worker.start()
        partial = tmp_path / STAGING / "made" / "downloads" / "made.zip.partial"
        deadline = time.monotonic() + 30
        while not (partial.exists() and partial.stat().st_size > 300_000):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(worker.pid or 0, signal.SIGKILL)
        worker.join(10)
        assert tree(tmp_path) == {}
        kept = partial.stat().st_size
        server.files["a"].pause = 0.0
        _get(url, check(content), str(tmp_path))
        assert server.asked == [("a", None), ("a", f"bytes={kept}-")]
    assert set(tree(tmp_path)) == {*images(), "MADE/more"}


def test_a_kill_while_unpacking_leaves_nothing_that_is_taken_for_data(server: Server, tmp_path: Path) -> None:
    """What a killed process leaves: an archive that is whole, and a folder that is not."""
    content = zipped(images())
    entry = made(source(server.put("a", content), checksum=check(content)))
    half = tmp_path / STAGING / "made" / "unpacked" / "MADE" / "DenseWood"
    half.mkdir(parents=True)
    (half / "densewood_1.jpg").write_bytes(b"ha")
    assert look(entry, tmp_path).state == "missing"
    assert got(entry, tmp_path).presence.state == "complete"
    assert tree(tmp_path) == images()
