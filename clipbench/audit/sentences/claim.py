"""A sentence of a paper with its place and its form; ``claims.toml``, read strictly."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clipbench.audit.paper import numbers_of
from clipbench.audit.sentences.forms import FORMS, Compiled, Context
from clipbench.errors import UserError
from clipbench.registry import Paper
from clipbench.registry.decimal import Decimal
from clipbench.registry.printed import Key, PrintedNumber
from clipbench.registry.shapes import LABEL, LINE
from clipbench.registry.toml_files import At, Kind, read_toml, strict

_REQUIRED: dict[str, Kind] = {"id": LABEL, "where": LABEL, "line": LINE, "says": str, "form": dict}
_OPTIONAL: dict[str, Kind] = {"printed": str, "note": str, "gain": bool}


@dataclass(frozen=True)
class Claim:
    """One sentence.

    Attributes:
        id: Short name, unique in its paper.
        where: The place in the paper: ``sec. 4.2``.
        line: Line of the extracted text.
        says: What it says, in few words.
        kind: Name of its form: a key of ``clipbench.audit.sentences.forms.FORMS``.
        check: What the form comes down to: a quantity, an order, or something settled by the registry alone.
        printed: The number in the sentence; None where it has none.
        note: What a reader must know beside the verdict.
        gain: Whether it is a gain that the paper is about (the assumption plot shows it).
    """

    paper: str
    id: str
    where: str
    line: int
    says: str
    kind: str
    check: Compiled
    printed: Decimal | None
    note: str
    gain: bool
    numbers: Mapping[Key, PrintedNumber]


def load_claims(paper: Paper) -> list[Claim]:
    """Every claim of a paper, in the file's order. Raises ``UserError`` with the file, the claim and the key."""
    path = paper.folder / "claims.toml"
    if not os.path.lexists(path):
        return []
    at = At(path)
    entries = strict(read_toml(path), at, {"claim": list}, {})["claim"]
    numbers = numbers_of(paper)
    claims = [_claim(paper, numbers, entry, at / "claim" / _name(entry, i)) for i, entry in enumerate(entries, start=1)]
    ids = [claim.id for claim in claims]
    if twice := next((name for name in ids if ids.count(name) > 1), None):
        raise UserError(f"{at / 'claim' / twice}: a claim id stands twice")
    return claims


def _claim(paper: Paper, numbers: Mapping[Key, PrintedNumber], entry: Any, at: At) -> Claim:
    strict(entry, at, _REQUIRED, _OPTIONAL)
    where = str(at)
    kind = entry["form"].get("kind")
    if not isinstance(kind, str) or kind not in FORMS:
        raise UserError(f"{where}: form.kind = {kind!r}; allowed are {', '.join(FORMS)}")
    printed = _decimal(entry["printed"], where) if "printed" in entry else None
    fields = {key: value for key, value in entry["form"].items() if key != "kind"}
    form = FORMS[kind]
    strict(fields, at / "form", form.required, form.optional)
    if form.number is not None and form.number != (printed is not None):
        raise UserError(f"{where}: the form {kind} takes {'a' if form.number else 'no'} printed number")
    try:
        check = form.compile(fields, Context(paper, numbers, printed, where))
    except UserError as error:
        raise UserError(str(error) if str(error).startswith(where) else f"{where}: {error}") from None
    where_said, note, gain = entry["where"], entry.get("note", ""), entry.get("gain", False)
    return Claim(
        paper.id, entry["id"], where_said, entry["line"], entry["says"], kind, check, printed, note, gain, numbers
    )


def _name(entry: Any, number: int) -> str:
    return str(entry["id"]) if isinstance(entry, dict) and isinstance(entry.get("id"), str) else str(number)


def _decimal(text: str, where: str) -> Decimal:
    try:
        return Decimal.read(text)
    except ValueError as error:
        raise UserError(f"{where}: printed = {error}") from None
