"""How the fields of `AdapterConfig` may be written, and the one form in which they are kept."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from clipbench.adapters.errors import AdapterError

ATTENTION_TARGETS = ("q", "k", "v", "o")
TARGETS = (*ATTENTION_TARGETS, "fc1", "fc2", "in_proj", "out_proj")
"""Names of matrices in a block: attention, MLP, and the two projections of a state-space mixer (MambaVision)."""

PLACEMENTS: dict[str, tuple[str, ...]] = {
    "all-linear": TARGETS,
    "attention": ATTENTION_TARGETS,
    "attention+mixer": (*ATTENTION_TARGETS, "in_proj", "out_proj"),
    "qkv+mlp": ("q", "k", "v", "fc1", "fc2"),
}
"""Words for several targets at once."""


def matches(pattern: str, *names: str) -> bool:
    """Whether `pattern` matches one of `names` as a whole."""
    return any(re.fullmatch(pattern, name) for name in names)


def parse_targets(value: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Targets in the order of `TARGETS`, and patterns for what was named otherwise."""
    if isinstance(value, str):
        if re.search(r"[.*\\\[(|^$]", value):
            return (), parse_patterns("targets", value)
        return _target_words(value), ()
    if not isinstance(value, Sequence) or not all(isinstance(name, str) for name in value):
        raise AdapterError(f"AdapterConfig: targets = {value!r} is neither a string nor a list of names.")
    others = tuple(name for name in value if name not in TARGETS)
    return tuple(name for name in TARGETS if name in value), parse_names("targets", others)


def _target_words(value: str) -> tuple[str, ...]:
    if value in PLACEMENTS:
        return PLACEMENTS[value]
    names = (value,) if value in TARGETS else tuple(value)
    unknown = [name for name in names if name not in TARGETS]
    if unknown:
        raise AdapterError(
            f"AdapterConfig: targets = {value!r} has unknown parts {unknown}; use 'qkvo' or a part of it, "
            f"{', '.join(map(repr, PLACEMENTS))}, a list of names out of {', '.join(TARGETS)} or of layers of the "
            "model, or a regular expression that matches whole names of layers."
        )
    return tuple(name for name in TARGETS if name in names)


def parse_layers(value: Any) -> tuple[int, int] | None:
    """``(start, stop)`` or None."""
    if value is None:
        return None
    bounds: tuple[Any, ...] = ()
    if isinstance(value, str):
        match = re.fullmatch(r"([0-9]+)(?:-([0-9]+))?", value)
        bounds = (int(match[1]), int(match[2] or match[1]) + 1) if match else ()
    elif isinstance(value, range):
        bounds = (value.start, value.stop) if value.step == 1 else ()
    elif isinstance(value, Sequence):
        bounds = tuple(value)
    if len(bounds) != 2 or not all(type(bound) is int for bound in bounds) or not 0 <= bounds[0] < bounds[1]:
        raise AdapterError(
            f"AdapterConfig: layers = {value!r} names no blocks; use None, a range, '0-11', or (start, stop)."
        )
    return bounds[0], bounds[1]


def parse_patterns(field: str, value: Any) -> tuple[str, ...]:
    """Regular expressions that compile."""
    patterns = (value,) if isinstance(value, str) else value
    if not isinstance(patterns, Sequence) or not all(isinstance(pattern, str) for pattern in patterns):
        raise AdapterError(f"AdapterConfig: {field} = {value!r} must be a regular expression or a list of them.")
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise AdapterError(f"AdapterConfig: {field}: {pattern!r} is no regular expression: {error}.") from error
    return tuple(patterns)


def parse_names(field: str, value: Any) -> tuple[str, ...]:
    """Regular expressions; a plain name becomes one for every name that ends in it, at a dot."""
    return tuple(
        rf"(?:.*\.)?{re.escape(name)}" if re.fullmatch(r"[\w.]+", name) else name
        for name in parse_patterns(field, value)
    )


def parse_pattern_values(field: str, value: Any) -> tuple[tuple[str, Any], ...]:
    """Pairs of a regular expression and a value."""
    pairs = list(value.items()) if isinstance(value, Mapping) else value
    well_formed = isinstance(pairs, Sequence) and all(isinstance(p, Sequence) and len(p) == 2 for p in pairs)
    if isinstance(pairs, str) or not well_formed:
        raise AdapterError(f"AdapterConfig: {field} = {value!r} must give a value for each regular expression.")
    parse_patterns(field, [pattern for pattern, _ in pairs])
    return tuple((pattern, number) for pattern, number in pairs)


def parse_options(kind: str, options_type: type[Any], value: Any) -> Any:
    """The kind's own options as its frozen dataclass."""
    if isinstance(value, options_type):
        return value
    known = [f.name for f in fields(options_type)]
    given = {} if value is None else value
    if not isinstance(given, Mapping):
        raise AdapterError(f"AdapterConfig: options = {value!r} must be a table of names and values.")
    unknown = sorted(str(name) for name in given if name not in known)
    if unknown:
        allowed = ", ".join(known) or "none"
        raise AdapterError(f"AdapterConfig: {kind} has no options {unknown}; it has {allowed}.")
    return options_type(**given)
