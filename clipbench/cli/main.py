"""The command line: ``clipbench COMMAND``, from ``list`` to ``doctor``; each command is a module of its own."""

from __future__ import annotations

import argparse
import errno
import faulthandler
import io
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from clipbench.engine.stop import PREEMPTED, Stop, listening
from clipbench.errors import UserError

INTERRUPTED = 130


def entry() -> None:
    """Run the command line and leave with its exit code.

    An interrupt leaves at once: CPython remembers a KeyboardInterrupt that passed through ``exec`` of a string (a
    dataclass made while a library is imported) as unhandled, and would end by the signal instead of with 130.
    """
    # What kills Python itself (a fault in a compiled library, os.abort) says where it happened.
    faulthandler.enable()
    code = main()
    if code in (INTERRUPTED, PREEMPTED):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    The exit code is 0, 1 (a check failed), 2 (wrong use, missing input), 130 (interrupted) or 75 (asked to go by a
    batch system).
    """
    try:
        with listening(Stop()):
            return _run(argv)
    except KeyboardInterrupt as error:
        print("interrupted; what was finished is kept, the same command goes on from there", file=sys.stderr)
        return getattr(error, "code", INTERRUPTED)


def _run(argv: Sequence[str] | None) -> int:
    # Imported where a signal is met already.
    from clipbench.cli.parser import build_parser
    from clipbench.registry.paper import PAPERS_VARIABLE

    _prepare_streams()
    # Only files are drawn: a notebook's back end, which its kernel hands down, is not to be had here.
    os.environ["MPLBACKEND"] = "Agg"
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if arguments.command is None:
        parser.print_help()
        return 2
    if folder := getattr(arguments, "papers_dir", None):
        os.environ[PAPERS_VARIABLE] = str(folder.resolve())
    module = import_module(f"clipbench.cli.{arguments.command}")
    command: Callable[[argparse.Namespace], int] = module.main
    try:
        code = command(arguments)
        sys.stdout.flush()
    except UserError as error:
        print(f"clipbench {arguments.command}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader (head, less) has enough. Closing stderr too keeps Python from complaining at exit.
        sys.stderr.close()
        return 0
    except OSError as error:
        if error.errno != errno.ENOSPC or error.filename is not None:
            raise
        print(f"clipbench {arguments.command}: its output cannot be written: {error.strerror}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


def _prepare_streams() -> None:
    """Characters that the terminal's encoding lacks are escaped, and end no command after its work is done."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    entry()
