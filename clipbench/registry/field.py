"""A protocol field: its type, the words or numbers that it takes, which of them run, its meaning, and who reads it."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from clipbench.errors import UserError

_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", tuple: "numbers"}
_MOST = 10**6
"""Largest whole number where a field does not say another: what is beyond is a slip, and some of it breaks PyTorch."""


@dataclass(frozen=True)
class Field:
    """One field of a protocol, as the registry or a method's class declares it.

    Attributes:
        name: As in ``--set NAME=VALUE`` and in the registry's files.
        kind: ``bool``, ``int``, ``float``, ``str``, or ``tuple`` for several numbers.
        meaning: What it is, in a line.
        words: The words that a ``str`` takes; none means any.
        runs: Of the values that are allowed, those that can run; none means all.
        why_not: Why the others cannot.
        low: Smallest number; ``above`` in its place where that number itself is not allowed.
        high: Largest number; ``below`` in its place where that number itself is not allowed.
        length: How many numbers a ``tuple`` has.
        ordered: The numbers of a ``tuple`` do not fall.
        holds: What a text must hold, unless it is one of ``words``.
        where: Fields and the values of theirs with which this one is read; with others nothing reads it.
        unless: Another field in whose presence this one is not read.
        beside: Another field in whose absence this one is not read.
        trains: It is read where something is trained only.
        of_method: It is read by the methods that name it in ``uses`` only.
        optional: Runs do without it.
    """

    name: str
    kind: type
    meaning: str
    words: Sequence[str] = ()
    runs: Sequence[Any] = ()
    why_not: str = ""
    low: float | None = None
    above: float | None = None
    high: float | None = None
    below: float | None = None
    length: int | None = None
    ordered: bool = False
    holds: str = ""
    where: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    unless: str = ""
    beside: str = ""
    trains: bool = False
    of_method: bool = False
    optional: bool = False

    def checked(self, value: Any) -> Any:
        """The value in the field's type (8 becomes 8.0 where a number is due, so that equal protocols hash equally).

        Raises ``UserError`` with what the field takes.
        """
        if not self._fits(value):
            raise UserError(f"{self.name} = {value!r}: must be {self.takes()}.")
        if self.kind is tuple:
            return tuple(float(x) for x in value)
        return float(value) if self.kind is float else value

    def parsed(self, text: str) -> Any:
        """The checked value of a word of the command line: ``2e-3``, ``true``, ``0.5,1``, ``a photo of a {}.``."""
        if self.kind is str:
            return self.checked(text.strip("\"'"))
        written = f"[{text}]" if self.kind is tuple and not text.startswith("[") else text
        try:
            value: Any = tomllib.loads(f"value = {written}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        return self.checked(value)

    def takes(self) -> str:
        """What the field takes, as a message says it: ``a number from 0 to 1``."""
        if self.words and not self.holds:
            return f"one of {', '.join(self.words)}"
        if self.holds:
            return f"text with {self.holds} in it" + "".join(f", or {word}" for word in self.words)
        count = f"{self.length} " if self.kind is tuple and self.length else ""
        bounds = " ".join(self._bounds())
        order = ", the smaller first" if self.ordered else ""
        return f"{count}{_KINDS[self.kind]}{' ' if bounds else ''}{bounds}{order}"

    def _bounds(self) -> list[str]:
        low = [f"from {_shown(self.low)}"] if self.low is not None else []
        low += [f"above {self.above:g}"] if self.above is not None else []
        high = [f"to {_shown(self._high)}"] if self._high is not None else []
        high += [f"below {self.below:g}"] if self.below is not None else []
        return [*low, *(["and"] if low and self.below is not None else []), *high]

    @property
    def _high(self) -> float | None:
        return _MOST if self.kind is int and self.high is None else self.high

    def _fits(self, value: Any) -> bool:
        if self.kind is bool:
            return isinstance(value, bool)
        if self.kind is str:
            return isinstance(value, str) and self._is_text(value)
        if self.kind is tuple:
            return isinstance(value, list | tuple) and self._are_numbers(value)
        whole = self.kind is not int or isinstance(value, int)
        return whole and self._is_number(value)

    def _is_text(self, value: str) -> bool:
        if value in self.words:
            return True
        return (
            not (self.words and not self.holds) and self.holds in value and value.isprintable() and bool(value.strip())
        )

    def _are_numbers(self, values: Sequence[Any]) -> bool:
        right = all(self._is_number(x) for x in values) and len(values) == (self.length or len(values))
        return right and bool(values) and (not self.ordered or list(values) == sorted(values))

    def _is_number(self, value: Any) -> bool:
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            return False
        low, high = self.low is None or value >= self.low, self._high is None or value <= self._high
        return (
            low and high and (self.above is None or value > self.above) and (self.below is None or value < self.below)
        )


def _shown(number: float) -> str:
    return f"{number:,.0f}" if number == round(number) else f"{number:g}"
