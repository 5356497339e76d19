"""``clipbench status``: what of the submitted jobs is queued, runs, is done or has failed, with the logs' ends."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

from clipbench.cli import option_types as types

_LINES = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``clipbench status``."""
    parser.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="the folder of results/ (here)")
    parser.add_argument("--lines", type=int, default=_LINES, metavar="N", help="lines of each log (default: 5)")
    types.add_format(parser)


def main(arguments: argparse.Namespace) -> int:
    """0 if everything is done, 1 if something failed, 4 if something is queued or runs."""
    from clipbench.errors import UserError
    from clipbench.launch.slurm import states_of, submissions
    from clipbench.launch.work import Work
    from clipbench.results.store import Store

    store = Store(arguments.out / "results")
    found = submissions(store.root)
    if not found:
        raise UserError(
            f"nothing was submitted from {arguments.out}: `clipbench run TABLE --launcher slurm --out {arguments.out}`."
        )
    code, jobs = 0, list[dict[str, object]]()
    for folder, elements in found:
        runs = [run for job in Work.read(folder / "jobs.json").jobs for run in job.runs]
        done = sum(store.has(run.id) for run in runs)
        states = states_of(elements)
        counts = Counter(state.lower() for state in states.values())
        ended = len(elements) - len(states)
        shown = ", ".join([*(f"{count} {state}" for state, count in counts.items()), f"{ended} ended"])
        if arguments.format == "json":
            jobs.append({"jobs": folder.name, "runs": len(runs), "done": done, "states": dict(counts), "ended": ended})
        else:
            print(f"{folder.name}: {done} of {len(runs)} runs are done; elements of the array: {shown}")
        if done < len(runs):
            code = 4 if states else max(code, 1)
            for element in (elements if not states else list(states)) if arguments.format == "text" else ():
                _print_log(folder, element, arguments.lines)
    if arguments.format == "json":
        print(json.dumps(jobs, indent=1))
    return code


def _print_log(folder: Path, element: str, lines: int) -> None:
    for path in sorted(folder.rglob(f"{element}_*log.err")):
        tail = path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
        print("\n".join([f"  {path}:", *(f"    {line}" for line in tail)]))
