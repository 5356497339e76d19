"""Subsets on disk: whole or absent; two writers at once; never stale."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from clipbench.data.painted import SUBSETS, data_folder, write, write_subset
from clipbench.errors import UserError


@pytest.fixture
def small(monkeypatch):
    """UCM with two images a class, so that a test of the machinery takes no time."""
    subset = replace(SUBSETS["ucm"], split={"": 2})
    monkeypatch.setattr(write, "SUBSETS", {"ucm": subset})
    return subset


def test_tif_keeps_the_pixels_exactly(small, tmp_path):
    folder = write_subset("ucm", tmp_path)
    with Image.open(folder / "Images/river/river_002.tif") as image:
        assert np.array_equal(np.asarray(image), small.paint("river", 1))


def test_a_second_call_returns_at_once_and_changes_nothing(small, tmp_path):
    folder = write_subset("ucm", tmp_path)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    started = time.monotonic()
    assert write_subset("ucm", tmp_path) == folder
    assert time.monotonic() - started < 0.1
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_another_generator_version_writes_anew(small, tmp_path, monkeypatch):
    old = write_subset("ucm", tmp_path)
    monkeypatch.setattr(write, "generator_version", lambda: "01234567")
    new = write_subset("ucm", tmp_path)
    assert new != old
    assert new.is_dir()


def test_a_process_killed_in_the_middle_leaves_nothing_that_is_taken_for_complete(tmp_path):
    code = "import sys, pathlib, clipbench.data.painted as s; s.write_subset('aid', pathlib.Path(sys.argv[1]))"
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    while not list(tmp_path.rglob("*.jpg")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list(tmp_path.rglob("*.jpg"))
    assert not (data_folder(tmp_path) / "AID").exists()


def test_an_error_in_the_middle_leaves_nothing_at_all(small, tmp_path, monkeypatch):
    def full_disk(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(Image.Image, "save", full_disk)
    with pytest.raises(UserError, match=r"cannot be written: No space left"):
        write_subset("ucm", tmp_path)
    assert not list(data_folder(tmp_path).iterdir())


def test_the_loser_of_a_race_uses_the_winner_s_files(small, tmp_path, monkeypatch):
    plain = write._write_files

    def slow(subset, folder):
        plain(subset, folder)
        monkeypatch.setattr(write, "_write_files", plain)
        write_subset("ucm", tmp_path)  # somebody else is done before this one renames

    monkeypatch.setattr(write, "_write_files", slow)
    folder = write_subset("ucm", tmp_path)
    assert len(list(folder.rglob("*.tif"))) == 2 * len(small.classes)
    assert [path.name for path in folder.parent.iterdir()] == ["UCMerced_LandUse"]


def test_an_unknown_data_set_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(UserError, match=r"no smoke subset of 'cifar10'.*ucm, aid"):
        write_subset("cifar10", tmp_path)
