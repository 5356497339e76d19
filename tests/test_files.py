"""Whole or absent: what is written beside, renamed, refused, and swept."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from clipbench import files
from clipbench.errors import near
from clipbench.files import WriteError, beside, sweep, write_bytes, write_json, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_text_bytes_and_json_are_written_with_their_folders(tmp_path: Path) -> None:
    assert write_text(tmp_path / "a" / "b.txt", "é\n").read_bytes() == b"\xc3\xa9\n"
    assert write_json(tmp_path / "c.json", {"x": [1]}).read_text() == '{\n "x": [\n  1\n ]\n}\n'
    write_bytes(tmp_path / "c.json", b"two")
    assert (tmp_path / "c.json").read_bytes() == b"two"
    assert names(tmp_path) == ["a", "c.json"]


def test_a_body_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = write_text(tmp_path / "x", "old")
    with pytest.raises(ZeroDivisionError), beside(path) as partial:
        partial.write_text(f"half {1 / 0}")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["x"]


def test_of_two_folders_the_first_one_stays(tmp_path: Path) -> None:
    with beside(tmp_path / "set") as second:
        second.mkdir()
        (second / "n").write_text("2")
        with beside(tmp_path / "set") as first:
            first.mkdir()
            (first / "n").write_text("1")
    assert (tmp_path / "set" / "n").read_text() == "1"
    assert names(tmp_path) == ["set"]


def test_threads_that_write_one_path_leave_one_whole_file(tmp_path: Path) -> None:
    contents = [bytes([n]) * 100_000 for n in range(8)]
    threads = [threading.Thread(target=write_bytes, args=(tmp_path / "x", content)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "x").read_bytes() in contents
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("file/x", "a file stands where a folder should be"),
        ("folder", "a folder stands where the file should be"),
        ("n" * 300, "its name is longer than this file system takes"),
        ("/".join(["long" * 10] * 120), "its name is longer than this file system takes"),
    ],
)
def test_what_cannot_be_written_is_one_sentence(tmp_path: Path, where: str, why: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(WriteError, match=f"cannot be written: {why}.*--out"):
        write_bytes(tmp_path / where, b"")
    assert names(tmp_path) == ["file", "folder"]


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(WriteError, match=r"x cannot be written: the disk is full\. Buy another"):
        write_bytes(tmp_path / "x", b"content", "Buy another.")


def test_what_a_killed_process_left_is_swept_and_what_a_living_one_makes_stays(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from clipbench.files import beside\n"
        "with beside(Path(sys.argv[1])) as partial:\n"
        "    partial.mkdir(); (partial / 'image').write_text('half'); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "set")], check=False)
    assert done.returncode == -9
    assert len(names(tmp_path)) == 1
    with beside(tmp_path / "x") as mine:
        mine.write_text("whole")
        assert names(tmp_path) == [mine.name]
        sweep(tmp_path)
    assert names(tmp_path) == ["x"]


def test_a_number_given_out_again_is_another_process(tmp_path: Path) -> None:
    name = files.partial_name("x").replace(f"-{files.process_start(os.getpid())}-", "-1-")
    (tmp_path / name).touch()
    sweep(tmp_path)
    assert names(tmp_path) == []


def test_the_partial_file_of_another_machine_is_swept_after_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "machine", lambda: "0123abcd")
    path = tmp_path / files.partial_name("x")
    path.touch()
    monkeypatch.undo()
    sweep(tmp_path)
    assert path.exists()
    os.utime(path, (0, time.time() - files.STALE_SECONDS - 60))
    sweep(tmp_path)
    assert not path.exists()


def test_near_names() -> None:
    assert near("tabel2", ["table2", "figure4"]) == " Did you mean table2?"
    assert near("qqq", ["table2"]) == ""
