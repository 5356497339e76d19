"""Short passes on a few generated images, for the tests of the engine."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clipbench.engine.checkpoint import Checkpoint
from clipbench.engine.context import Context
from clipbench.engine.loop import Loop, State
from clipbench.engine.outcome import Outcome
from clipbench.engine.run_job import run_job
from clipbench.plan.jobs import jobs_of
from clipbench.plan.select import Plan, Planned, make_plan
from clipbench.registry import Overrides
from clipbench.results.store import Draft

torch.set_num_threads(1)
CPU = torch.device("cpu")


def planned(row: str = "lora-r4", seeds: Sequence[int] = (1,), **fields: Any) -> list[Planned]:
    """The smoke runs of one cell of Table I on UCM, four images per class and part, two epochs."""
    fields = {"limit": 4, "epochs": 2} | fields
    overrides = Overrides("smoke", fields=fields)
    return list(make_plan(["table1"], overrides, [f"row={row}", "dataset=ucm"], seeds).runs)


def place(folder: Path, **more: Any) -> Context:
    return Context(folder, CPU, folder / "checkpoints", **more)


def run_planned(group: Sequence[Planned], context: Context) -> Outcome:
    """The runs of one protocol in one job."""
    (job,) = jobs_of(Plan(Overrides("smoke"), group, ()))
    return run_job(job, context)


def predictions(draft: Draft) -> np.ndarray:
    found: np.ndarray = np.load(io.BytesIO(draft.files["predictions.npz"]))["predictions"]
    return found


def curve(draft: Draft) -> list[tuple[float, float, float]]:
    """Loss, rate and accuracy of every epoch: all of the history that is not a time."""
    return [(line.train_loss, line.lr, line.accuracy) for line in draft.record.history]


class KilledError(Exception):
    """In the place of a kill."""


def check_resuming(group: Sequence[Planned], folder: Path, monkeypatch: pytest.MonkeyPatch, kills: int = 1) -> None:
    """Killed behind the checkpoint before each of the first tests, and behind that of the epoch, a job gives what it
    gives whole, bit for bit.
    """
    due = run_planned(group, place(folder / "whole")).drafts
    where = place(folder / "cut", checkpoint_seconds=0.0)
    save, moments = Checkpoint.maybe_save, set[tuple[object, ...]]()

    def save_and_die(self: Any, loop: Loop, state: State, *before_a_test: float) -> bool:
        saved = save(self, loop, state, *before_a_test)
        if (moment := (state.stage, state.epoch, *before_a_test)) not in moments:
            moments.add(moment)
            raise KilledError
        return saved

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "maybe_save", save_and_die)
        for _ in range(2 * kills):
            with suppress(KilledError):
                run_planned(group, where)
    assert len(moments) > kills
    found = run_planned(group, where).drafts
    assert [curve(d) for d in found] == [curve(d) for d in due]
    assert [d.files for d in found] == [d.files for d in due]
    assert [d.record.metrics for d in found] == [d.record.metrics for d in due]
