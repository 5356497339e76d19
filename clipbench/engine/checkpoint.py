"""Checkpoints of a job: all that is needed to continue exactly, written beside and renamed into place."""

from __future__ import annotations

import copy
import hashlib
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import torch

from clipbench.engine.loop import Loop, State
from clipbench.files import WriteError, beside
from clipbench.results.record import Epoch


@cache
def code_digest() -> str:
    """SHA-256 of this package's source files: a commit says nothing of an installed copy, or of changes to come.

    ``_commit.py``, which a build may write beside a running checkout, changes nothing that runs.
    """
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(path for path in root.rglob("*.py") if path.name != "_commit.py"):
        digest.update(f"{path.relative_to(root)} {len(path.read_bytes())} ".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


class Checkpoint:
    """The file of one job; saved at most every ``seconds``.

    ``identity`` is all that the job depends on: the runs that train together, their splits, the weights, the code. A
    checkpoint of anything else is not found, so that nothing is continued with other data or another program.
    """

    def __init__(self, folder: Path, identity: Sequence[str], seconds: float) -> None:
        key = hashlib.sha256(" ".join(identity).encode()).hexdigest()[:16]
        self._path = folder / f"{key}.pt"
        self._seconds, self._saved = seconds, time.monotonic()

    def maybe_save(self, loop: Loop, state: State, seconds: float | None = None) -> bool:
        """Save at the end of an epoch or before a test, if the last time is long enough ago; whether it was."""
        due = time.monotonic() - self._saved >= min(self._seconds, seconds or self._seconds)
        if due:
            self.save(loop, state)
        return due

    def save(self, loop: Loop, state: State) -> None:
        """Save now. One that cannot be written (a full disk) costs time after a crash; the run itself goes on."""
        loop.collect_losses(state)
        history = [[asdict(line) for line in lines] for lines in state.history]
        progress = {
            "stage": state.stage,
            "epoch": state.epoch,
            "losses": state.losses.clone(),
            "outputs": [dict(each) for each in state.outputs],
            "history": history,
        }
        try:
            with beside(self._path) as partial:
                torch.save({**progress, **loop.checkpoint()}, partial)
        except (WriteError, RuntimeError) as error:
            warnings.warn(f"no checkpoint could be written to {self._path.parent}: {error}", stacklevel=2)
        self._saved = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The content of the file; None, with a warning, where it is none of ours."""
        if not self._path.exists():
            return None
        try:
            saved = torch.load(self._path, map_location="cpu", weights_only=True)
            if not isinstance(saved, dict) or not isinstance(saved.get("stage"), int):
                raise ValueError("it holds something else")
        except Exception as error:  # the unpickler raises whatever a file of other content leads it to: KeyError(101)
            self._unusable(error)
            return None
        return saved

    def restore(self, loop: Loop, saved: Mapping[str, Any]) -> State:
        """Put the parameters and optimiser of ``load`` into ``loop``; a fresh state where they are not the loop's."""
        before = copy.deepcopy(loop.checkpoint())
        try:
            history = [[Epoch(**line) for line in lines] for lines in saved["history"]]
            state = State(saved["stage"], saved["epoch"], history, list(saved["outputs"]), saved["losses"])
            loop.restore(dict(saved))
        except Exception as error:
            self._unusable(error)
            loop.restore(before)
            return State(saved["stage"])
        return state

    def remove(self) -> None:
        """The records are in place; the checkpoint is of no more use."""
        with suppress(OSError):
            self._path.unlink()

    def _unusable(self, error: Exception) -> None:
        message = f"the checkpoint {self._path} cannot be used ({error}); what it stands for is trained anew."
        warnings.warn(message, stacklevel=3)
