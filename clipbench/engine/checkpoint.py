"""Checkpoints of a pass: all that is needed to continue exactly, written beside and renamed into place."""

from __future__ import annotations

import hashlib
import pickle
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path

import torch

from clipbench.engine.loop import Loop, State
from clipbench.files import WriteError, beside
from clipbench.results.record import Epoch


@cache
def code_digest() -> str:
    """SHA-256 of this package's source files: a commit says nothing of an installed copy, or of changes to come."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)} {len(path.read_bytes())} ".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


class Checkpoint:
    """The file of one pass; saved at most every ``seconds``.

    ``identity`` is all that the pass depends on: the runs that train together, their splits, the weights, the code. A
    checkpoint of anything else is not found, so that nothing is continued with other data or another program.
    """

    def __init__(self, folder: Path, identity: Sequence[str], seconds: float) -> None:
        key = hashlib.sha256(" ".join(identity).encode()).hexdigest()[:16]
        self._path = folder / f"{key}.pt"
        self._seconds, self._saved = seconds, time.monotonic()

    def maybe_save(self, loop: Loop, state: State) -> None:
        """Save at the end of an epoch, if the last time is long enough ago."""
        if time.monotonic() - self._saved < self._seconds:
            return
        loop.settle(state)
        history = [[asdict(line) for line in lines] for lines in state.history]
        done = {"epoch": state.epoch, "losses": state.losses, "predictions": state.predictions}
        progress = {**done, "history": history}
        try:
            with beside(self._path) as partial:
                torch.save({**progress, **loop.checkpoint()}, partial)
        except (WriteError, RuntimeError) as error:
            # A checkpoint that cannot be written (full disk) costs time after a crash; the run itself goes on.
            warnings.warn(f"no checkpoint could be written to {self._path.parent}: {error}", stacklevel=2)
        self._saved = time.monotonic()

    def restore(self, loop: Loop) -> State:
        """Put the saved parameters and optimiser into ``loop``; a fresh state where no usable checkpoint is."""
        if not self._path.exists():
            return State()
        try:
            saved = torch.load(self._path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            warnings.warn(f"the checkpoint {self._path} cannot be read, the pass starts anew: {error}", stacklevel=2)
            return State()
        loop.restore(saved)
        history = [[Epoch(**line) for line in lines] for lines in saved["history"]]
        return State(saved["epoch"], history, list(saved["predictions"]), saved["losses"])

    def remove(self) -> None:
        """The records are in place; the checkpoint is of no more use."""
        with suppress(OSError):
            self._path.unlink()
