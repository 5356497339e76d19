"""``clipbench work FILE``: carry out jobs that ``run`` has written to a file, under the results folder's locks."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``clipbench work``."""
    parser.add_argument("file", type=Path, metavar="FILE", help="jobs, as `clipbench run ... --write-jobs FILE` makes")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps or auto (default)")
    parser.add_argument("--wait", action="store_true", help="stay until the runs of other processes are done")
    parser.add_argument("--part", type=_part, metavar="I/N", help="begin with every Nth job, from the Ith")
    parser.add_argument("--skip", action="append", default=[], metavar="JOB", help=argparse.SUPPRESS)
    parser.add_argument("--events", action="store_true", help=argparse.SUPPRESS)


def main(arguments: argparse.Namespace) -> int:
    """0 if every run is there, 1 if one failed, 2 if weights are missing, 4 if other processes still work on some."""
    from clipbench.data.progress import Progress
    from clipbench.engine.context import Context
    from clipbench.engine.device import pick_device
    from clipbench.launch.events import Events
    from clipbench.launch.local import Local
    from clipbench.launch.work import Work
    from clipbench.results.store import Store

    work = Work.read(arguments.file)
    store = Store(work.results)
    context = Context(
        work.data_root,
        pick_device(arguments.device),
        store.root / ".checkpoints",
        work.sources,
        work.user_data,
    )
    first, step = arguments.part or (0, 1)
    others = [job for number, job in enumerate(work.jobs) if number % step != first]
    # What another worker has just made again must not be made once more: with --force each keeps to its own part.
    jobs = [*work.jobs[first::step], *([] if work.options.force else others)]
    options = replace(work.options, wait=arguments.wait)
    summary = Local(Events if arguments.events else Progress, arguments.skip).launch(jobs, store, context, options)
    if arguments.events:
        Events.summary(summary)
        return 0
    print(f"{len(summary.made)} runs made, {len(summary.there)} were there, {len(summary.elsewhere)} are elsewhere")
    for reason in dict.fromkeys(summary.failed.values()):
        print(f"{sum(why == reason for why in summary.failed.values())} runs failed: {reason}")
    return 2 if summary.missing_weights else 1 if summary.failed else 4 if summary.elsewhere else 0


def _part(text: str) -> tuple[int, int]:
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise argparse.ArgumentTypeError(f"{text!r} is no part such as 0/4")
    return int(index), int(count)
