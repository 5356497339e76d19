"""The measured rate of a device: kept in the cache folder, in time, and never a reason to stop."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from clipbench.plan.speed import NOMINAL, calibrate, rates


def test_a_calibration_is_kept_and_ends_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPBENCH_CACHE", str(tmp_path))
    assert rates("cpu").of("fp32") == NOMINAL["cpu", "fp32"]
    began = time.perf_counter()
    found = calibrate(torch.device("cpu"), seconds=0.5)
    assert time.perf_counter() - began < 10
    assert set(found.measured) == {"fp32", "bf16"}
    assert rates("cpu") == found
    assert rates("cuda").measured == {}


@pytest.mark.parametrize("text", ["", "[]", '{"cpu": 3}', '{"cpu": {"fp32": "fast"}}', '{"cpu": {"fp32": -1}}'])
def test_a_file_that_is_no_table_counts_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("CLIPBENCH_CACHE", str(tmp_path))
    (tmp_path / "speed.json").write_text(text, encoding="utf-8")
    assert rates("cpu").measured == {}
    assert rates("cpu").of("fp32") == NOMINAL["cpu", "fp32"]
