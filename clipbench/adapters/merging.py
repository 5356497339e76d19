"""Fold adapters into the weights, and take them out again."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from clipbench.adapters.errors import AdapterError
from clipbench.adapters.hosts import Host
from clipbench.adapters.state import get_state, unwrap


@torch.no_grad()
def merge(model: nn.Module, replica: int | None = None) -> nn.Module:
    """Fold the active adapters into the weights, in place: architecture and state dict are the original's again.

    The frozen parameters themselves are kept aside, untouched, for `unmerge`. The folded weights are new parameters, in
    the type of the base (a base in 4 bits is restored first).

    Args:
        model: An adapted model.
        replica: Which replica to fold; may be left out when there is only one.

    Returns:
        The same object.

    Raises:
        AdapterError: No adapters, merged already, no such replica, or a sum that the type of the weights cannot hold.
    """
    state = get_state(model)
    if state.merged is not None:
        raise AdapterError(f"merge: replica {state.merged} is merged already. Call unmerge(model) first.")
    chosen = choose_replica(state.config.replicas, replica, "merge")
    root = unwrap(model)
    frozen = [(host, module, name) for site in state.sites for host, module, name in site.frozen()]
    folded = [_folded_weight(host, chosen) for host, *_ in frozen]
    for (_, module, name), weight in zip(frozen, folded, strict=True):
        state.folded.append((module, name, cast(nn.Parameter, getattr(module, name))))
        setattr(module, name, nn.Parameter(weight, requires_grad=False))
    for site in state.sites:
        site.put_original(root)
    state.merged = chosen
    return model


def unmerge(model: nn.Module) -> nn.Module:
    """Undo `merge`: the adapters are back, over the very parameters that were frozen.

    Returns:
        The same object.

    Raises:
        AdapterError: Nothing is merged.
    """
    state = get_state(model)
    if state.merged is None:
        raise AdapterError("unmerge: nothing is merged in this model.")
    root = unwrap(model)
    for module, name, frozen in state.folded:
        setattr(module, name, frozen)
    for site in state.sites:
        site.put_host(root)
    state.folded, state.merged = [], None
    return model


def require_unmerged(model: nn.Module, action: str) -> None:
    """Refuse `action` on a merged model.

    Raises:
        AdapterError: A replica is folded into the weights.
    """
    state = get_state(model)
    if state.merged is not None:
        raise AdapterError(
            f"{action}: replica {state.merged} of this model's adapters is merged into the weights, so that nothing "
            "would change. Call unmerge(model) first."
        )


def choose_replica(replicas: int, replica: int | None, action: str) -> int:
    """The replica meant by `replica`, which may be None when there is only one.

    Raises:
        AdapterError: It is ambiguous or does not exist.
    """
    if replica is None and replicas == 1:
        return 0
    if replica is None or not 0 <= replica < replicas:
        raise AdapterError(
            f"{action}: this model has {replicas} replica{'s' * (replicas > 1)}; replica={replica} names none of them. "
            f"Say which one, from 0 to {replicas - 1}: {action}(model, ..., replica=0)."
        )
    return replica


def _folded_weight(host: Host, replica: int) -> Tensor:
    weight = host.frozen_weight.detach().clone()
    sound = bool(weight.isfinite().all())
    for name, rows in host.blocks.items():
        part = weight[slice(*rows)]
        part.copy_(host.branch(name).merged(part, replica))
    if sound and not weight.isfinite().all():
        raise AdapterError(
            f"merge: the merged weight of {host.path} is not finite in {weight.dtype}: the adapter holds NaN or "
            "infinite numbers, or the sum lies beyond that type. Merge in fp32 (model.float()), or train again."
        )
    return weight
