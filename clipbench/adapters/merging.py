"""Fold adapters into the weights, and take them out again."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from clipbench.adapters.hosts import Host
from clipbench.adapters.inject import Site, get_state, put_module, unwrap
from clipbench.errors import UserError


@torch.no_grad()
def merge(model: nn.Module, replica: int | None = None) -> nn.Module:
    """Fold the adapters into the weights, in place: the architecture and the state dict are the original's again.

    The frozen parameters themselves are kept aside, untouched, for `unmerge`. The folded weights are new parameters.

    Args:
        model: An adapted model.
        replica: Which replica to fold; may be left out when there is only one.

    Returns:
        The same object.

    Raises:
        UserError: No adapters, merged already, or no such replica.
    """
    state = get_state(model)
    if state.merged is not None:
        raise UserError(f"merge: replica {state.merged} is merged already. Call unmerge(model) first.")
    chosen = choose_replica(state.config.replicas, replica, "merge")
    root = unwrap(model)
    for site in state.sites:
        state.folded += _fold(site, chosen)
        site.original.train(site.host.training)
        put_module(root, site.place.path, site.original)
    state.merged = chosen
    return model


def unmerge(model: nn.Module) -> nn.Module:
    """Undo `merge`: the adapters are back, over the very parameters that were frozen.

    Returns:
        The same object.

    Raises:
        UserError: Nothing is merged.
    """
    state = get_state(model)
    if state.merged is None:
        raise UserError("unmerge: nothing is merged in this model.")
    root = unwrap(model)
    for module, name, frozen in state.folded:
        setattr(module, name, frozen)
    for site in state.sites:
        site.host.train(site.original.training)
        put_module(root, site.place.path, site.host)
    state.folded, state.merged = [], None
    return model


def choose_replica(replicas: int, replica: int | None, action: str) -> int:
    """The replica meant by `replica`, which may be None when there is only one.

    Raises:
        UserError: It is ambiguous or does not exist.
    """
    if replica is None and replicas == 1:
        return 0
    if replica is None or not 0 <= replica < replicas:
        raise UserError(
            f"{action}: this model has {replicas} replica{'s' * (replicas > 1)}; replica={replica} names none of them. "
            f"Say which one, from 0 to {replicas - 1}: {action}(model, ..., replica=0)."
        )
    return replica


def _fold(site: Site, replica: int) -> list[tuple[nn.Module, str, nn.Parameter]]:
    """Put folded weights into the original modules of a site; returns what they replaced."""
    folded = []
    for path, host in site.hosts().items():
        inner = path[len(site.place.path) + 1 :]
        module = site.original.get_submodule(inner)
        name = "in_proj_weight" if isinstance(module, nn.MultiheadAttention) else "weight"
        folded.append((module, name, cast(nn.Parameter, getattr(module, name))))
        setattr(module, name, nn.Parameter(_folded_weight(host, replica), requires_grad=False))
    return folded


def _folded_weight(host: Host, replica: int) -> Tensor:
    weight = host.frozen_weight.detach().clone()
    for name, rows in host.blocks.items():
        part = weight[slice(*rows)]
        part.copy_(host.branch(name).merged(part, replica))
    return weight
