"""``clipbench plan`` and ``run --dry-run``: what a run would do here: done, to run, blocked and by what; its cost."""

from __future__ import annotations

import argparse
import json
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tabulate import tabulate

from clipbench.cli.selection import Selection, device_of, select
from clipbench.data.progress import duration
from clipbench.plan.cost import Cost, estimate
from clipbench.plan.jobs import jobs_of
from clipbench.plan.outlook import Obstacle, Outlook
from clipbench.plan.select import Gap, Plan, Planned


def main(arguments: argparse.Namespace) -> int:
    """Print the plan; 2 where nothing is done and nothing could run."""
    return show(arguments, select(arguments))


def show(arguments: argparse.Namespace, selection: Selection) -> int:
    """The plan of a selection, as text or JSON."""
    _, device = device_of(arguments.device)
    runs, _ = selection.outlook(device)
    todo = [run for run in runs if run.state == "to run"]
    cost = estimate([run.planned.run.protocol for run in todo], selection.store, selection.datasets)
    if arguments.json:
        print(json.dumps(_values(selection.plan, runs, cost, device), indent=1))
    else:
        print("\n".join(_text(selection, runs, cost, device, jobs=arguments.jobs)))
    return 0 if any(run.state != "blocked" for run in runs) else 2


def _text(selection: Selection, runs: Sequence[Outlook], cost: Cost, device: str, *, jobs: bool) -> list[str]:
    lines = [*selection.said]
    kinds = _letters(runs)
    for table in dict.fromkeys(run.planned.table for run in runs):
        here = [run for run in runs if run.planned.table is table]
        lines += [f"{table.id}: {table.printed}, {table.title}", "", _matrix(here, kinds), ""]
    if jobs:
        lines += [_jobs(selection.plan, runs), ""]
    lines += [*_summary(runs, cost, device), *_legend(kinds), *_gaps(selection.plan.gaps)]
    lines += [f"note: {note}" for note in dict.fromkeys(run.note for run in runs if run.note)]
    return lines


def _letters(runs: Sequence[Outlook]) -> dict[Obstacle, str]:
    """A letter for each thing that blocks runs."""
    found = dict.fromkeys(obstacle for run in runs for obstacle in run.obstacles)
    return dict(zip(found, (*string.ascii_uppercase, *(f"Z{i}" for i in range(len(found)))), strict=False))


def _matrix(runs: Sequence[Outlook], letters: Mapping[Obstacle, str]) -> str:
    """Rows and columns of a table: how many runs are done, to run, or blocked by what."""
    rows = list(dict.fromkeys(run.planned.cell.row.id for run in runs))
    columns = list(dict.fromkeys(run.planned.cell.column.id for run in runs))
    cells: dict[tuple[str, str], list[Outlook]] = {}
    for run in runs:
        cells.setdefault((run.planned.cell.row.id, run.planned.cell.column.id), []).append(run)
    body = [[row, *(_cell(cells.get((row, column), ()), letters) for column in columns)] for row in rows]
    return tabulate(body, headers=("", *columns), disable_numparse=True)


def _cell(runs: Sequence[Outlook], letters: Mapping[Obstacle, str]) -> str:
    counts = Counter(run.state for run in runs)
    by = "".join(dict.fromkeys(letters[o] for run in runs for o in run.obstacles))
    words = {"done": "done", "to run": "to run", "blocked": f"blocked {by}"}
    return ", ".join(f"{counts[state]} {word}" for state, word in words.items() if counts[state])


def _summary(runs: Sequence[Outlook], cost: Cost, device: str) -> list[str]:
    counts = Counter(run.state for run in runs)
    took = f"; about {duration(cost.seconds)} by earlier runs here" if cost.seconds else ""
    images = f"{cost.train_images:,} training and {cost.test_images:,} test images"
    states = f"{counts['done']} done, {counts['to run']} to run, {counts['blocked']} blocked"
    return [f"{len(runs)} runs on {device}: {states}. Those to run pass {images}{took}."]


def _legend(letters: Mapping[Obstacle, str]) -> list[str]:
    return [f"  {letter}  {o.kind}: {o.what}. {_first_sentence(o.says)}" for o, letter in letters.items()]


def _first_sentence(text: str) -> str:
    """Enough for one screen; the whole stands in --json."""
    line = text.splitlines()[0]
    return line if len(line) <= 160 else line[:159] + "…"


def _gaps(gaps: Sequence[Gap]) -> list[str]:
    counts = Counter(gap.reason for gap in gaps)
    return [f"not implemented: {count} cells, {reason}" for reason, count in counts.items()]


def _jobs(plan: Plan, runs: Sequence[Outlook]) -> str:
    states = {run.planned.run.id: run.state for run in runs}
    lines = [
        (job.label, ",".join(map(str, job.seeds)), ", ".join(_counted(states[run.id] for run in job.runs)))
        for job in jobs_of(plan)
    ]
    return tabulate(lines, headers=("job", "seeds", "state"), disable_numparse=True)


def _counted(states: Any) -> list[str]:
    return [f"{count} {state}" for state, count in Counter(states).items()]


def _values(plan: Plan, runs: Sequence[Outlook], cost: Cost, device: str) -> dict[str, Any]:
    """Everything as plain values."""
    gaps = [
        {"table": g.table.id, "row": g.cell.row.id, "column": g.cell.column.id, "reason": g.reason} for g in plan.gaps
    ]
    counts = Counter(run.state for run in runs)
    return {
        "device": device,
        "counts": {state: counts[state] for state in ("done", "to run", "blocked")},
        "runs": [_run(run) for run in runs],
        "jobs": [job.to_json() | {"name": job.name} for job in jobs_of(plan)],
        "cost": asdict(cost),
        "missing_data": {o.what: o.says for run in runs for o in run.obstacles if o.kind == "data"},
        "missing_weights": {o.what: o.says for run in runs for o in run.obstacles if o.kind == "weights"},
        "not_runnable": gaps,
    }


def _run(run: Outlook) -> dict[str, Any]:
    planned: Planned = run.planned
    return {
        "table": planned.table.id,
        "row": planned.cell.row.id,
        "column": planned.cell.column.id,
        "shown_as": planned.column,
        "seed": planned.run.seed,
        "id": planned.run.id,
        "state": run.state,
        "blocked_by": [{"kind": o.kind, "what": o.what} for o in run.obstacles],
        "note": run.note,
        "protocol": planned.run.protocol.as_dict(),
    }
