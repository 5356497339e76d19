"""How much of training is spent in forward, backward and optimiser, and how much on waiting for batches.

    python benchmarks/speed/loader.py [--cases ...] [--threads 1]

Runs the command's own jobs on generated images in the data sets' genuine files (AID, Caltech101) and reads the clock
around the model's forward, the backward pass, AdamW's step, and each request for the next batch. The first epoch's
decoding is not in it: it happens once per data set, before training. The report replaces --out (loader.md beside this
file).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from tabulate import tabulate

from clipbench.engine.batches.crops import Crops
from clipbench.engine.batches.views import Images
from clipbench.engine.context import Context
from clipbench.engine.run_job import run_job
from clipbench.engine.tasks.classification import Classification
from clipbench.plan.jobs import jobs_of
from clipbench.plan.select import make_plan
from clipbench.registry import Overrides


@dataclass(frozen=True)
class Case:
    """One job: which cell, and what is changed."""

    experiment: str
    row: str
    dataset: str
    fields: dict[str, Any]


LARGE = {"backbone": "ViT-B-32-quickgelu", "weights": "random", "image_size": 224, "batch_size": 32}
TARGET = 90
"""Percent of the time of training inside forward, backward and optimiser, at least."""
CASES = {
    "linear head, LoRA, tiny model (64 px)": Case("table1", "lora-r4", "aid", {"epochs": 4}),
    "linear head, LoRA, ViT-B/32 (224 px)": Case("table1", "lora-r4", "aid", {**LARGE, "epochs": 1, "limit": 8}),
    "few-shot crops, LoRA, tiny model (64 px)": Case(
        "fewshot", "clip-lora-4shot", "caltech101", {"steps_per_shot": 10, "batch_size": 32}
    ),
    "few-shot crops, LoRA, ViT-B/32 (224 px)": Case(
        "fewshot", "clip-lora-4shot", "caltech101", {**LARGE, "steps_per_shot": 1}
    ),
}


class Clock:
    """Seconds by what they were spent on, of training alone (of testing nothing needs a gradient)."""

    def __init__(self) -> None:
        self.spent = dict.fromkeys(("forward", "backward", "optimiser", "waiting"), 0.0)
        self.first: float | None = None
        self.last = 0.0

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with its seconds on the account ``name``."""

        def call(*arguments: Any, **options: Any) -> Any:
            if not torch.is_grad_enabled() and name == "forward":
                return function(*arguments, **options)
            began = time.perf_counter()
            found = function(*arguments, **options)
            self.last = time.perf_counter()
            self.spent[name] += self.last - began
            return found

        return call

    def waited(self, batches: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        """The batches, with the seconds until each is there; the clock starts at the first request."""

        def watched(*arguments: Any) -> Iterator[Any]:
            following = batches(*arguments)
            while True:
                began = time.perf_counter()
                self.first = began if self.first is None else self.first
                batch = next(following, None)
                if batch is None:
                    return
                self.spent["waiting"] += time.perf_counter() - began
                yield batch

        return watched


def measured(case: Case, folder: Path) -> list[str]:
    """Shares of the time between the first request for a batch and the last optimiser step, in percent."""
    overrides = Overrides("smoke", fields=case.fields | {"tested": "last"})
    plan = make_plan([case.experiment], overrides, [f"row={case.row}", f"dataset={case.dataset}"], (1,))
    context, clock = Context(folder, torch.device("cpu"), folder), Clock()
    with (
        patch.object(Classification, "losses", clock.timed("forward", Classification.losses)),
        patch.object(torch.autograd, "backward", clock.timed("backward", torch.autograd.backward)),
        patch.object(torch.optim.AdamW, "step", clock.timed("optimiser", torch.optim.AdamW.step)),
        patch.object(Images, "train_batches", clock.waited(Images.train_batches)),
        patch.object(Crops, "train_batches", clock.waited(Crops.train_batches)),
    ):
        (draft,) = run_job(jobs_of(plan)[0], context).drafts
    total = clock.last - (clock.first or 0.0)
    inside = sum(seconds for name, seconds in clock.spent.items() if name != "waiting")
    shares = [inside, *clock.spent.values(), total - inside - clock.spent["waiting"]]
    return [str(draft.record.history[-1].step), f"{total:.1f}", *(f"{100 * share / total:.1f}" for share in shares)]


def main() -> None:
    """Measure, print, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES), metavar="CASE")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        rows = [[name, *measured(CASES[name], Path(folder))] for name in options.cases]
    head = ["job", "steps", "s", "in all three, %", "forward", "backward", "optimiser", "waiting for batches", "rest"]
    table = tabulate(rows, head, tablefmt="github", disable_numparse=True)
    command = " ".join(["python benchmarks/speed/loader.py", *sys.argv[1:]])
    about = (
        f"Share of the training time (tests and the one decoding left out) inside forward, backward and optimiser, and "
        f"waiting for the next batch. Wall time, {options.threads} thread(s) for PyTorch on {os.cpu_count()} cores, "
        f"load average {os.getloadavg()[0]:.1f}; torch {torch.__version__}; written by `{command}` on "
        f"{datetime.now(UTC):%Y-%m-%d}. Images are generated, in the data sets' genuine files; weights of ViT-B/32 are "
        f"random."
    )
    text = f"# Where training spends its time\n\n{about}\n\n{table}\n"
    print(text)
    options.out.write_text(text)
    if low := [row[0] for row in rows if float(row[3]) < TARGET]:
        sys.exit(f"Less than {TARGET} % inside forward, backward and optimiser: {', '.join(low)}")


if __name__ == "__main__":
    main()
