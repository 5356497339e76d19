"""Curves of runs while they train: a file each, and TensorBoard or Weights & Biases where they are asked for.

The file ``.curves/<run id>.csv`` of the results folder holds a line for every line of the history, and one for the
losses at least every minute; a killed run's stays there, a finished run's goes, since its record has it all.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from clipbench.errors import UserError
from clipbench.results.job import Job
from clipbench.results.record import Epoch

LOGS = ("csv", "tensorboard", "wandb")
_COLUMNS = ("step", "epoch", "train_loss", "lr", "accuracy", "val_loss", "val_score")


class Curves:
    """The curves of one job's runs."""

    def __init__(self, job: Job, root: Path, log: str = "csv") -> None:
        self._job, self._root = job, root
        self._files = [root / ".curves" / f"{run.id}.csv" for run in job.runs]
        self._writers = [_writer(log, job, run.id, root) for run in job.runs] if log != "csv" else []
        self._step = 0

    def line(self, epochs: Sequence[Epoch]) -> None:
        """A new line of every run's history."""
        for number, epoch in enumerate(epochs):
            row = {name: getattr(epoch, name) for name in _COLUMNS}
            self._append(number, row)
        self._step = epochs[0].step

    def losses(self, step: int, losses: Sequence[float]) -> None:
        """The runs' training losses at a step within an epoch."""
        for number, loss in enumerate(losses):
            self._append(number, {"step": step, "train_loss": loss})

    def close(self, *, finished: bool) -> None:
        """The job has ended; the files of finished runs are of no more use."""
        for writer in self._writers:
            writer.close()
        for path in self._files if finished else ():
            path.unlink(missing_ok=True)

    def _append(self, number: int, row: dict[str, Any]) -> None:
        path = self._files[number]
        with suppress(OSError):  # a full disk must not end a run for the sake of its curve
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = not path.exists()
            with path.open("a", newline="", encoding="utf-8") as file:
                table = csv.DictWriter(file, _COLUMNS)
                if fresh:
                    table.writeheader()
                table.writerow(row)
        if self._writers:
            self._writers[number].add(row)


class _TensorBoard:
    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise UserError(
                "--log tensorboard needs the tensorboard package: pip install 'clipbench[tensorboard]'."
            ) from None
        self._writer: Any = SummaryWriter(str(folder))

    def add(self, row: dict[str, Any]) -> None:
        for name, value in row.items():
            if name not in ("step", "epoch") and value is not None:
                self._writer.add_scalar(name, value, row["step"])
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    def __init__(self, job: Job, run_id: str, folder: Path) -> None:
        try:
            import wandb
        except ImportError:
            raise UserError("--log wandb needs the wandb package: pip install 'clipbench[wandb]'.") from None
        folder.mkdir(parents=True, exist_ok=True)
        config = job.protocol.as_dict()
        self._run = wandb.init(
            project="clipbench", id=run_id, name=job.label, dir=str(folder), config=config, reinit="create_new"
        )

    def add(self, row: dict[str, Any]) -> None:
        values = {name: value for name, value in row.items() if value is not None}
        self._run.log(values, step=row["step"])

    def close(self) -> None:
        self._run.finish()


def _writer(log: str, job: Job, run_id: str, root: Path) -> _TensorBoard | _Wandb:
    folder = root / ".curves" / log
    return _TensorBoard(folder / run_id) if log == "tensorboard" else _Wandb(job, run_id, folder)
