"""Kill the command at any moment, run it again: the rest is finished, to the numbers of an uninterrupted run."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipbench.results.record import Record
from clipbench.results.store import Store

WORDS = ["run", "table1", "--smoke", "--only", "dataset=ucm,row=linear-probe|lora-r4", "--epochs", "2", "--json"]


def start(out: Path, *more: str) -> subprocess.Popen[str]:
    """One pass per seed, so that there are four moments at which records appear."""
    command = [sys.executable, "-m", "clipbench", *WORDS, "--replicas", "1", "--out", str(out), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


def kill(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def records(out: Path) -> dict[str, Record]:
    found, faults = Store(out / "results").scan()
    assert not faults
    assert len({r.id for r in found}) == len(found)
    return {r.id: r for r in found}


def numbers(out: Path) -> dict[str, Any]:
    """Everything of a record that is not a time: metrics, history, data, weights, predictions."""
    return {
        run_id: (
            dict(r.metrics),
            [(line.epoch, line.train_loss, line.lr, line.accuracy) for line in r.history],
            r.data,
            r.model,
            np.load(out / "results" / run_id / "predictions.npz")["predictions"].tolist(),
        )
        for run_id, r in records(out).items()
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run."""
    out = tmp_path_factory.mktemp("whole")
    assert len(finish(start(out))["made"]) == 4
    return out


def wait_for_records(process: subprocess.Popen[str], out: Path, count: int) -> None:
    deadline = time.monotonic() + 100
    while len(list((out / "results").glob("*/record.json"))) < count:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_killed_when_records_appear_and_at_random_moments(whole: Path, tmp_path: Path) -> None:
    out, draw = tmp_path / "out", random.Random()  # noqa: S311 - any moment must do
    process = start(out)
    wait_for_records(process, out, 1)
    kill(process)
    kept = set(records(out))
    assert kept  # a record that was there stays
    process = start(out)
    time.sleep(draw.uniform(0.0, 6.0))
    kill(process)
    assert kept <= set(records(out))
    kept = set(records(out))
    summary = finish(start(out))
    assert set(summary["there"]) == kept
    assert set(summary["there"]) | set(summary["made"]) == set(numbers(whole))
    assert not summary["elsewhere"]  # the claims of the dead were taken over
    assert numbers(out) == numbers(whole)
    assert not list((out / "results" / ".claims").iterdir())


def test_two_processes_at_once_make_everything_once(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    summaries = [finish(process) for process in [start(out, "--wait"), start(out, "--wait")]]
    assert numbers(out) == numbers(whole)
    made = [run_id for s in summaries for run_id in s["made"]]
    assert sorted(made) == sorted(numbers(whole))
    assert not [p for p in (out / "results").iterdir() if p.name.startswith((".duplicate", ".ready", ".partial"))]
