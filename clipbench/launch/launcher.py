"""What every launcher takes and gives back: jobs under a results folder's locks, and what became of each run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol as Interface

from clipbench.engine.context import Context
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
    """

    replicas: int | None = None
    force: bool = False


class Launcher(Interface):
    """Who carries jobs out: this process, several GPUs, Slurm."""

    def launch(self, jobs: Sequence[Job], store: Store, context: Context, options: Options) -> Summary:
        """Carry out what is missing of the jobs. Faults of one job do not stop the others; they are in the summary."""
