"""Every command's options."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import Any

from clipbench import __version__
from clipbench.cli import option_types as types

_EPILOG = """\
examples:
  clipbench quickstart                          a first real verdict: fetches data and weights, says how much
  clipbench list                                what there is, and what runs today
  clipbench show table1 --protocol              every field of a protocol, and where it comes from
  clipbench run table1 --smoke                  the whole of it in minutes, on generated images
  clipbench plan table1                         what a run would do, and what it lacks on this machine
  clipbench run table1 --data DIR               the real thing
  clipbench compare --paper table1              measured beside printed, with a verdict
  clipbench audit my_table.csv                  can these numbers be? (LaTeX, Markdown, HTML too; or a paper)

exit codes: 0 fine, 1 a check failed, 2 wrong use or missing input, 3 --strict had nothing to compare or check,
4 some runs are queued or run elsewhere, 130 interrupted
"""
_RUN_EXAMPLES = """\
examples:
  clipbench run table1 --smoke                              in minutes, without data or weights
  clipbench run table1 --data DIR --only dataset=aid,method=lora-r4 --seeds 1,2
  clipbench run fewshot --only shots=4                      shots=0 is zero-shot
  clipbench run fewshot --only 'dataset=dtd|eurosat,row=clip-*'
  clipbench run table1 --assume scaling=alpha               another choice where the paper says nothing
  clipbench run fewshot --dataset-dir MY_IMAGES --method my_method.py:MyMethod
  clipbench run fewshot --set lr=1e-3,crop_scale=0.5,1      any field of the protocol
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of every command."""
    parser = argparse.ArgumentParser(
        prog="clipbench",
        description="Reproduce the tables of papers on adapting CLIP, and compare what comes out with what is printed.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"clipbench {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    run: dict[str, Any] = {"epilog": _RUN_EXAMPLES, "formatter_class": argparse.RawDescriptionHelpFormatter}
    _list(commands.add_parser("list", help="all tables and figures: cells printed, measured, runnable today"))
    _show(commands.add_parser("show", help="one table: rows, columns, runs, printed numbers, protocol"))
    _plan(commands.add_parser("plan", help="what a run would do here: done, to run, blocked and by what; cost", **run))
    _run(commands.add_parser("run", help="run tables; what is there already is not run again", **run))
    work = "carry out jobs that run --write-jobs has written, beside other processes that do the same"
    _command("work", commands.add_parser("work", help=work))
    again = "test a finished run again from what it has kept (run --keep adapters)"
    _command("evaluate", commands.add_parser("evaluate", help=again))
    _command("status", commands.add_parser("status", help="how far the jobs are that were submitted to Slurm"))
    _command("merge", commands.add_parser("merge", help="put the results of several places together"))
    _compare(commands.add_parser("compare", help="measured beside printed, with a verdict for every cell"))
    _audit(commands.add_parser("audit", help="the papers' own arithmetic, without running anything", **_with_columns()))
    _claims(commands.add_parser("claims", help="the papers' sentences, held against their numbers and ours"))
    _assumptions(commands.add_parser("assumptions", help="what a paper leaves unsaid, and what is chosen for it"))
    page = "one HTML page of it all: verdicts, tables, runs, protocols, figures, audit, claims, cost"
    _command("report", commands.add_parser("report", help=page))
    _table(commands.add_parser("table", help="write a table: Markdown, CSV, LaTeX, JSON"))
    _figure(commands.add_parser("figure", help="write a figure: PNG, SVG and the numbers behind it as CSV"))
    _data(commands.add_parser("data", help="get the data, check them, know what is here; list, get, verify, cite"))
    _validate(commands.add_parser("validate", help="check the files of a paper: every key, cell, choice and number"))
    _doctor(
        commands.add_parser("doctor", help="this machine: device, versions, disk, what is here, what would run now")
    )
    start = "a first real verdict: one data set, zero-shot, beside the printed number"
    _command("quickstart", commands.add_parser("quickstart", help=start))
    _command("cache", commands.add_parser("cache", help="the room that the cache takes, and --prune to free it"))
    _completion(commands.add_parser("completion", help="a script that completes commands, options and names"))
    return parser


def _command(name: str, p: argparse.ArgumentParser) -> None:
    """The options of a command that declares them in its own module."""
    import_module(f"clipbench.cli.{name}").add_arguments(p)


def _list(p: argparse.ArgumentParser) -> None:
    _names(p, "tables, figures or papers (default: all)", many=True)
    _out(p)
    p.add_argument("--data", type=types.path, metavar="DIR", help="folder above the data sets (as of run)")
    types.add_format(p, "md")


def _show(p: argparse.ArgumentParser) -> None:
    _names(p, "a table or figure, such as table1 or clip-dora/table2", many=False)
    p.add_argument("--protocol", action="store_true", help="every protocol field with its basis")
    p.add_argument("--smoke", action="store_true", help="the smoke profile's protocol")
    types.add_format(p)


def _plan(p: argparse.ArgumentParser) -> None:
    _what(p)
    _protocol_options(p)
    machine = p.add_argument_group("this machine")
    _machine_options(machine)
    machine.add_argument("--jobs", action="store_true", help="every job with its seeds and its state")
    types.add_format(machine)


def _run(p: argparse.ArgumentParser) -> None:
    _what(p)
    _protocol_options(p)
    machine = p.add_argument_group("this machine")
    _machine_options(machine)
    machine.add_argument(
        "--replicas", type=types.positive, metavar="N", help="seeds trained in one pass at most (default: all that fit)"
    )
    machine.add_argument("--devices", metavar="LIST", help="a process on each: cuda:0,cuda:1; all; or cpu:2")
    machine.add_argument("--launcher", choices=("local", "slurm"), default="local", help="who carries the jobs out")
    machine.add_argument(
        "--slurm", type=types.words, default=[], metavar="KEY=VALUE,...", help="partition=gpu,time=240,gpus=1 (minutes)"
    )
    machine.add_argument(
        "--products",
        choices=("auto", "onednn", "pytorch"),
        default="auto",
        help="who multiplies large float32 matrices on a CPU: the faster one of oneDNN and PyTorch's library (auto)",
    )
    machine.add_argument("--compile", action="store_true", help="compile transformer blocks (torch.compile)")
    machine.add_argument("--wait", action="store_true", help="stay until the runs of other processes are done")
    machine.add_argument(
        "--log", choices=("csv", "tensorboard", "wandb"), default="csv", help="curves while runs train"
    )
    machine.add_argument(
        "--write-jobs", type=types.path, metavar="FILE", help="only write the jobs, for clipbench work"
    )
    machine.add_argument(
        "--keep", choices=("adapters",), action="append", default=[], help="beside the record: all that was trained"
    )
    machine.add_argument("--dry-run", action="store_true", help="show the plan and run nothing: clipbench plan")
    machine.add_argument("--jobs", action="store_true", help="with --dry-run: every job with its seeds and its state")
    machine.add_argument("--force", action="store_true", help="run again what is there; the old record is set aside")
    types.add_format(machine)


def _what(p: argparse.ArgumentParser) -> None:
    """Which runs."""
    _names(p, "tables, figures or papers: table1, lora-clip/table2, clip-dora, 'lora-clip/*'", many=True, required=True)
    what = p.add_argument_group("what is run")
    what.add_argument(
        "--smoke", action="store_true", help="generated images and a tiny model: minutes, proves no paper"
    )
    _only(what)
    what.add_argument("--seeds", type=types.seeds, default=[], metavar="N,...", help="instead of the paper's number")
    _added(what)


def _only(p: argparse._ActionsContainer) -> None:
    p.add_argument(
        "--only",
        type=types.words,
        action="extend",
        default=[],
        metavar="KEY=VALUE,...",
        help="row, column, method, dataset, panel or a protocol field (shots=4; zero-shot is shots=0); | and * work",
    )


def _protocol_options(p: argparse.ArgumentParser) -> None:
    group = p.add_argument_group("the protocol, where it is to differ from the paper's")
    group.add_argument(
        "--assume",
        type=types.words,
        action="extend",
        default=[],
        metavar="KEY=CHOICE",
        help="another choice for an assumption; all: every choice of every assumption, one at a time",
    )
    group.add_argument("--limit", type=int, metavar="N", help="at most N images per class and split")
    group.add_argument("--epochs", type=int, metavar="N", help="passes over the training images")
    group.add_argument("--batch-size", type=int, metavar="N", help="images per step")
    group.add_argument(
        "--backbone",
        metavar="NAME|FILE",
        help="open_clip name, timm ViT (vit_base_patch16_224), mambavision_tiny to _large, or an open_clip FILE.json",
    )
    group.add_argument("--weights", metavar="NAME|FILE", help="its tag, 'random', or a safetensors or torch file")
    group.add_argument(
        "--precision", choices=("fp32", "bf16", "fp16", "fp16-weights"), help="arithmetic of the forward pass"
    )
    group.add_argument(
        "--set",
        type=types.fields,
        action="extend",
        default=[],
        metavar="FIELD=VALUE",
        help="any protocol field: lr=1e-3, crop_scale=0.5,1",
    )


def _machine_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--out", type=types.path, default=".", metavar="DIR", help="folder of results/, tables/, figures/ (here)"
    )
    group.add_argument(
        "--data", type=types.path, metavar="DIR", help="folder above the data sets ($CLIPBENCH_DATA or ./data)"
    )
    group.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps or auto (default)")


def _compare(p: argparse.ArgumentParser) -> None:
    _names(p, "tables, figures or papers (default: all)", many=True)
    _out(p)
    p.add_argument("--paper", action="store_true", help="against the printed numbers (the default)")
    _only(p)
    p.add_argument("--rows", nargs=2, metavar="ROW", help="two methods beside each other, paired by seed and image")
    p.add_argument("--against", type=types.path, metavar="DIR", help="against another output folder instead")
    p.add_argument("--assumptions", action="store_true", help="how far each choice of an assumption moves the numbers")
    types.add_format(p, "md", "csv")
    p.add_argument(
        "--margin", type=types.margin, default=0.5, metavar="POINTS", help="equivalence margin (default 0.5)"
    )
    _profile(p, "look at these records only")
    p.add_argument(
        "--strict", action="store_true", help="exit with 1 if any cell deviates, with 3 if nothing was comparable"
    )
    _by_domain(p)
    _added(p)


def _audit(p: argparse.ArgumentParser) -> None:
    p.add_argument("papers", nargs="*", metavar="PAPER|FILE", help="lora-clip, clip-dora (default: all), or your table")
    _own_papers(p)
    p.add_argument("--csv", type=types.path, metavar="FILE", help="a file, whatever its name; also without --csv")
    types.add_format(p, "md")
    p.add_argument("--all", action="store_true", help="list what is fine or cannot be checked one by one too")
    p.add_argument(
        "--strict",
        action="store_true",
        help="exit with 1 if a number is impossible or inconsistent",
    )


def _with_columns() -> dict[str, Any]:
    """The help of ``--csv``'s columns below the options."""
    from clipbench.audit.columns import HELP

    return {"epilog": HELP, "formatter_class": argparse.RawDescriptionHelpFormatter}


def _claims(p: argparse.ArgumentParser) -> None:
    p.add_argument("papers", nargs="*", metavar="PAPER", help="lora-clip, clip-dora (default: all)")
    _own_papers(p)
    p.add_argument("--measured", action="store_true", help="on our records too, with uncertainty and the seeds needed")
    _profile(p, "with --measured: use these records only")
    _out(p)
    types.add_format(p, "md")


def _assumptions(p: argparse.ArgumentParser) -> None:
    _names(p, "tables, figures or papers (default: all)", many=True)
    types.add_format(p, "md")


def _table(p: argparse.ArgumentParser) -> None:
    _names(p, "tables (default: every one with a measured cell)", many=True)
    _out(p)
    _by_domain(p)
    _added(p)
    _profile(p, "use these records only")
    types.add_format(p, "md", "csv", "tex")


def _figure(p: argparse.ArgumentParser) -> None:
    _names(p, "figures (default: every one with measured runs)", many=True)
    _out(p)
    _profile(p, "use these records only")
    types.add_format(p)


def _profile(p: argparse.ArgumentParser, which: str) -> None:
    p.add_argument("--profile", choices=("full", "smoke"), help=which)
    p.add_argument("--smoke", dest="profile", action="store_const", const="smoke", help="the same as --profile smoke")


def _by_domain(p: argparse.ArgumentParser) -> None:
    p.add_argument("--by-domain", action="store_true", help="the number of each target domain too")


def _added(p: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """The user's data and methods."""
    p.add_argument(
        "--dataset-dir",
        type=types.path,
        metavar="DIR",
        help="your own images, a folder per class, in place of the columns",
    )
    p.add_argument(
        "--split-file",
        type=types.path,
        metavar="FILE",
        help="how they are split: CoOp's JSON, or CSV with file, class, part",
    )
    p.add_argument(
        "--method", action="append", default=[], metavar="FILE.py:CLASS", help="your own method, with rows of its own"
    )


def _data(p: argparse.ArgumentParser) -> None:
    from clipbench.cli.data import add_arguments

    add_arguments(p)


def _doctor(p: argparse.ArgumentParser) -> None:
    from clipbench.cli.doctor import add_arguments

    add_arguments(p)


def _validate(p: argparse.ArgumentParser) -> None:
    p.add_argument("folder", nargs="?", type=types.path, metavar="DIR", help="of a paper, or above papers (ours)")
    types.add_format(p)


def _completion(p: argparse.ArgumentParser) -> None:
    p.add_argument("shell", choices=("bash", "zsh", "fish"), help="source <(clipbench completion bash)")


def _names(p: argparse.ArgumentParser, what: str, *, many: bool, required: bool = False) -> None:
    p.add_argument("tables", nargs=("+" if required else "*") if many else 1, metavar="TABLE", help=what)
    _own_papers(p)


def _own_papers(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--papers", dest="papers_dir", type=types.path, metavar="DIR", help="papers of your own too, as in benchmarks/"
    )


def _out(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--out",
        type=types.path,
        default=".",
        metavar="DIR",
        help="folder of results/, tables/, figures/ (default: here)",
    )
