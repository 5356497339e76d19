"""Short passes on a few generated images, for the tests of the engine."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clipbench.engine.context import Context
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
