"""The closed set of forms that a sentence can take. Each comes down to a quantity, an order, or is settled at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from fractions import Fraction
from itertools import pairwise
from typing import Any

from clipbench.audit.sentences import settled
from clipbench.audit.sentences.linear import Linear, cell, named
from clipbench.audit.sentences.settled import Context, Settled
from clipbench.errors import UserError
from clipbench.registry.decimal import Decimal
from clipbench.registry.printed import Key
from clipbench.registry.shapes import (
    ABOVE_ZERO,
    COUNT,
    DECIMALS,
    NUMBERS,
    PAIR,
    PAIRS,
    SEQUENCES,
    SHARE,
    SOME_TEXTS,
    TEXTS,
    one_of,
)
from clipbench.registry.toml_files import Kind


@dataclass(frozen=True)
class Quantity:
    """Numbers that should be the printed ones: (what, computed, printed)."""

    entries: tuple[tuple[str, Linear, Decimal], ...]


@dataclass(frozen=True)
class Order:
    """Differences that should be positive: at least ``need`` of them, or exactly that many."""

    entries: tuple[tuple[str, Linear], ...]
    need: int
    exactly: bool = False


Compiled = Quantity | Order | Settled


@dataclass(frozen=True)
class Form:
    """What a form is called with; ``number`` says whether it takes a printed number (None: either)."""

    compile: Callable[[Mapping[str, Any], Context], Compiled]
    required: Mapping[str, Kind]
    optional: Mapping[str, Kind] = field(default_factory=dict)
    number: bool | None = False


def _difference(f: Mapping[str, Any], c: Context) -> Compiled:
    """``of = "a - b"`` is the printed number, or positive where none is printed."""
    return _quantity(named(f["of"]), cell(f["of"], c.where, c.numbers), c.printed)


def _lead(f: Mapping[str, Any], c: Context) -> Compiled:
    """A cell minus the best of other rows of its column."""
    own = _one(f["cell"], c)
    _, key = own.terms[0]
    others = [(key[0], row, key[2]) for row in _rows(c, key[0], f["over"], [*f.get("but", []), key[1]])]
    reported = [k for k in others if k in c.numbers and c.numbers[k].value is not None]
    if not reported:
        raise UserError(f"{c.where}: none of the rows {', '.join(f['over'])} has a printed number on {key[2]}")
    best = max(reported, key=lambda k: Linear(((Fraction(1), k),)).unrounded(c.numbers))
    return _quantity(f"{key[1]} - {best[1]} on {key[2]}", own - Linear(((Fraction(1), best),)), c.printed)


def _one(text: str, c: Context) -> Linear:
    """A single cell: a difference of two has no column of its own."""
    found = cell(text, c.where, c.numbers)
    if len(found.terms) != 1:
        raise UserError(f"{c.where}: {text!r} is no single cell; write experiment/row/column")
    return found


def _quantity(what: str, linear: Linear, printed: Decimal | None) -> Compiled:
    return Order(((what, linear),), 1) if printed is None else Quantity(((what, linear, printed),))


def _mean(f: Mapping[str, Any], c: Context) -> Compiled:
    """The mean of cells is the printed number."""
    parts = [cell(text, c.where, c.numbers) for text in f["of"]]
    terms = tuple((factor / len(parts), key) for part in parts for factor, key in part.terms)
    return _quantity("mean", Linear(terms), c.printed)


def _equals(f: Mapping[str, Any], c: Context) -> Compiled:
    """Numbers repeated in the prose: cell = "98.35"."""
    entries = []
    for text, value in f["cells"].items():
        try:
            entries.append((named(text), cell(text, c.where, c.numbers), Decimal.read(value)))
        except ValueError as error:
            raise UserError(f"{c.where}: {text} = {error}") from None
    return Quantity(tuple(entries))


def _agree(f: Mapping[str, Any], c: Context) -> Compiled:
    """Pairs of cells that give the same quantity: equal to the decimals of the coarser."""
    entries = []
    for left, right in f["pairs"]:
        a, b = (_one(text, c) for text in (left, right))
        coarse = c.numbers[b.terms[0][1]].value
        if coarse is None:
            raise UserError(f"{c.where}: {right} holds no number")
        entries.append((f"{named(left)} as {named(right)}", a, coarse))
    return Quantity(tuple(entries))


def _beats(f: Mapping[str, Any], c: Context) -> Compiled:
    """In every column, each row of ``rows`` (or the best of them) is above every row of ``over``."""
    entries = []
    rows = _rows(c, f["experiment"], f["rows"], f.get("but", []))
    over = [row for row in _rows(c, f["experiment"], f["over"], []) if row not in rows]
    for column in _columns(c, f["experiment"], f["columns"], f.get("but_columns", [])):
        ours, theirs = (_reported(c, f["experiment"], names, column) for names in (rows, over))
        if not ours or not theirs:
            continue
        top = _best(c, theirs)
        for key in [_best(c, ours)] if f.get("by", "each") == "best" else ours:
            what = f"{key[1]} - {top[1]} on {column}"
            entries.append((what, Linear(((Fraction(1), key), (Fraction(-1), top)))))
    return _order(entries, f, c)


def _order(entries: Sequence[tuple[str, Linear]], f: Mapping[str, Any], c: Context) -> Order:
    if not entries:
        raise UserError(f"{c.where}: no cell matches, so that there is nothing to compare")
    need = f.get("exactly", f.get("at_least", len(entries)))
    if "exactly" in f and "at_least" in f:
        raise UserError(f"{c.where}: exactly or at_least, not both")
    if not ("exactly" not in f) <= need <= len(entries):
        raise UserError(f"{c.where}: {need} of {len(entries)} differences; that is none or more than there are")
    return Order(tuple(entries), need, "exactly" in f)


def _rising(f: Mapping[str, Any], c: Context) -> Compiled:
    """Each sequence of cells (or differences of cells) rises from one to the next."""
    entries = []
    for sequence in f["sequences"]:
        values = [cell(text, c.where, c.numbers) for text in sequence]
        names = [_step(early, late) for early, late in pairwise(sequence)]
        steps = [late - early for early, late in pairwise(values)]
        entries += list(zip(names, steps, strict=True))
    return _order(entries, f, c)


def _step(early: str, late: str) -> str:
    simple = " - " not in early + late
    return named(f"{late} - {early}") if simple else f"({named(late)}) - ({named(early)})"


def _below(f: Mapping[str, Any], c: Context) -> Compiled:
    """Differences smaller than a bound."""
    bound = Linear((), Fraction(str(f["bound"])))
    return _order(
        [(f"{f['bound']} - ({named(text)})", bound - cell(text, c.where, c.numbers)) for text in f["of"]], f, c
    )


def _above_outside(f: Mapping[str, Any], c: Context) -> Compiled:
    """A cell is above numbers that another work prints and this paper leaves out."""
    own = _one(f["cell"], c)
    outside = {name: Linear((), Fraction(str(value))) for name, value in f["others"].items()}
    return _order([(f"{named(f['cell'])} - {name}", own - value) for name, value in outside.items()], f, c)


def _rows(c: Context, experiment: str, patterns: Sequence[str], but: Sequence[str]) -> list[str]:
    return _matching([row.id for row in c.table(experiment).rows if not row.extra], patterns, but, c)


def _columns(c: Context, experiment: str, patterns: Sequence[str], but: Sequence[str]) -> list[str]:
    return _matching([column.id for column in c.table(experiment).columns], patterns, but, c)


def _matching(names: Sequence[str], patterns: Sequence[str], but: Sequence[str], c: Context) -> list[str]:
    for pattern in (*patterns, *but):
        if not any(fnmatchcase(name, pattern) for name in names):
            raise UserError(f"{c.where}: {pattern!r} matches none of {', '.join(names)}")
    return [n for n in names if any(fnmatchcase(n, p) for p in patterns) and not any(fnmatchcase(n, p) for p in but)]


def _reported(c: Context, experiment: str, rows: Sequence[str], column: str) -> list[Key]:
    keys = [(experiment, row, column) for row in rows]
    return [key for key in keys if key in c.numbers and c.numbers[key].value is not None]


def _best(c: Context, keys: Sequence[Key]) -> Key:
    return max(keys, key=lambda k: Linear(((Fraction(1), k),)).unrounded(c.numbers))


_QUANTIFIED: Mapping[str, Kind] = {"at_least": COUNT, "exactly": COUNT}
FORMS: Mapping[str, Form] = {
    "difference": Form(_difference, {"of": str}, number=None),
    "lead": Form(_lead, {"cell": str, "over": TEXTS}, {"but": SOME_TEXTS}, number=None),
    "mean": Form(_mean, {"of": TEXTS}, number=True),
    "equals": Form(_equals, {"cells": DECIMALS}),
    "agree": Form(_agree, {"pairs": PAIRS}),
    "beats": Form(
        _beats,
        {"experiment": str, "rows": TEXTS, "over": TEXTS, "columns": TEXTS},
        {"but": SOME_TEXTS, "but_columns": SOME_TEXTS, "by": one_of("each", "best"), **_QUANTIFIED},
    ),
    "rising": Form(_rising, {"sequences": SEQUENCES}, _QUANTIFIED),
    "below": Form(_below, {"of": TEXTS, "bound": ABOVE_ZERO}, _QUANTIFIED),
    "above-outside": Form(_above_outside, {"cell": str, "others": NUMBERS, "source": str}, _QUANTIFIED),
    "ratio": Form(settled.ratio, {"of": PAIR}, number=True),
    "size": Form(
        settled.size,
        {"models": SOME_TEXTS},
        {"known": NUMBERS, "source": str, "part": one_of("all", "vision"), "about": SHARE},
        number=True,
    ),
    "architecture": Form(settled.architecture, {"cells": TEXTS}),
    "class-sizes": Form(settled.class_sizes, {"dataset": str, "low": COUNT, "high": COUNT}, {"about": SHARE}),
    "reachable": Form(settled.reachable, {"experiment": str, "columns": TEXTS}),
    "reported": Form(settled.reported, {"fields": dict}),
    "unquoted-rows": Form(settled.unquoted_rows, {"experiment": str, "count": COUNT}),
    "misprint": Form(settled.misprint, {"read_as": str}, {"in_numbers": bool}),
    "judgement": Form(settled.judgement, {"holds": bool, "because": str}),
}
__all__ = ["FORMS", "Compiled", "Context", "Form", "Order", "Quantity", "Settled"]
