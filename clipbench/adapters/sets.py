"""Several sets of adapters over one frozen model: switch between them, leave them out for a while, add them up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from clipbench.adapters.config import AdapterConfig, is_number
from clipbench.adapters.errors import AdapterError
from clipbench.adapters.inject import activate, adapt, deactivate
from clipbench.adapters.kinds import LoRA
from clipbench.adapters.merging import require_unmerged
from clipbench.adapters.places import config_for
from clipbench.adapters.state import State, get_sets, get_state, put_sets, unwrap


def names(model: nn.Module) -> list[str]:
    """The names of the sets of adapters in `model`, the active one first.

    Raises:
        AdapterError: The model has no adapters.
    """
    sets = get_sets(model)
    return [sets.active, *(name for name in sets.by_name if name != sets.active)]


def set_active(model: nn.Module, name: str) -> nn.Module:
    """Use the set of adapters `name`; the others are kept beside the model, their numbers untouched.

    What is trained beside a set, such as a head, goes with it: it gets the values back that it had with this set.

    `trainable_parameters`, `state_dict`, `merge` and `save` see the active set alone. What was merged is unmerged.

    Raises:
        AdapterError: There is no such set.
    """
    _require_set(model, name, "set_active")
    deactivate(model)
    activate(model, name)
    return model


def remove(model: nn.Module, name: str | None = None) -> nn.Module:
    """Take the set of adapters `name` out, or all: then the model has the very modules that it had before `adapt`.

    They stay frozen. A base in 4 bits is restored, rounding included.

    Raises:
        AdapterError: The model has no adapters, or no such set.
    """
    sets, root = get_sets(model), unwrap(model)
    if name is not None:
        _require_set(model, name, "remove")
    active = get_state(model)
    gone = list(sets.by_name) if name is None else [name]
    if sets.active in gone:
        deactivate(model)
        _restore_quantised(active)
    for each in gone:
        del sets.by_name[each]
    if not sets.by_name:
        put_sets(root, None)
    elif sets.active in gone:
        activate(model, next(iter(sets.by_name)))
    return model


@contextmanager
def disabled(model: nn.Module) -> Iterator[nn.Module]:
    """The base model's outputs within the ``with`` block: every branch is left out.

    Raises:
        AdapterError: The model has no adapters, or they are merged.
    """
    require_unmerged(model, "disabled")
    hosts = list(get_state(model).hosts())
    before = [host.enabled for host in hosts]
    for host in hosts:
        host.enabled = False
    try:
        yield model
    finally:
        for host, enabled in zip(hosts, before, strict=True):
            host.enabled = enabled


@torch.no_grad()
def add_weighted(model: nn.Module, weights: Mapping[str, float], name: str) -> nn.Module:
    """A new set `name`, active: the sum of the updates of other sets, each times its weight.

    It is a LoRA of the sum of their ranks, which is exact; where a set leaves a matrix alone, its update there is zero.

    Args:
        model: A model with those sets.
        weights: Name of a set to its weight.
        name: What the new set is called.

    Raises:
        AdapterError: A set is unknown, has another number of replicas, or is no update that is added to W (DoRA).
    """
    sets = get_sets(model)
    for other, weight in weights.items():
        if not is_number(weight):
            raise AdapterError(f"add_weighted: the weight {weight!r} of {other!r} is not a finite number.")
        _require_set(model, other, "add_weighted")
        if not sets.by_name[other].config.branch_type.additive:
            kind = sets.by_name[other].config.kind
            raise AdapterError(f"add_weighted: {other!r} is of kind {kind!r}, whose update is not added to W.")
    states = {other: sets.by_name[other] for other in weights}
    replicas = {state.config.replicas for state in states.values()}
    if len(replicas) != 1:
        raise AdapterError(
            f"add_weighted: give one set or more, all with the same replicas; {dict(weights)!r} have not."
        )
    factors = {n: _summed(n, weights, states) for state in states.values() for n in state.branches()}
    ranks = {matrix.replace(".", r"\."): down.shape[1] for matrix, (down, _) in factors.items()}
    active = sets.active
    deactivate(model)
    try:
        plain = AdapterConfig("lora", 1, 1.0, "alpha", replicas=replicas.pop(), rank_pattern=ranks)
        config = config_for(unwrap(model), set(factors), plain)
    finally:
        activate(model, active)
    adapt(model, config, name)
    for matrix, branch in get_state(model).branches().items():
        assert isinstance(branch, LoRA)  # noqa: S101
        down, up = factors[matrix]
        branch.A.copy_(down)
        branch.B.copy_(up)
    return model


def _summed(matrix: str, weights: Mapping[str, float], states: Mapping[str, State]) -> tuple[Tensor, Tensor]:
    downs, ups = [], []
    for name, state in states.items():
        branch = state.branches().get(matrix)
        if branch is not None:
            down, up, scale = branch.factors()
            downs.append(down)
            ups.append(weights[name] * scale * up)
    return torch.cat(downs, 1), torch.cat(ups, 2)


def _require_set(model: nn.Module, name: str, action: str) -> None:
    sets = get_sets(model)
    if name not in sets.by_name:
        raise AdapterError(f"{action}: there are no adapters {name!r} in this model; it has {', '.join(sets.by_name)}.")


def _restore_quantised(state: State) -> None:
    for site in state.sites:
        for host, module, weight in site.frozen():
            if host.quantised is not None:
                setattr(module, weight, nn.Parameter(host.frozen_weight, requires_grad=False))
