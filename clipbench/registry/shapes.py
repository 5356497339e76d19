"""What a value of a registry file must be where its type alone does not say it: ``strict`` takes these beside types."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_MOST = 10**9
"""Largest count: what is beyond is a slip."""


@dataclass(frozen=True)
class Shape:
    """A test of a value, and what is said of a value that fails it."""

    says: str
    holds: Callable[[Any], bool]


def is_text(value: Any) -> bool:
    """Text that is not empty and has no control character, which a terminal would obey."""
    return isinstance(value, str) and bool(value.strip()) and not _CONTROL.search(value)


def is_number(value: Any) -> bool:
    """A finite number."""
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MOST and math.isfinite(value)
    )


def is_count(value: Any) -> bool:
    """A whole number from 0."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST


def _are_texts(value: Any, least: int = 1) -> bool:
    return isinstance(value, list) and len(value) >= least and all(is_text(x) for x in value)


LABEL = Shape("text of one line", lambda value: is_text(value) and "\n" not in value)
COUNT = Shape("a whole number from 0", is_count)
LINE = Shape("the number of a line, from 1", lambda value: is_count(value) and value > 0)
SHARE = Shape("a number from 0 to 1", lambda value: is_number(value) and 0 <= value <= 1)
ABOVE_ZERO = Shape("a number above 0", lambda value: is_number(value) and value > 0)
TEXTS = Shape("a list of texts that are not empty", _are_texts)
SOME_TEXTS = Shape("a list of texts", lambda value: _are_texts(value, 0))
PAIR = Shape("a list of two texts", lambda value: _are_texts(value, 2) and len(value) == 2)
PAIRS = Shape(
    "a list of pairs of texts", lambda value: isinstance(value, list) and bool(value) and all(map(PAIR.holds, value))
)
SEQUENCES = Shape(
    "a list of lists of two texts or more",
    lambda value: isinstance(value, list) and bool(value) and all(_are_texts(x, 2) for x in value),
)
NUMBERS = Shape(
    "a table of numbers",
    lambda value: isinstance(value, dict) and bool(value) and all(is_number(x) for x in value.values()),
)
DECIMALS = Shape(
    "a table of numbers as they are printed, in quotation marks",
    lambda value: isinstance(value, dict) and bool(value) and all(isinstance(x, str) for x in value.values()),
)


def one_of(*words: str) -> Shape:
    """One of some words."""
    return Shape(f"one of {', '.join(words)}", lambda value: value in words)
