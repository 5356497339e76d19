"""``clipbench plan`` and ``run --dry-run``: what a run would do here: done, to run, blocked and by what; its cost."""

from __future__ import annotations

import argparse
import json
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tabulate import tabulate

from clipbench.cli import output
from clipbench.cli.selection import Selection, device_of, select
from clipbench.data.download.faults import size
from clipbench.data.progress import duration
from clipbench.plan.cost import Cost, estimate
from clipbench.plan.fetch import Fetch, can_be_fetched, to_fetch
from clipbench.plan.jobs import jobs_of
from clipbench.plan.outlook import Obstacle, Outlook
from clipbench.plan.select import Gap, Plan, Planned
from clipbench.plan.speed import Rates, rates
from clipbench.report.terminal import grid, wrapped


def main(arguments: argparse.Namespace) -> int:
    """Print the plan; 2 where nothing is done and nothing could run."""
    return show(arguments, select(arguments))


_GRAMS_PER_KWH = 436
"""Of CO2, the mean of the world's electricity in 2022 (Ember, Global Electricity Review 2023)."""


def show(arguments: argparse.Namespace, selection: Selection) -> int:
    """The plan of a selection, as text or JSON."""
    _, device = device_of(arguments.device)
    runs, _ = selection.outlook(device)
    expected = _expected(selection, runs, rates(device))
    if arguments.format == "json":
        print(json.dumps(_values(selection.plan, runs, expected), indent=1))
    else:
        output.show("\n".join(_text(selection, runs, expected, jobs=arguments.jobs)))
    return 0 if any(run.state != "blocked" for run in runs) else 2


@dataclass(frozen=True)
class _Expected:
    """What the ``runs`` runs that are left take, those too that wait for data or weights, and what is to be fetched."""

    runs: int
    cost: Cost
    fetch: Fetch
    rates: Rates


def _expected(selection: Selection, runs: Sequence[Outlook], speed: Rates) -> _Expected:
    left = [run for run in runs if run.state != "done" and can_be_fetched(run.obstacles)]
    protocols = [run.planned.run.protocol for run in left]
    cost = estimate(protocols, selection.store, selection.datasets, speed, selection.sources.config)
    return _Expected(len(left), cost, to_fetch(left), speed)


def _text(selection: Selection, runs: Sequence[Outlook], expected: _Expected, *, jobs: bool) -> list[str]:
    lines = [*selection.said]
    kinds = _letters(runs)
    for table in dict.fromkeys(run.planned.table for run in runs):
        here = [run for run in runs if run.planned.table is table]
        lines += [wrapped(f"{table.id}: {table.printed}, {table.title}"), "", _matrix(here, kinds), ""]
    if jobs:
        lines += [_jobs(selection.plan, runs), ""]
    lines += [*_summary(runs, expected), *_legend(kinds), *_gaps(selection.plan.gaps)]
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
    return grid(("", *columns), body)


def _cell(runs: Sequence[Outlook], letters: Mapping[Obstacle, str]) -> str:
    counts = Counter(run.state for run in runs)
    by = "".join(dict.fromkeys(letters[o] for run in runs for o in run.obstacles))
    words = {"done": "done", "to run": "to run", "blocked": f"blocked {by}"}
    return ", ".join(f"{counts[state]} {word}" for state, word in words.items() if counts[state])


def _summary(runs: Sequence[Outlook], expected: _Expected) -> list[str]:
    counts = Counter(run.state for run in runs)
    states = f"{counts['done']} done, {counts['to run']} to run, {counts['blocked']} blocked"
    lines = [f"{len(runs)} runs on {expected.rates.device}: {states}."]
    return [*lines, *_cost(expected), *_fetch(expected.fetch)] if expected.runs else lines


def _cost(expected: _Expected) -> list[str]:
    """Images, time and memory of what is left, each said as what it is."""
    cost = expected.cost
    images = f"{cost.train_images:,} training and {cost.test_images:,} test images"
    lines = [f"The {expected.runs} that are left pass {images}, one seed at a time:"]
    if cost.seconds is not None:
        hours = " of this GPU" if expected.rates.device == "cuda" else ""
        time = f"time     about {duration(cost.seconds)}{hours}, {_basis(expected)}"
        lines.append(wrapped(time, "  ", " " * len("time     ")))
    if cost.kilowatt_hours is not None:
        lines.append(
            f"  energy   about {cost.kilowatt_hours:.2g} kWh at the {cost.watts:.0f} W of earlier runs here, "
            f"{_GRAMS_PER_KWH / 1000 * cost.kilowatt_hours:.2g} kg of CO2 at the world's mean of {_GRAMS_PER_KWH} g/kWh"
        )
    if cost.peak_memory_bytes is not None:
        lines.append(
            f"  memory   about {size(cost.peak_memory_bytes)} at the peak, an estimate{_error_of_memory(cost)}"
        )
        lines.append(f"  disk     about {size(cost.decoded_bytes)} of decoded images in the cache")
    if cost.unknown:
        lines.append(f"  unknown  {cost.unknown} runs, of models without a model of their work; they are in no sum")
    return lines


def _basis(expected: _Expected) -> str:
    """Where the time is from."""
    cost, parts = expected.cost, []
    if cost.by_records:
        parts.append(f"{cost.by_records} runs by earlier ones here")
    if cost.estimated:
        speed = "as measured here" if expected.rates.measured else "assumed; `clipbench doctor --speed` measures"
        off = f", off by a factor of {cost.error.time_factor:.1f} on {cost.error.records} records" if cost.error else ""
        parts.append(f"{cost.estimated} estimated from operations at the device's rate ({speed}){off}")
    return "; ".join(parts)


def _error_of_memory(cost: Cost) -> str:
    return f", off by {100 * cost.error.memory_share:.0f}% on {cost.error.records} records" if cost.error else ""


def _fetch(fetch: Fetch) -> list[str]:
    if not fetch.bytes and not fetch.unknown:
        return []
    parts = [f"{size(fetch.bytes)}, on disk {size(fetch.disk)}"] if fetch.bytes else []
    parts += [f"of unstated size: {', '.join(fetch.unknown)}"] if fetch.unknown else []
    return [wrapped(f"to fetch {'; '.join(parts)}", "  ", " " * len("to fetch "))]


def _legend(letters: Mapping[Obstacle, str]) -> list[str]:
    return [
        wrapped(f"{letter}  {o.kind}: {o.what}. {_first_sentence(o.says)}", "  ", "   ")
        for o, letter in letters.items()
    ]


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


def _values(plan: Plan, runs: Sequence[Outlook], expected: _Expected) -> dict[str, Any]:
    """Everything as plain values."""
    gaps = [
        {"table": g.table.id, "row": g.cell.row.id, "column": g.cell.column.id, "reason": g.reason} for g in plan.gaps
    ]
    counts = Counter(run.state for run in runs)
    return {
        "device": expected.rates.device,
        "counts": {state: counts[state] for state in ("done", "to run", "blocked")},
        "runs": [_run(run) for run in runs],
        "jobs": [job.to_json() | {"name": job.name} for job in jobs_of(plan)],
        "cost": {
            **asdict(expected.cost),
            "kilowatt_hours": expected.cost.kilowatt_hours,
            "runs": expected.runs,
            "rates": dict(expected.rates.measured) or "assumed",
            "fetch": asdict(expected.fetch),
        },
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
