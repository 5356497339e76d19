"""What every launcher takes and gives back: jobs under a results folder's locks, and what became of each run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol as Interface

from clipbench.engine.context import Context
from clipbench.errors import UserError
from clipbench.models.products import AUTO, ONEDNN
from clipbench.results.job import Job
from clipbench.results.store import Store


@dataclass
class Summary:
    """What a command did: run ids by what became of them; ``missing_weights`` by name, with what to do."""

    made: list[str] = field(default_factory=list)
    there: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    missing_weights: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class Options:
    """How to carry out jobs.

    Attributes:
        replicas: Seeds in one pass at most; None for all that can share one.
        force: Whether runs that are there are made again.
        wait: Whether to stay until the runs that other processes work on are done.
        products: Who takes large float32 products on a CPU: ``auto`` for the faster one, ``onednn`` or ``pytorch``.
        compiled: Whether the transformers' blocks are compiled, which leaves all products to PyTorch.
        log: Where curves go while runs train: ``csv``, and ``tensorboard`` or ``wandb`` beside it.
    """

    replicas: int | None = None
    force: bool = False
    wait: bool = False
    log: str = "csv"
    products: str = AUTO
    compiled: bool = False

    def __post_init__(self) -> None:
        if self.compiled and self.products == ONEDNN:
            raise UserError("--compile and --products onednn exclude each other: a compiler chooses for itself.")


class Reporter(Interface):
    """Who is told how far things are: a bar, lines of a log, or the process that started this one."""

    def start(self, what: str) -> None:
        """A job begins."""

    def advance(self, images: int) -> None:
        """So many more images have passed through the model."""

    def more(self, images: int) -> None:
        """There are so many images more to do than was said, or fewer."""

    def made(self, ids: Sequence[str]) -> None:
        """The records of these runs are in place."""

    def say(self, line: str) -> None:
        """A line for the user."""

    def close(self) -> None:
        """Nothing more comes."""


Report = Callable[[int], Reporter]
"""Makes the reporter for so many images in all."""


class Launcher(Interface):
    """Who carries jobs out: this process, several devices of this machine, Slurm."""

    def launch(self, jobs: Sequence[Job], store: Store, context: Context, options: Options) -> Summary:
        """Carry out what is missing of the jobs. Faults of one job do not stop the others; they are in the summary."""
