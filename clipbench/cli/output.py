"""Printing for commands whose exit code says something: a reader that has enough does not change it."""

from __future__ import annotations

import os
import sys


def show(text: str) -> None:
    """Print to standard output; where its reader (``head``) is gone, the rest is dropped and the command goes on."""
    try:
        print(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still in the buffer goes nowhere, so that Python does not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
