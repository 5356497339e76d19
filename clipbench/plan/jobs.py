"""From a plan to jobs: runs of one protocol together, as plain data for a launcher."""

from __future__ import annotations

from collections.abc import Sequence

from clipbench.plan.keep import features_drawn
from clipbench.plan.select import Plan, Planned
from clipbench.results.job import Job


def jobs_of(plan: Plan, keep: Sequence[str] = ()) -> list[Job]:
    """One job per protocol with the seeds of all its runs, in the plan's order; ``keep`` is what all of them keep."""
    together: dict[str, list[Planned]] = {}
    for planned in plan.runs:
        together.setdefault(planned.run.protocol.digest, []).append(planned)
    return [_job(runs, keep) for runs in together.values()]


def _job(runs: Sequence[Planned], keep: Sequence[str]) -> Job:
    first = runs[0]
    label = f"{first.table.id} {first.cell.row.id} {first.column}"
    drawn = ("features",) if features_drawn(first) else ()
    return Job(first.run.protocol, tuple(p.run.seed for p in runs), first.origin, label, (*drawn, *keep))
