"""``clipbench data list | get | verify | synthesise | cite | smoke``: get the data, check them."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipbench.cli import option_types as types
from clipbench.cli.data_synthesis import add_synthesis, synthesise
from clipbench.cli.output import show
from clipbench.errors import UserError

if TYPE_CHECKING:
    from clipbench.data.catalogue import Entry


_ASK_ABOVE = 10**9
"""Bytes that are downloaded without a question."""


def add_arguments(p: argparse.ArgumentParser) -> None:
    """The subcommands and their options. Nothing heavy is imported for them."""
    actions = p.add_subparsers(dest="action", metavar="ACTION", required=True)
    one = actions.add_parser("list", help="what is here, where, complete or not; what each experiment still needs")
    one.add_argument("tables", nargs="*", metavar="TABLE", help="what these need (default: everything)")
    _common(one)
    one = actions.add_parser("get", help="download, check and unpack; what is there stays untouched")
    one.add_argument("names", nargs="+", metavar="NAME", help="data sets, such as ucm dtd, or tables: what they lack")
    one.add_argument("--yes", action="store_true", help="do not ask before more than 1 GB is downloaded")
    one.add_argument("--from", dest="given", type=Path, metavar="PATH", help="an archive, or a folder of them, on disk")
    _common(one)
    one = actions.add_parser("verify", help="counts, unreadable images, copies across the split, class names, splits")
    one.add_argument("names", nargs="*", metavar="NAME", help="data sets (default: all that are here)")
    one.add_argument("--quick", action="store_true", help="count files, open none")
    _common(one)
    one = actions.add_parser("synthesise", help="synthetic images of no known class, for the rows '+ SD'")
    add_synthesis(one)
    one = actions.add_parser("cite", help="BibTeX of a paper, its data sets and checkpoints")
    one.add_argument("tables", nargs="+", metavar="TABLE", help="table1, clip-dora/table3, lora-clip")
    one = actions.add_parser("smoke", help="write the embedded subsets, for a look at them")
    one.add_argument("folder", type=Path, metavar="DIR")


def main(arguments: argparse.Namespace) -> int:
    """Run one action; its exit code."""
    actions: Mapping[str, Callable[[argparse.Namespace], int]] = {
        "list": _list,
        "get": _get,
        "verify": _verify,
        "synthesise": synthesise,
        "cite": _cite,
        "smoke": _smoke,
    }
    return actions[arguments.action](arguments)


def _common(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--data", type=Path, metavar="DIR", help="folder above the data sets (default: $CLIPBENCH_DATA or ./data)"
    )
    types.add_format(p)


def _list(arguments: argparse.Namespace) -> int:
    from clipbench.cli.data_text import listing, listing_text
    from clipbench.data.images import default_data_root

    found = listing(arguments.tables, arguments.data or default_data_root())
    show(_as_json(found) if arguments.format == "json" else listing_text(found))
    return 0


def _get(arguments: argparse.Namespace) -> int:
    """Every data set by itself: one that cannot be had does not stop the others. 2 if any could not be had."""
    from clipbench.cli.data_text import got_text
    from clipbench.data.catalogue import entry
    from clipbench.data.download.get import get
    from clipbench.data.images import default_data_root

    names, tables = _wanted(arguments)
    entries = [entry(name) for name in names]
    if not entries:
        _say("all data sets of these tables are here.")
    if not (arguments.given or arguments.yes or _agreed(entries, tables=tables)):
        return 2
    failed, incomplete, results = False, False, {}
    for one in entries:
        try:
            got = get(one, arguments.data or default_data_root(), _say, arguments.given)
        except UserError as error:
            print(f"clipbench data get {one.id}: {error}", file=sys.stderr)
            failed, results[one.id] = True, {"error": str(error)}
            continue
        incomplete |= got.presence.state != "complete"
        results[one.id] = asdict(got)
        if arguments.format != "json":
            print(got_text(one, got))
    if arguments.format == "json":
        print(_as_json(results))
    return 2 if failed else 1 if incomplete else 0


def _wanted(arguments: argparse.Namespace) -> tuple[list[str], bool]:
    """The data sets that are named, those that named tables need and lack, and whether a table is named."""
    from clipbench.data.catalogue import entry, known
    from clipbench.data.images import default_data_root
    from clipbench.plan.needs import Here, needs_of

    here, wanted, tables = Here(arguments.data or default_data_root()), [], False
    for name in arguments.names:
        try:
            entry(name)
            wanted.append(name)
        except UserError as no_dataset:
            try:
                needs = needs_of([name])
            except UserError as no_table:
                raise UserError(f"{no_table} And {no_dataset}") from None
            tables = True
            wanted += [lacking for one in needs for lacking in here.still_needed(one)[0] if lacking in known()]
    return list(dict.fromkeys(wanted)), tables


def _agreed(entries: Sequence[Entry], *, tables: bool) -> bool:
    """Say what will be downloaded, and ask where that is more than 1 GB or nobody says how much."""
    from clipbench.data.download.faults import size
    from clipbench.data.download.sizes import download_size

    fetchable = [one for one in entries if one.acquisition is not None and one.acquisition.fetchable]
    # Of data sets that are named themselves only what the catalogue states counts.
    sizes = {one.id: download_size(one, ask_servers=tables) for one in fetchable}
    known_bytes = sum(number for number in sizes.values() if number is not None)
    unknown = [name for name, number in sizes.items() if number is None and tables]
    for name, number in sizes.items() if tables else ():
        _say(f"{name}: {'size unknown' if number is None else size(number)}")
    if known_bytes <= _ASK_ABOVE and not unknown:
        return True
    more = f" and {len(unknown)} data sets of unknown size" if unknown else ""
    _say(f"{size(known_bytes)}{more} will be downloaded.")
    if not sys.stdin.isatty():
        _say("Nothing is downloaded: add --yes to go on, or name fewer data sets.")
        return False
    print("Go on? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _verify(arguments: argparse.Namespace) -> int:
    """1 where something is wrong; a data set that is named and missing ends in a paragraph and 2."""
    from clipbench.cli.data_text import verified_text
    from clipbench.data.catalogue import entry, known
    from clipbench.data.download.presence import strangers
    from clipbench.data.images import default_data_root
    from clipbench.data.verify import verify

    root = arguments.data or default_data_root()
    results = {}
    for name in dict.fromkeys(arguments.names or known()):
        with _progress(name) as begin:
            results[name] = verify(entry(name), root, begin, quick=arguments.quick)
        if arguments.format != "json" and results[name].presence.state != "missing":
            print(verified_text(entry(name), results[name]), end="\n\n")
    missing = [name for name, found in results.items() if found.presence.state == "missing"]
    if arguments.format == "json":
        print(_as_json({name: asdict(found) | {"right": found.right} for name, found in results.items()}))
    if arguments.names and missing:
        raise UserError(" ".join(results[name].presence.message for name in missing))
    if missing and arguments.format != "json":
        print(f"not in {root}: {', '.join(missing)}")
    others = strangers(root, [found.presence for found in results.values()])
    if others and not arguments.names and arguments.format != "json":
        print(f"holds images, but is no known data set: {', '.join(others)}")
    return int(any(not found.right for found in results.values() if found.presence.state != "missing"))


@contextmanager
def _progress(name: str) -> Iterator[Callable[[int], Callable[[int], None]]]:
    """What is told the number of images, and gives who counts them; its bar ends with the block."""
    from clipbench.data.progress import Progress

    begun: list[Progress] = []

    def begin(total: int) -> Callable[[int], None]:
        begun.append(Progress(total))
        begun[-1].start(f"looking at {name}")
        return begun[-1].advance

    try:
        yield begin
    finally:
        for progress in begun:
            progress.close()


def _cite(arguments: argparse.Namespace) -> int:
    from clipbench.cli.data_text import citations

    print("\n\n".join(citations(arguments.tables)))
    return 0


def _smoke(arguments: argparse.Namespace) -> int:
    from clipbench.data.painted import SUBSETS, write_subset

    for name in SUBSETS:
        print(f"{name}: {write_subset(name, arguments.folder)}")
    print("They are generated, and prove the machinery only: `clipbench run table1 --smoke` uses them by itself.")
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _as_json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, default=str)
