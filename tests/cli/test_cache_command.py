"""``clipbench cache``: sizes, and pruning that removes what it says and nothing else."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.cli.commands_for_tests import Captured, as_json, call

DAY = 86_400


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLIPBENCH_CACHE", str(tmp_path / "cache"))
    sizes = {
        "images/old.npy": 1000,
        "images/.partial-host-1": 70,
        "features/new.safetensors": 300,
        "smoke/smoke-1/ucm/a.jpg": 20,
        "smoke/smoke-1/ucm/b.jpg": 20,
        "mine/thesis.txt": 5,
    }
    for name, size in sizes.items():
        path = tmp_path / "cache" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
    long_ago = time.time() - 40 * DAY
    for name in ("images/old.npy", "smoke/smoke-1/ucm/a.jpg"):
        os.utime(tmp_path / "cache" / name, (long_ago, long_ago))
    return tmp_path / "cache"


def left(cache: Path) -> set[str]:
    return {path.relative_to(cache).as_posix() for path in cache.rglob("*") if path.is_file()}


def test_it_tells_sizes_and_removes_nothing(capsys: Captured, cache: Path) -> None:
    before = left(cache)
    found = {kind["name"]: kind for kind in as_json(capsys, "cache", "--json")["kinds"]}
    assert {name: (kind["files"], kind["bytes"]) for name, kind in found.items()} == {
        "images": (1, 1000),
        "features": (1, 300),
        "digests": (0, 0),
        "smoke": (2, 40),
    }
    assert left(cache) == before
    text = call(capsys, "cache")[1]
    assert str(cache) in text
    assert "would remove: 4 files, 1.3 kB" in text


def test_only_what_was_not_used_for_long_goes_and_a_folder_goes_as_a_whole(capsys: Captured, cache: Path) -> None:
    before = left(cache)
    code, said, _ = call(capsys, "cache", "--prune", "--unused", "30")
    assert code == 0
    assert "removed: 1 files, 1.0 kB" in said
    assert left(cache) == before - {"images/old.npy"}


def test_prune_removes_all_but_what_is_being_written_and_what_is_not_ours(capsys: Captured, cache: Path) -> None:
    assert call(capsys, "cache", "--prune", "--kind", "smoke")[0] == 0
    assert "images/old.npy" in left(cache)
    assert not any(name.startswith("smoke") for name in left(cache))
    assert call(capsys, "cache", "--prune")[0] == 0
    assert left(cache) == {"images/.partial-host-1", "mine/thesis.txt"}
