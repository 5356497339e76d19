"""The wheel."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.cli.commands_for_tests import ROOT


def test_the_wheel_carries_the_registry_and_the_tiny_model(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="the build backend hatchling is not installed, and may not be fetched here")
    words = [sys.executable, "-m", "pip", "wheel", str(ROOT), "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for name in (
        "clipbench/benchmarks/lora_clip/published.csv",
        "clipbench/benchmarks/clip_dora/table1.toml",
        "clipbench/models/tiny/clipbench-tiny.safetensors",
        "clipbench/data/catalogue/aid.toml",
        "clipbench/py.typed",
    ):
        assert name in names
    assert not any(name.startswith(("tests/", "benchmarks/")) for name in names)
