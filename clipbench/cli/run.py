"""``clipbench run``: plan, check what is there, train what is missing, write the tables and figures."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipbench.cli import plan as plan_command
from clipbench.cli.records import report
from clipbench.cli.selection import Selection, device_of, select
from clipbench.cli.user_data import about_own, about_unfit, next_command
from clipbench.data.progress import duration
from clipbench.errors import UserError
from clipbench.plan.jobs import jobs_of
from clipbench.plan.outlook import Obstacle, Outlook
from clipbench.plan.select import Plan
from clipbench.registry import find

LEFT = 4
"""The exit code where other processes still work on some of the runs."""

if TYPE_CHECKING:
    from clipbench.launch.launcher import Options, Summary
    from clipbench.report.table import Table


@dataclass(frozen=True)
class Done:
    """What a run has left: its selection, what became of each run, what could not be tried, files and tables."""

    selection: Selection
    blocked: Mapping[str, Obstacle]
    summary: Summary
    written: Sequence[Path]
    tables: Sequence[Table]

    @property
    def exit_code(self) -> int:
        """0 if all is there, 1 if a run failed, 2 if data or weights are missing, 4 if others still work on some."""
        summary = self.summary
        return 2 if self.blocked or summary.missing_weights else 1 if summary.failed else LEFT * bool(summary.elsewhere)


def main(arguments: argparse.Namespace) -> int:
    """Run, and print what there is to see. Returns the exit code."""
    selection = select(arguments)
    arguments.tables = selection.tables
    if arguments.dry_run:
        return plan_command.show(arguments, selection)
    if arguments.write_jobs:
        return _write_jobs(arguments, selection)
    done = execute(arguments, selection)
    if arguments.format == "json":
        missing = {o.what: says for says, o in done.blocked.items() if o.kind == "data"}
        extra = {"missing_data": missing, "written": [str(path) for path in done.written]}
        print(json.dumps(asdict(done.summary) | extra, indent=1))
    else:
        _tell(arguments, done)
    return done.exit_code


def execute(arguments: argparse.Namespace, selection: Selection) -> Done:
    """Run what can run, and write the tables and figures. Raises ``UserError`` where nothing can."""
    if not selection.plan.runs:
        raise UserError(_nothing(selection.plan))
    device, kind = device_of(arguments.device)
    runs, _ = selection.outlook(kind)
    blocked = _blocked(runs)
    here = [run.planned for run in runs if not any(o.says in blocked for o in run.obstacles)]
    if not here:
        raise UserError(_all_blocked(arguments, selection, list(blocked.values())))
    _say(arguments, [*selection.said, *_before(selection, blocked)])
    summary = _carry_out(arguments, replace(selection.plan, runs=here), selection, device)
    tables: list[Table] = []
    written = _write_reports(arguments, selection, tables.append)
    return Done(selection, blocked, summary, written, tables)


def _blocked(runs: Sequence[Outlook]) -> Mapping[str, Obstacle]:
    """What keeps runs from being tried, by its sentence. Weights that are not here do not: a run fetches them."""
    return {o.says: o for run in runs for o in run.obstacles if o.kind != "weights"}


def _all_blocked(arguments: argparse.Namespace, selection: Selection, blocked: Sequence[Obstacle]) -> str:
    """One paragraph; several data sets that are missing are named together, with the command that gets them."""
    data = [o for o in blocked if o.kind == "data"]
    others = [o.says for o in blocked if o.kind != "data"]
    if len(data) < 2:
        return " ".join([*(o.says for o in data), *others])
    names, tables = ", ".join(o.what for o in data), " ".join(arguments.tables)
    return " ".join(
        [
            f"{len(data)} data sets are missing or incomplete below {selection.datasets.data_root}: {names}.",
            f"`clipbench data get {tables}` gets what a program may fetch and says where the rest is to be had;",
            f"`clipbench plan {tables}` says what lacks. --data DIR names another folder; --smoke needs no data.",
            *others,
        ]
    )


def _before(selection: Selection, blocked: Mapping[str, Obstacle]) -> list[str]:
    """What is to be known before the runs: of the user's data, and of split files that are not the published ones."""
    missing = [o.what for o in blocked.values() if o.kind == "data"]
    own = {name: data for name, data in selection.added.own.items() if name.partition("@")[0] not in missing}
    protocols = {(p.run.protocol.dataset, p.run.protocol.shots == 0): p.run.protocol for p in selection.plan.runs}
    lines = [
        line
        for protocol in protocols.values()
        if protocol.need("dataset").partition("@")[0] not in missing
        for line in selection.datasets.images(protocol).unpublished
    ]
    unpublished = [f"{line}. Its numbers cannot be compared with printed ones." for line in dict.fromkeys(lines)]
    unfit = about_unfit(selection.passed_over, own_data=bool(selection.added.own))
    return [*unfit, *about_own(selection.plan, own), *unpublished]


def _say(arguments: argparse.Namespace, lines: Sequence[str]) -> None:
    """Sentences before the runs; beside the standard output where that is JSON."""
    for line in lines:
        print(line, file=sys.stderr if arguments.format == "json" else sys.stdout, flush=True)


def _carry_out(arguments: argparse.Namespace, plan: Plan, selection: Selection, device: Any) -> Summary:
    """PyTorch is imported here, after everything that can be wrong without it."""
    from clipbench.engine.context import Context
    from clipbench.launch.launcher import Launcher
    from clipbench.launch.local import Local
    from clipbench.methods import is_own

    store, datasets = selection.store, selection.datasets
    checkpoints, sources = store.root / ".checkpoints", selection.sources
    context = Context(datasets.data_root, device, checkpoints, sources, datasets.user_data, datasets=datasets)
    launcher: Launcher = Local()
    jobs = jobs_of(plan, arguments.keep)
    if arguments.launcher == "slurm":
        from clipbench.launch.slurm import Slurm, slurm_options

        launcher = Slurm(slurm_options(arguments.slurm))
    elif arguments.devices:
        from clipbench.launch.devices import Devices, parse_devices

        launcher = Devices(parse_devices(arguments.devices))
    elif len(jobs) > 1 and any(is_own(job.protocol.method) for job in jobs):
        from clipbench.launch.devices import Devices, Slot

        # What ends a process (a segmentation fault, os.abort) ends a worker's, and no other run.
        launcher = Devices([Slot(str(device))])
    return launcher.launch(jobs, store, context, _options(arguments))


def _options(arguments: argparse.Namespace) -> Options:
    """How the jobs are carried out."""
    from clipbench.launch.launcher import Options

    a = arguments
    return Options(a.replicas, a.force, a.wait, a.log, a.products, compiled=a.compile)


def _write_jobs(arguments: argparse.Namespace, selection: Selection) -> int:
    """The jobs as a file, for ``clipbench work``."""
    from clipbench.launch.work import Work

    if not selection.plan.runs:
        raise UserError(_nothing(selection.plan))
    device_of(arguments.device)
    jobs, datasets = jobs_of(selection.plan, arguments.keep), selection.datasets
    where = selection.store.root, datasets.data_root, selection.sources, datasets.user_data
    path = Work(jobs, *where, _options(arguments)).write(arguments.write_jobs)
    print(f"{len(jobs)} jobs in {path}; `clipbench work {path}` carries them out, in as many processes as you start.")
    return 0


def _write_reports(arguments: argparse.Namespace, selection: Selection, also: Callable[[Table], None]) -> list[Path]:
    from clipbench.report.write import write_figures, write_tables

    profile, added = "smoke" if arguments.smoke else "full", selection.added
    if added.own:
        return write_tables(selection.tables, arguments.out, profile, added.apply, say_faults=report, also=also)
    everything = [f"{paper}/*" for paper in dict.fromkeys(paper.id for paper, _ in find(selection.tables))]
    words = added.fitting(everything)[0]
    tables = write_tables(words, arguments.out, profile, added.apply, say_faults=report, also=also)
    return [*tables, *write_figures(everything, arguments.out, profile)]


def _nothing(plan: Plan) -> str:
    if not plan.gaps:
        return "there is nothing to run in this selection: its numbers are quoted or computed from others."
    reasons = sorted({gap.reason.removesuffix(".") for gap in plan.gaps})
    return f"none of the {len(plan.gaps)} cells of this selection can run yet: {'; '.join(reasons)}."


def _tell(arguments: argparse.Namespace, done: Done) -> None:
    """What was done, where it lies, and what is next."""
    summary, gaps = done.summary, done.selection.plan.gaps
    from clipbench.report.plain import plain

    named = {table.id for _, table in find(done.selection.tables, done.selection.added.apply)}
    for table in done.tables:
        if table.experiment.id in named:
            print(f"\n{plain(table)}")
    folders = sorted({str(p.parent) for p in done.written})
    made = f"{len(summary.made)} runs made in {duration(summary.seconds)}, {len(summary.there)} were there"
    print(f"{made}. Written: {', '.join(folders) or 'nothing'}.")
    for line in shortfalls(done):
        print(line)
    for reason in sorted({gap.reason for gap in gaps}):
        print(f"{sum(g.reason == reason for g in gaps)} cells cannot run yet: {reason}")
    if done.written:
        print(next_command(arguments))


def shortfalls(done: Done) -> list[str]:
    """What was asked for and is not there: runs of other processes, failed ones, and data that are missing."""
    lines, summary = [], done.summary
    if summary.elsewhere:
        lines.append(
            f"{len(summary.elsewhere)} runs are in the hands of other processes; "
            f"run this again when they are done, or with --wait."
        )
    for reason in dict.fromkeys(summary.failed.values()):
        ids = [run_id for run_id, why in summary.failed.items() if why == reason]
        lines.append(f"{len(ids)} runs failed ({', '.join(ids[:3])}{', ...' if len(ids) > 3 else ''}): {reason}")
    return lines + [f"missing: {paragraph}" for paragraph in done.blocked]
