"""Printing for commands whose exit code says something: a reader that has enough does not change it."""

from __future__ import annotations

import os
import pydoc
import shutil
import sys

_PAGER = "less -RFX"
"""Shows colours, ends by itself where one screen is enough, and leaves the text on the screen."""


def show(text: str) -> None:
    """Print to standard output; where its reader (``head``) is gone, the rest is dropped and the command goes on."""
    try:
        if _pages(text):
            pydoc.pipepager(text, _PAGER)
        else:
            print(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still in the buffer goes nowhere, so that Python does not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _pages(text: str) -> bool:
    """Whether both ends are a terminal, and the text is longer than it is high."""
    if not (sys.stdout.isatty() and sys.stdin.isatty() and shutil.which("less")):
        return False
    return text.count("\n") >= shutil.get_terminal_size().lines
