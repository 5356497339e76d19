"""Sums and differences of printed cells, the one thing that all comparisons of numbers come down to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from clipbench.errors import UserError
from clipbench.registry.printed import Key, PrintedNumber

Numbers = Mapping[Key, PrintedNumber]


@dataclass(frozen=True)
class Linear:
    """``sum of factor * cell, plus a constant``."""

    terms: tuple[tuple[Fraction, Key], ...]
    constant: Fraction = Fraction(0)

    def __sub__(self, other: Linear) -> Linear:
        turned = tuple((-factor, key) for factor, key in other.terms)
        return Linear(self.terms + turned, self.constant - other.constant)

    def as_printed(self, numbers: Numbers) -> Fraction:
        """From the cells exactly as they stand, averages rounded as printed."""
        return self.constant + sum((f * _value(numbers, key) for f, key in self.terms), Fraction(0))

    def unrounded(self, numbers: Numbers) -> Fraction:
        """With averages and differences computed again from their printed parts."""
        return self.expanded(numbers).as_printed(numbers)

    def expanded(self, numbers: Numbers) -> Linear:
        """Every derived cell replaced by its parts."""
        terms = tuple(part for factor, key in self.terms for part in _parts(numbers, factor, key))
        return Linear(terms, self.constant)

    def slack(self, numbers: Numbers) -> Fraction:
        """How far numbers that round to the printed ones could move the result."""
        terms = self.expanded(numbers).terms
        return sum((abs(f) * _unit(numbers, key) / 2 for f, key in terms), Fraction(0))


def cell(text: str, where: str, numbers: Numbers) -> Linear:
    """``table1/clip-dora-1shot/avg``, or two of them as ``a - b``. Raises ``UserError`` where it is not printed."""
    first, minus, second = text.partition(" - ")
    left = Linear(((Fraction(1), _key(first, where, numbers)),))
    return left - cell(second, where, numbers) if minus else left


def named(text: str) -> str:
    """A short name of a cell or of ``a - b``: what both have in common is said once."""
    first, minus, second = (part.strip().split("/") for part in text.partition(" - "))
    if minus == [""]:
        return "/".join(first[1:])
    if first[0] == second[0] and first[2] == second[2]:
        return f"{first[1]} - {second[1]} on {first[2]}"
    if first[:2] == second[:2]:
        return f"{first[2]} - {second[2]} of {first[1]}"
    return f"{'/'.join(first[1:])} - {'/'.join(second[1:])}"


def _key(text: str, where: str, numbers: Numbers) -> Key:
    parts = tuple(part.strip() for part in text.split("/"))
    if len(parts) != 3 or parts not in numbers:
        raise UserError(f"{where}: {text!r} is no printed cell; write experiment/row/column as in published.csv")
    return parts[0], parts[1], parts[2]


def _parts(numbers: Numbers, factor: Fraction, key: Key) -> list[tuple[Fraction, Key]]:
    number = numbers[key]
    if not number.operation:
        return [(factor, key)]
    share = Fraction(1, len(number.parts))
    signs = [Fraction(1), Fraction(-1)] if number.operation == "difference" else [share] * len(number.parts)
    return [part for sign, k in zip(signs, number.parts, strict=True) for part in _parts(numbers, factor * sign, k)]


def _value(numbers: Numbers, key: Key) -> Fraction:
    value = numbers[key].value
    if value is None:
        raise UserError(f"the cell {'/'.join(key)} is printed as not reported, so that no claim can rest on it")
    return value.value


def _unit(numbers: Numbers, key: Key) -> Fraction:
    value = numbers[key].value
    return value.unit if value is not None else Fraction(0)
