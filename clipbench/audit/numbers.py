"""One printed number in the form that every check takes, whether it comes from a paper's registry or a user's CSV."""

from __future__ import annotations

from dataclasses import dataclass

from clipbench.registry.decimal import Decimal

Key = tuple[str, str, str]
"""Table, row, column."""


@dataclass(frozen=True)
class Number:
    """A printed number with what is known of its making.

    Attributes:
        key: Table, row and column, as ids.
        where: The place in words: ``Table I, r=8, AID 20% train``.
        raw: As printed.
        value: The number; None where none is printed.
        std: Its printed standard deviation, read past a misprint; None where none is printed.
        n: Repetitions; None where they are not stated.
        test_size: Test images of one repetition; None where not known.
        size_source: Where that number comes from, or why it is not known.
        operation: ``average`` or ``difference`` of ``parts``; empty where the number stands for itself.
        parts: Keys of the numbers that it is computed from.
        same_as: Numbers with an equal, non-empty word here are the same quantity.
        note: How a misprint is read.
    """

    key: Key
    where: str
    raw: str
    value: Decimal | None
    std: Decimal | None
    n: int | None
    test_size: int | None
    size_source: str
    operation: str = ""
    parts: tuple[Key, ...] = ()
    same_as: str = ""
    note: str = ""
