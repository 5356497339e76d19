"""The command line: ``clipbench COMMAND``, from ``list`` to ``doctor``; each command is a module of its own."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from clipbench import __version__
from clipbench.errors import UserError

INTERRUPTED = 130

_EPILOG = """\
examples:
  clipbench list                                what there is, and what runs today
  clipbench show table1 --protocol              every field of a protocol, and where it comes from
  clipbench run table1 --smoke                  the whole of it in minutes, on generated images
  clipbench run table1 --data DIR               the real thing
  clipbench run table1 --only dataset=aid,method=lora-r4 --seeds 1,2
  clipbench compare --paper table1              measured beside printed, with a verdict
  clipbench audit --csv my_table.csv            can these numbers be? (also: clipbench audit lora-clip)

exit codes: 0 fine, 1 a check failed, 2 wrong use or missing input, 130 interrupted
"""


def entry() -> None:
    """Run the command line and leave with its exit code.

    An interrupt leaves at once: CPython remembers a KeyboardInterrupt that passed through ``exec`` of a string (a
    dataclass made while a library is imported) as unhandled, and would end by the signal instead of with 130.
    """
    code = main()
    if code == INTERRUPTED:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, 1 (a check failed), 2 (wrong use, missing input) or 130 (interrupted)."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if arguments.command is None:
        parser.print_help()
        return 2
    module = import_module(f"clipbench.cli.{arguments.command}")
    command: Callable[[argparse.Namespace], int] = module.main
    try:
        return command(arguments)
    except UserError as error:
        print(f"clipbench {arguments.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; what was finished is kept, the same command goes on from there", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) has enough. Closing stderr too keeps Python from complaining at exit.
        sys.stderr.close()
        return 0


def build_parser() -> argparse.ArgumentParser:
    """The parser of every command."""
    parser = argparse.ArgumentParser(
        prog="clipbench",
        description="Run a paper's tables on CLIP adaptation, and diff them against the printed numbers.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"clipbench {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    _list(commands.add_parser("list", help="all experiments: cells printed, measured, runnable today"))
    _show(commands.add_parser("show", help="one experiment: rows, columns, runs, printed numbers, protocol"))
    _run(commands.add_parser("run", help="run experiments; what is there already is not run again"))
    _compare(commands.add_parser("compare", help="measured beside printed, with a verdict for every cell"))
    _audit(commands.add_parser("audit", help="the papers' own arithmetic, without running anything", **_with_columns()))
    _claims(commands.add_parser("claims", help="the papers' sentences, held against their numbers and ours"))
    _assumptions(commands.add_parser("assumptions", help="what a paper leaves unsaid, and how it is read"))
    _table(commands.add_parser("table", help="write a table: Markdown, CSV, LaTeX, JSON"))
    _figure(commands.add_parser("figure", help="write a figure: PNG, SVG and the numbers behind it as CSV"))
    _data(commands.add_parser("data", help="get the data, check them, know where they stand; list, get, verify, cite"))
    _doctor(
        commands.add_parser("doctor", help="this machine: device, versions, disk, what is here, what would run now")
    )
    return parser


def _list(p: argparse.ArgumentParser) -> None:
    _names(p, "experiments or papers (default: all)", many=True)
    _out(p)
    p.add_argument("--json", action="store_true", help="machine-readable")


def _show(p: argparse.ArgumentParser) -> None:
    _names(p, "an experiment, such as table1 or clip-dora/table2", many=False)
    p.add_argument("--protocol", action="store_true", help="every protocol field with its standing")
    p.add_argument("--smoke", action="store_true", help="the smoke profile's protocol")
    p.add_argument("--json", action="store_true", help="machine-readable")


def _run(p: argparse.ArgumentParser) -> None:
    _names(p, "experiments: table1, lora-clip/table1, clip-dora, 'lora-clip/*'", many=True, required=True)
    _out(p)
    p.add_argument(
        "--smoke", action="store_true", help="embedded subsets and tiny model: proves the machinery in minutes"
    )
    p.add_argument(
        "--data", type=Path, metavar="DIR", help="folder above the data sets (default: $CLIPBENCH_DATA or ./data)"
    )
    p.add_argument(
        "--only", type=_words, default=[], metavar="KEY=VALUE,...", help="dataset=aid,method=lora-r4; | and * work"
    )
    p.add_argument(
        "--seeds", type=_integers, default=[], metavar="N,...", help="these seeds instead of the paper's number"
    )
    p.add_argument(
        "--assume",
        type=_words,
        action="extend",
        default=[],
        metavar="KEY=READING",
        help="another reading of an assumption; all: every reading of every assumption, one at a time",
    )
    _extension(p)
    p.add_argument("--limit", type=int, metavar="N", help="at most N images per class and split")
    p.add_argument("--epochs", type=int, metavar="N", help="instead of the protocol's")
    p.add_argument("--batch-size", type=int, metavar="N", help="instead of the protocol's")
    p.add_argument(
        "--backbone",
        metavar="NAME|FILE",
        help="open_clip name, timm ViT (vit_base_patch16_224), mambavision_tiny to _large, or an open_clip FILE.json",
    )
    p.add_argument("--weights", metavar="NAME|FILE", help="its tag, 'random', or a safetensors or torch file")
    p.add_argument("--set", type=_words, action="extend", default=[], metavar="FIELD=VALUE", help="any protocol field")
    p.add_argument("--precision", choices=("fp32", "bf16", "fp16"), help="instead of the protocol's")
    p.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps or auto (default)")
    p.add_argument(
        "--replicas", type=_positive, metavar="N", help="seeds trained in one pass at most (default: all that fit)"
    )
    p.add_argument("--dry-run", action="store_true", help="show the plan: runs, what is there already, what is missing")
    p.add_argument("--force", action="store_true", help="run again what is there; the old record is set aside")
    p.add_argument("--json", action="store_true", help="machine-readable summary on standard output")


def _compare(p: argparse.ArgumentParser) -> None:
    _names(p, "experiments or papers (default: all)", many=True)
    _out(p)
    p.add_argument("--paper", action="store_true", help="against the printed numbers (the default)")
    p.add_argument("--against", type=Path, metavar="DIR", help="against another output folder instead")
    p.add_argument("--assumptions", action="store_true", help="how far each reading of an assumption moves the numbers")
    p.add_argument("--format", choices=("text", "md", "csv", "json", "html"), default="text")
    p.add_argument("--margin", type=_margin, default=0.5, metavar="POINTS", help="equivalence margin (default 0.5)")
    _profile(p, "look at these records only")
    p.add_argument("--strict", action="store_true", help="exit with 1 if any cell deviates")
    _by_domain(p)
    _extension(p)


def _audit(p: argparse.ArgumentParser) -> None:
    p.add_argument("papers", nargs="*", metavar="PAPER", help="lora-clip, clip-dora (default: all)")
    p.add_argument("--csv", type=Path, metavar="FILE", help="audit this table instead; no registered paper is needed")
    p.add_argument("--format", choices=("text", "md", "json"), default="text")
    p.add_argument("--all", action="store_true", help="list what is fine or cannot be checked one by one too")
    p.add_argument("--strict", action="store_true", help="exit with 1 if a number is impossible or inconsistent")


def _with_columns() -> dict[str, Any]:
    """The help of ``--csv``'s columns below the options."""
    from clipbench.audit.columns import HELP

    return {"epilog": HELP, "formatter_class": argparse.RawDescriptionHelpFormatter}


def _claims(p: argparse.ArgumentParser) -> None:
    p.add_argument("papers", nargs="*", metavar="PAPER", help="lora-clip, clip-dora (default: all)")
    p.add_argument("--measured", action="store_true", help="on our records too, with uncertainty and the seeds needed")
    _profile(p, "with --measured: use these records only")
    _out(p)
    p.add_argument("--format", choices=("text", "md", "json"), default="text")


def _assumptions(p: argparse.ArgumentParser) -> None:
    _names(p, "experiments or papers (default: all)", many=True)
    p.add_argument("--format", choices=("text", "md", "json"), default="text")


def _table(p: argparse.ArgumentParser) -> None:
    _names(p, "tables (default: every one with a measured cell)", many=True)
    _out(p)
    _by_domain(p)
    _extension(p)
    _profile(p, "use these records only")


def _figure(p: argparse.ArgumentParser) -> None:
    _names(p, "figures (default: every one with measured runs)", many=True)
    _out(p)
    _profile(p, "use these records only")


def _profile(p: argparse.ArgumentParser, which: str) -> None:
    p.add_argument("--profile", choices=("full", "smoke"), help=which)
    p.add_argument("--smoke", dest="profile", action="store_const", const="smoke", help="the same as --profile smoke")


def _by_domain(p: argparse.ArgumentParser) -> None:
    p.add_argument("--by-domain", action="store_true", help="the number of each held-out domain too")


def _extension(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--dataset-dir", type=Path, metavar="DIR", help="your own images, a folder per class, in place of the columns"
    )
    p.add_argument(
        "--split-file", type=Path, metavar="FILE", help="how they are split: CoOp's JSON, or CSV with file, class, part"
    )
    p.add_argument(
        "--method", action="append", default=[], metavar="MODULE:CLASS", help="your own method, with rows of its own"
    )


def _data(p: argparse.ArgumentParser) -> None:
    from clipbench.cli.data import add_arguments

    add_arguments(p)


def _doctor(p: argparse.ArgumentParser) -> None:
    from clipbench.cli.doctor import add_arguments

    add_arguments(p)


def _names(p: argparse.ArgumentParser, what: str, *, many: bool, required: bool = False) -> None:
    p.add_argument("experiments", nargs=("+" if required else "*") if many else 1, metavar="EXPERIMENT", help=what)


def _out(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--out", type=Path, default=Path(), metavar="DIR", help="folder of results/, tables/, figures/ (default: here)"
    )


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _integers(text: str) -> list[int]:
    words = _words(text)
    if not words or not all(word.isdecimal() for word in words):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of whole numbers such as 1,2,3")
    return [int(word) for word in words]


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def _margin(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of percentage points above 0")
    return value


if __name__ == "__main__":
    entry()
