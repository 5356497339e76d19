"""Which files of clipbench one training step of CLIP-DoRA enters: `python tools/files_of_a_step.py`.

A step is what happens between two calls of the optimiser, in the thread that trains. Few files are few things to hold
in mind for whoever wants to know what a step does.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Any

import torch

import clipbench
from clipbench.engine.context import Context
from clipbench.engine.optimiser import Optimiser
from clipbench.engine.run_job import run_job
from clipbench.plan.jobs import jobs_of
from clipbench.plan.select import make_plan
from clipbench.registry import Overrides

ROOT = Path(clipbench.__file__).parent


def main() -> None:
    """Run a few steps of the smoke profile; list the files and functions of the second, in the middle of an epoch."""
    plan = make_plan(["fewshot"], Overrides("smoke"), ["row=clip-dora-4shot", "dataset=dtd"], (1,))
    (job,) = jobs_of(plan)
    seen: set[tuple[str, str]] = set()
    steps = [0]
    original = Optimiser.step

    def watch(frame: FrameType, event: str, _: object) -> None:
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(str(ROOT)):
            seen.add((str(Path(file).relative_to(ROOT)), frame.f_code.co_qualname))

    def step(self: Optimiser, *arguments: Any) -> None:
        original(self, *arguments)
        steps[0] += 1
        sys.setprofile(watch if steps[0] == 1 else None)

    Optimiser.step = step  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        run_job(job, Context(Path(folder), torch.device("cpu"), Path(folder), advance=lambda _: None))
    files = sorted({file for file, _ in seen})
    print("\n".join(files))
    print(f"{len(files)} files, {len(seen)} functions")


if __name__ == "__main__":
    main()
