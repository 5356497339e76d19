"""Which fields a protocol reads: a value that nothing reads would be a number with a false label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clipbench.registry.field import Field
from clipbench.registry.method_fields import declared_by
from clipbench.registry.protocol import SHARED, Protocol


def trains(values: Mapping[str, Any]) -> bool:
    """Whether a protocol of these values trains anything: it has an optimiser, and epochs or steps."""
    return "optimiser" in values and ("epochs" in values or "steps_per_shot" in values)


def without_chance(protocol: Protocol) -> bool:
    """Whether every seed gives the same number: nothing is trained, and no image is sampled."""
    sampled = protocol.shots or protocol.limit or protocol.split_rule == "stratified-fraction"
    return not trains(protocol.as_dict()) and not sampled


def unread(values: Mapping[str, Any], *, trained: bool) -> dict[str, str]:
    """The fields among ``values`` that nothing reads, each with the reason.

    ``trained``: something is trained. A field that is read only beside another that nothing reads goes too.
    """
    reasons: dict[str, str] = {}
    while True:
        left = {name: value for name, value in values.items() if name not in reasons}
        more = {name: reason for name in left if (reason := _unread(name, left, trained=trained))}
        if not more:
            return reasons
        reasons |= more


def lacking(protocol: Protocol) -> str | None:
    """The first field that the protocol reads and does not have; None where it has all."""
    values = protocol.as_dict()
    declared = declared_by(protocol.method)
    known = {**SHARED, **{field.name: field for field in (declared.fields if declared else ())}}
    # An optimiser has something to train: then epochs or steps are due too.
    trained = "optimiser" in values
    for name, field in known.items():
        if name not in values and not field.optional and not _unread(name, values, trained=trained, field=field):
            return name
    return None


def _unread(name: str, values: Mapping[str, Any], *, trained: bool, field: Field | None = None) -> str | None:
    declared = declared_by(values.get("method"))
    field = field or SHARED.get(name)
    if field is None:
        return None
    if field.trains and not trained and not (declared and name in declared.uses):
        return "nothing is trained"
    if field.of_method and declared is not None and name not in declared.uses:
        return f"the method {values['method']} does not read it"
    return _beside_others(field, values)


def _beside_others(field: Field, values: Mapping[str, Any]) -> str | None:
    """Why a field is not read beside these values of others."""
    if field.unless and field.unless in values:
        return f"these runs are measured by {field.unless}, not by {field.name}"
    if field.beside and field.beside not in values:
        return f"it is read beside {field.beside}, which is not set"
    for other, words in field.where.items():
        if values.get(other) not in words:
            here = f"here it is {values[other]}" if other in values else "here there is none"
            return f"it is read where {other} is {' or '.join(map(str, words))}, and {here}"
    return None
