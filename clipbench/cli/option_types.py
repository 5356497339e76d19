"""Types of option values: a wrong one ends the command with its usage, before anything is looked at."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

_SEEDS = 2**63
"""Seeds are below: what is beyond does not fit into the generators."""


def add_format(p: argparse._ActionsContainer, *kinds: str) -> None:
    """``--format``, and ``--json`` for ``--format json``: the same two in every command that prints."""
    p.add_argument("--format", choices=("text", *kinds, "json"), default="text", help="how it is printed")
    p.add_argument(
        "--json", dest="format", action="store_const", const="json", default=argparse.SUPPRESS, help="--format json"
    )


def words(text: str) -> list[str]:
    """``a=1,b=2`` as its words."""
    found = [word.strip() for word in text.split(",") if word.strip()]
    if not found:
        raise argparse.ArgumentTypeError("it is empty; leave the option out, or give it KEY=VALUE")
    return found


def fields(text: str) -> list[str]:
    """``lr=1e-3,crop_scale=0.5,1`` as ``field=value`` words: a word without a field belongs to the one before."""
    found: list[str] = []
    for word in words(text):
        if "=" in word or not found:
            found.append(word)
        else:
            found[-1] += f",{word}"
    return found


def seeds(text: str) -> list[int]:
    """``1,2,3``: whole numbers from 0, none twice."""
    found = words(text)
    if not all(word.isascii() and word.isdecimal() for word in found):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of whole numbers such as 1,2,3")
    numbers = [int(word) for word in found]
    if too_large := [n for n in numbers if n >= _SEEDS]:
        raise argparse.ArgumentTypeError(f"{too_large[0]} is no seed; seeds are whole numbers from 0 to 2^63 - 1")
    if len(set(numbers)) < len(numbers):
        raise argparse.ArgumentTypeError(f"{text!r} names a seed twice")
    return numbers


def positive(text: str) -> int:
    """A whole number from 1 on."""
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def margin(text: str) -> float:
    """Percentage points above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of percentage points above 0")
    return value


def path(text: str) -> Path:
    """A file or folder; an empty word would be the current one in silence."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty; name a file or folder, or leave the option out")
    return Path(text)
