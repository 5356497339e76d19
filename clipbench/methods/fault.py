"""What is said of a fault in a user's own method: one paragraph with the line of theirs, and no traceback."""

from __future__ import annotations

import os
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

_LIBRARIES = (
    str(Path(__file__).parents[1]),
    *(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib")),
)
_MOST = 500
"""Characters of a message; some of PyTorch's go on for pages."""


class ExitError(Exception):
    """A method has tried to end the process that it runs in."""


@contextmanager
def refused_exits() -> Iterator[None]:
    """While a user's method runs, ``os._exit`` raises: it would end the command, its other runs too, without a word."""
    leave, command = os._exit, os.getpid()

    def refuse(status: int) -> NoReturn:
        if os.getpid() != command:  # a forked helper, whose end this is
            leave(status)
        raise ExitError(f"it calls os._exit({status}), which would end the other runs of this command too")

    os._exit = refuse
    try:
        yield
    finally:
        os._exit = leave


def own_fault(name: str, error: BaseException) -> str:
    """``IndexError: index 9 is out of bounds, at /home/me/mine.py:27, in logits``, of a method ``module:Class``."""
    message = " ".join(str(error).split())[:_MOST]
    said = f"{type(error).__name__}: {message}" if message else type(error).__name__
    module = sys.modules.get(name.partition(":")[0])
    return f"{said}, {_where(error, getattr(module, '__file__', None))}"


def _where(error: BaseException, file: str | None) -> str:
    """The innermost line of the user's: of the class's own file, or of another that is no library."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [f for f in frames if f.filename == file or not _library(f.filename)]
    if theirs:
        return f"at {theirs[-1].filename}:{theirs[-1].lineno}, in {theirs[-1].name}"
    if isinstance(error, SyntaxError) and error.filename:
        return f"at {error.filename}:{error.lineno}"
    at = f"at {frames[-1].filename}:{frames[-1].lineno}" if frames else "at no known line"
    return f"{at}, called with what {file} gives" if file else at


def _library(file: str) -> bool:
    return file.startswith("<") or any(Path(file).is_relative_to(folder) for folder in _LIBRARIES)
