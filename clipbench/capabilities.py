"""What runs today: names of methods, tasks, backbones and protocol words that have code behind them.

No heavy imports here: ``list`` and ``show`` ask this module.
"""

from __future__ import annotations

from clipbench.data.catalogue import entry
from clipbench.data.catalogue import known as known_datasets
from clipbench.methods import METHODS
from clipbench.models import family
from clipbench.spec import Protocol, Resolved

_IMPLEMENTED: dict[str, tuple[object, ...]] = {
    "task": ("linear-head",),
    "split_rule": ("stratified-fraction",),
    "train_transform": ("resize",),
    "test_transform": ("resize",),
    "optimiser": ("adamw",),
    "schedule": ("cosine", "constant"),
    "loss": ("cross-entropy",),
    "selection": ("last", "best-test"),
    "norm_axis": (None, "output"),
    "decay_magnitude": (None, True),
    "also_trained": (None,),
    "adapter_init": (None, "kaiming-uniform-sqrt5"),
}


def why_not(resolved: Resolved) -> str | None:
    """The reason why a protocol cannot run yet, or None where it can."""
    return resolved.missing or _gap(resolved.protocol)


def _gap(protocol: Protocol) -> str | None:
    if protocol.method not in METHODS:
        return f"the method {protocol.method} is not implemented yet"
    for name, allowed in _IMPLEMENTED.items():
        if getattr(protocol, name) not in allowed:
            return f"{name.replace('_', ' ')} {getattr(protocol, name)!r} is not implemented yet"
    if protocol.dataset not in known_datasets():
        return f"no reader for the data set {protocol.dataset} yet"
    if family(protocol.backbone or "") is None:
        return f"the backbone {protocol.backbone} is not implemented yet"
    return None


def unobtainable(protocol: Protocol) -> str | None:
    """Why the data set can no longer be had, where its catalogue entry says so."""
    if protocol.dataset not in known_datasets():
        return None
    return entry(protocol.dataset).gone or None
