"""The optimiser's step: AdamW, Adam or SGD by group, fp16's loss scale per seed, and the largest gradient norm."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from clipbench.models.half import HALF
from clipbench.registry import Protocol

Combine = Callable[[Sequence[Sequence[Tensor]]], Sequence[Tensor]]
"""One gradient per trained parameter from the gradients of each of several losses."""


@dataclass(frozen=True)
class _Share:
    """What one optimiser trains: ``leaves`` are the parameters, or run ``run``'s slices of them."""

    leaves: Sequence[nn.Parameter]
    run: int | None
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler

    def take_gradients(self, trained: Sequence[nn.Parameter]) -> None:
        """Give the slices the slices of the gradients; whole parameters have theirs."""
        if self.run is not None:
            for leaf, parameter in zip(self.leaves, trained, strict=True):
                leaf.grad = None if parameter.grad is None else parameter.grad[self.run]


class Optimiser:
    """Trains the parameters of ``groups``, each a mapping with ``params``, ``weight_decay`` and perhaps its own ``lr``.

    AdamW, Adam and SGD act element by element, so that one optimiser serves all ``runs`` of a pass. Not so under fp16:
    a run whose gradient overflows halves its own loss scale and skips its own step, so each has an optimiser and a
    scaler over its slices ``p[r]`` of the parameters. There the fused optimiser decides on the device whether to step;
    asking the host would make it wait for the GPU at every step.
    """

    def __init__(
        self,
        groups: Sequence[Mapping[str, Any]],
        protocol: Protocol,
        device: torch.device,
        runs: int = 1,
        combine: Combine | None = None,
    ) -> None:
        groups = [group for group in groups if group["params"]]
        self._trained: list[nn.Parameter] = [p for group in groups for p in group["params"]]
        self._lr = float(protocol.need("lr")) if self._trained else 0.0
        self._clip, self._bound, self._combine = protocol.gradient_clip, protocol.gradient_bound, combine
        scaled = protocol.need("precision") in ("fp16", HALF)
        self._shares = []
        for run in range(runs) if scaled and runs > 1 else [None]:
            leaves = [p if run is None else nn.Parameter(p.detach()[run]) for p in self._trained]
            made = _optimiser(_over(groups, leaves), protocol, fused=scaled)
            self._shares.append(_Share(leaves, run, made, torch.amp.GradScaler(device.type, enabled=scaled)))

    def step(self, losses: Tensor, rate: float) -> None:
        """One step at ``rate`` down the sum of the runs' losses ``[R]``, or along what ``combine`` makes of ``[K, R]``.

        Each run's parameters get the gradient of their own loss alone.
        """
        for parameter in self._trained:
            parameter.grad = None
        self._backward(losses)
        for share in self._shares:
            for group in share.optimizer.param_groups:
                group["lr"] = rate * group["factor"]
            share.take_gradients(self._trained)
            if self._clip is not None or self._bound is not None:
                share.scaler.unscale_(share.optimizer)
            if self._bound is not None:
                nn.utils.clip_grad_value_(share.leaves, self._bound)
            if self._clip is not None:
                nn.utils.clip_grad_norm_(share.leaves, self._clip)
            share.scaler.step(share.optimizer)
            share.scaler.update()

    def state(self) -> dict[str, Any]:
        """All that changes beside the parameters."""
        optimizers = [share.optimizer.state_dict() for share in self._shares]
        return {"optimizers": optimizers, "scalers": [share.scaler.state_dict() for share in self._shares]}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a ``state``."""
        for share, optimizer, scaler in zip(self._shares, state["optimizers"], state["scalers"], strict=True):
            share.optimizer.load_state_dict(optimizer)
            share.scaler.load_state_dict(scaler)

    def _backward(self, losses: Tensor) -> None:
        if self._combine is None:
            torch.autograd.backward(self._scaled(losses))
            return
        found = []
        for which, loss in enumerate(losses):
            kept = which + 1 < len(losses)
            some = torch.autograd.grad(self._scaled(loss), self._trained, retain_graph=kept, allow_unused=True)
            found.append([torch.zeros_like(p) if g is None else g for p, g in zip(self._trained, some, strict=True)])
        for parameter, gradient in zip(self._trained, self._combine(found), strict=True):
            parameter.grad = gradient

    def _scaled(self, losses: Tensor) -> list[Tensor]:
        parts = losses.chunk(len(self._shares))
        return [share.scaler.scale(part.sum()) for share, part in zip(self._shares, parts, strict=True)]


def _over(groups: Sequence[Mapping[str, Any]], leaves: Sequence[nn.Parameter]) -> list[dict[str, Any]]:
    """The groups with ``leaves`` in the place of their parameters."""
    left = iter(leaves)
    return [{**group, "params": [next(left) for _ in group["params"]]} for group in groups]


def _optimiser(groups: Sequence[dict[str, Any]], protocol: Protocol, *, fused: bool) -> torch.optim.Optimizer:
    if not groups:
        return torch.optim.SGD([{"params": [], "factor": 1.0}], lr=0.0)
    lr = float(protocol.need("lr"))
    for group in groups:
        group["factor"] = group.pop("lr", lr) / lr if lr else 1.0
    name = protocol.need("optimiser")
    if name == "sgd":
        return torch.optim.SGD(
            groups,
            lr=lr,
            momentum=protocol.need("momentum"),
            dampening=protocol.need("dampening"),
            nesterov=protocol.need("nesterov"),
            fused=fused or None,
        )
    kind: type[torch.optim.Adam] = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[name]
    first, second = protocol.need("betas")
    return kind(groups, lr=lr, betas=(first, second), eps=protocol.need("eps"), fused=fused or None)
