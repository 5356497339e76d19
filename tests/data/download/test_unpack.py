"""Archives of unknown hands: nothing outside the folder, no links, no bombs, no halves."""

from __future__ import annotations

import io
import os
import random
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from clipbench.data.download import unpack as module
from clipbench.data.download.unpack import DamagedArchiveError, unpack
from clipbench.errors import UserError
from tests.data.download.made import images, tarred, tree, zipped

FILES = images() | {"MADE/notes with spaces.txt": b"n", "MADE/ünïcode.txt": b"u"}


def written(tmp_path: Path, content: bytes, name: str = "a") -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("mode", ["zip", "w:", "w:gz", "w:bz2", "w:xz"])
def test_every_kind_unpacks_to_the_files_that_went_in(tmp_path: Path, mode: str) -> None:
    content = zipped(FILES) if mode == "zip" else tarred(FILES, mode)
    kind = "zip" if mode == "zip" else "tar"
    assert unpack(written(tmp_path, content), kind, tmp_path / "out") == sum(map(len, FILES.values()))
    assert tree(tmp_path / "out") == FILES


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_what_desktops_leave_behind_is_passed_over(tmp_path: Path, kind: str) -> None:
    junk = ["__MACOSX/MADE/._a.jpg", "MADE/._a.jpg", "MADE/.DS_Store", "MADE/Lake/Thumbs.db", "MADE/desktop.ini"]
    files = FILES | dict.fromkeys(junk, b"junk")
    unpack(written(tmp_path, zipped(files) if kind == "zip" else tarred(files)), kind, tmp_path / "out")
    assert tree(tmp_path / "out") == FILES


# Members that would leave the folder

ESCAPES = ["/etc/clipbench-evil", "../evil", "MADE/../../evil", "MADE/..", "\\\\server\\evil", "C:\\evil", "..\\evil"]


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("name", ESCAPES)
def test_a_path_that_leaves_the_folder_is_refused(tmp_path: Path, kind: str, name: str) -> None:
    archive = written(tmp_path, zipped({name: b"evil"}) if kind == "zip" else tarred({name: b"evil"}))
    with pytest.raises(UserError, match=r"absolute path|would leave the folder") as error:
        unpack(archive, kind, tmp_path / "deep" / "out")
    assert "\n" not in str(error.value)
    assert set(tree(tmp_path)) == {"a"}


def link(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE], ids=["symlink", "hard link"])
@pytest.mark.parametrize("target", ["/etc/passwd", "../../etc/passwd", "..", "MADE/../../x"])
def test_a_link_out_of_the_folder_is_refused(tmp_path: Path, kind: bytes, target: str) -> None:
    archive = written(tmp_path, tarred({"MADE/a": b"a"}, extra=(link("door", target, kind),)))
    with pytest.raises(UserError, match="outside the folder"):
        unpack(archive, "tar", tmp_path / "out")
    assert not (tmp_path / "out" / "door").exists()


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    """A link to a folder, then a file below it: the oldest trick."""
    extra = (link("door", ".", tarfile.SYMTYPE), tarfile.TarInfo("door/evil"))
    with pytest.raises(UserError, match="no file of the archive"):
        unpack(written(tmp_path, tarred({"a": b"a"}, extra=extra)), "tar", tmp_path / "out")
    assert not any(p.is_symlink() for p in (tmp_path / "out").rglob("*"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE], ids=["symlink", "hard link"])
def test_a_link_inside_becomes_a_copy(tmp_path: Path, kind: bytes) -> None:
    target = "a.jpg" if kind == tarfile.SYMTYPE else "MADE/a.jpg"
    unpack(
        written(tmp_path, tarred({"MADE/a.jpg": b"abc"}, extra=(link("MADE/b.jpg", target, kind),))), "tar", tmp_path
    )
    copy = tmp_path / "MADE" / "b.jpg"
    assert copy.read_bytes() == b"abc"
    assert not copy.is_symlink()
    assert copy.stat().st_nlink == 1


@pytest.mark.parametrize("target", ["../../outside", "/etc/passwd", "x" * 5000])
def test_a_link_in_a_zip_that_leads_out_is_refused(tmp_path: Path, target: str) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        info = zipfile.ZipInfo("MADE/door")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, target)
    with pytest.raises(UserError, match="is a link"):
        unpack(written(tmp_path, out.getvalue()), "zip", tmp_path / "out")


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE], ids=["chr", "blk", "fifo"])
def test_devices_and_pipes_are_refused(tmp_path: Path, kind: bytes) -> None:
    archive = written(tmp_path, tarred({"a": b"a"}, extra=(link("null", "", kind),)))
    with pytest.raises(UserError, match="'null' is a device or pipe"):
        unpack(archive, "tar", tmp_path / "out")


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    content = bytearray(zipped({"a": b"a"}))
    content[6] |= 1
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(UserError, match="is encrypted"):
        unpack(written(tmp_path, bytes(content)), "zip", tmp_path / "out")


# Bombs


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_bomb_is_refused_before_it_fills_the_disk(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST_ALLOWED", 2 * 10**6)
    zeros = {f"{i}": bytes(900_000) for i in range(4)}
    archive = written(tmp_path, zipped(zeros) if kind == "zip" else tarred(zeros))
    with pytest.raises(UserError, match=r"unpacks to more than 2.0 MB"):
        unpack(archive, kind, tmp_path / "out")
    assert sum(map(len, tree(tmp_path / "out").values())) <= module.LEAST_ALLOWED


def test_a_bomb_is_measured_by_the_size_that_the_catalogue_states(tmp_path: Path) -> None:
    archive = written(tmp_path, zipped({"a": bytes(1200), "b": bytes(1200)}))
    assert unpack(archive, "zip", tmp_path / "one", stated=2400) == 2400
    with pytest.raises(UserError, match=r"unpacks to more than 1.2 kB"):
        unpack(archive, "zip", tmp_path / "two", stated=1000)


def test_a_header_that_lies_about_the_size_does_not_help(tmp_path: Path) -> None:
    content = bytearray(zipped({"a": bytes(10**6)}))
    for at in (content.index(b"PK\x03\x04") + 22, content.index(b"PK\x01\x02") + 24):
        content[at : at + 4] = (10).to_bytes(4, "little")
    with pytest.raises(UserError):
        unpack(written(tmp_path, bytes(content)), "zip", tmp_path / "out", stated=1000)
    assert sum(map(len, tree(tmp_path / "out").values())) <= 1200


# Damage


@pytest.mark.parametrize("mode", ["zip", "w:gz", "w:xz", "w:bz2"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_cut_archive_is_one_paragraph(tmp_path: Path, mode: str, share: float) -> None:
    content = zipped(FILES) if mode == "zip" else tarred(FILES, mode)
    archive = written(tmp_path, content[: int(share * len(content))])
    with pytest.raises(DamagedArchiveError, match="cut or damaged") as error:
        unpack(archive, "zip" if mode == "zip" else "tar", tmp_path / "out")
    assert str(archive) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("mode", ["zip", "w:gz", "w:xz", "w:bz2", "w:"])
def test_wrong_bytes_never_end_in_a_traceback(tmp_path: Path, mode: str) -> None:
    content = zipped(FILES) if mode == "zip" else tarred(FILES, mode)
    for seed in range(40):
        draw = random.Random(seed)  # noqa: S311 - reproducible damage
        damaged = bytearray(content)
        for _ in range(draw.randint(1, 20)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        out = tmp_path / f"out{seed}"
        try:
            unpack(written(tmp_path, bytes(damaged)), "zip" if mode == "zip" else "tar", out)
        except UserError as error:
            assert "\n" not in str(error)  # noqa: PT017
        assert {p.name for p in tmp_path.iterdir()} <= {"a", *(f"out{i}" for i in range(40))}


def test_a_damaged_header_in_the_middle_is_no_end(tmp_path: Path) -> None:
    content = bytearray(tarred(FILES, "w:"))
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        second = archive.getmembers()[1].offset
    content[second + 148] ^= 1
    with pytest.raises(DamagedArchiveError, match="header of a member is damaged"):
        unpack(written(tmp_path, bytes(content)), "tar", tmp_path / "out")


def test_a_zip_packed_as_windows_does_is_not_called_damaged(tmp_path: Path) -> None:
    content = bytearray(zipped({"a.jpg": b"a"}))
    for start, at in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        content[content.find(start) + at] = 9  # Deflate64
    with pytest.raises(UserError, match="uncommon manner") as told:
        unpack(written(tmp_path, bytes(content)), "zip", tmp_path / "out")
    assert not isinstance(told.value, DamagedArchiveError)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_web_page_saved_as_an_archive_is_one_paragraph(tmp_path: Path, kind: str) -> None:
    with pytest.raises(DamagedArchiveError, match="cut or damaged"):
        unpack(written(tmp_path, b"<!doctype html>" * 100), kind, tmp_path / "out")


# The disk


def test_too_little_room_is_said_before_a_file_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(UserError, match=r"unpacking a needs .* but 100 bytes are free there"):
        unpack(written(tmp_path, zipped({"big": os.urandom(1000)})), "zip", tmp_path / "out")
    assert tree(tmp_path / "out") == {} if (tmp_path / "out").exists() else True
