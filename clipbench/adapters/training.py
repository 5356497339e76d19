"""What training needs to know of a kind: its rates, its schedule, its terms in the loss, the rank of a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from clipbench.adapters.errors import AdapterError
from clipbench.adapters.kinds import AdaLoRA, DyLoRA
from clipbench.adapters.kinds.adalora import AdaLoRAOptions, prune
from clipbench.adapters.kinds.dylora import ranks_of_step
from clipbench.adapters.state import get_state


def parameter_groups(model: nn.Module, lr: float | None = None, **options: Any) -> list[dict[str, Any]]:
    """Groups for an optimiser: everything that is trained, what a kind gives a rate of its own in a group of its own.

    Args:
        model: An adapted model.
        lr: Learning rate; None for that of the kind's source.
        **options: Put into every group (``weight_decay=0.01``).

    Raises:
        AdapterError: The model has no adapters.
    """
    state = get_state(model)
    rate = state.config.branch_type.defaults.learning_rate if lr is None else lr
    factor = {id(getattr(b, name)): times for b in state.branches().values() for name, times in b.rates().items()}
    groups: dict[float, list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            groups.setdefault(factor.get(id(parameter), 1.0), []).append(parameter)
    return [{"params": parameters, "lr": rate * times, **options} for times, parameters in groups.items()]


def regularisation(model: nn.Module) -> Tensor:
    """What a kind adds to the loss of each replica `[R]`: AdaLoRA's orthogonality, weighted; zero for the others.

    ``weight * mean over all A and B of |A A^T - I|`` (Frobenius; for B of ``B^T B``).

    Raises:
        AdapterError: The model has no adapters.
    """
    state = get_state(model)
    branches = [branch for branch in state.branches().values() if isinstance(branch, AdaLoRA)]
    if not branches:
        some = next(iter(state.branches().values()))
        return next(some.parameters()).new_zeros(state.config.replicas)
    weight = cast(AdaLoRAOptions, state.config.options).orthogonality
    return weight * torch.stack([branch.orthogonality() for branch in branches]).sum(0) / (2 * len(branches))


def after_step(model: nn.Module) -> None:
    """What a kind does after the optimiser's step and before gradients are cleared: AdaLoRA prunes ranks.

    Raises:
        AdapterError: The model has no adapters, or AdaLoRA's schedule lacks its total number of steps or a gradient.
    """
    branches = [branch for branch in get_state(model).branches().values() if isinstance(branch, AdaLoRA)]
    if branches:
        prune(branches)


def before_step(model: nn.Module, seeds: Sequence[int], step: int) -> None:
    """What a kind does before a training step: DyLoRA draws the rank that is trained, one for all matrices.

    Args:
        model: An adapted model.
        seeds: One for each replica.
        step: Number of the step. The draw depends on seed and step alone, so that training goes on exactly.

    Raises:
        AdapterError: The model has no adapters.
    """
    state = get_state(model)
    if isinstance(next(iter(state.branches().values())), DyLoRA):
        set_rank(model, ranks_of_step(seeds, step, state.config.rank))


def set_rank(model: nn.Module, rank: int | Sequence[int]) -> nn.Module:
    """Use DyLoRA at `rank`, or at one for each replica.

    Raises:
        AdapterError: The adapters are of another kind, or the rank is not from 1 to r.
    """
    state = get_state(model)
    ranks = [rank] * state.config.replicas if isinstance(rank, int) else list(rank)
    for branch in state.branches().values():
        if not isinstance(branch, DyLoRA):
            raise AdapterError(
                f"set_rank: only kind = 'dylora' can be used at several ranks; this is {state.config.kind}."
            )
        branch.set_active(ranks)
    return model
