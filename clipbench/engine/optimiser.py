"""The optimiser's step: AdamW, fp16's loss scale, and the largest gradient norm where the protocol has one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from clipbench.registry import Protocol


@dataclass(frozen=True)
class _Share:
    """What one optimiser trains: ``leaves`` are the parameters, or replica ``replica``'s slices of them."""

    leaves: Sequence[nn.Parameter]
    replica: int | None
    optimizer: torch.optim.AdamW
    scaler: torch.amp.GradScaler

    def take_gradients(self, trained: Sequence[nn.Parameter]) -> None:
        """Give the slices the slices of the gradients; whole parameters have theirs."""
        if self.replica is not None:
            for leaf, parameter in zip(self.leaves, trained, strict=True):
                leaf.grad = None if parameter.grad is None else parameter.grad[self.replica]


class Stepper:
    """Trains what has ``requires_grad`` in ``model``; weight decay spares ``undecayed``.

    AdamW acts element by element, so that one optimiser serves all ``replicas``. Not so under fp16: a replica whose
    gradient overflows halves its own loss scale and skips its own step, so each has an optimiser and a scaler over its
    slices ``p[r]`` of the parameters. There the fused AdamW decides on the device whether to step; asking the host
    would make it wait for the GPU at every step.
    """

    def __init__(
        self,
        model: nn.Module,
        undecayed: Sequence[nn.Parameter],
        protocol: Protocol,
        device: torch.device,
        replicas: int = 1,
    ) -> None:
        self._trained = [p for p in model.parameters() if p.requires_grad]
        self._clip = protocol.gradient_clip
        scaled = protocol.precision == "fp16"
        spared = {id(p) for p in undecayed}
        self._shares = []
        for replica in range(replicas) if scaled and replicas > 1 else [None]:
            leaves = [p if replica is None else nn.Parameter(p.detach()[replica]) for p in self._trained]
            free = [leaf for leaf, p in zip(leaves, self._trained, strict=True) if id(p) in spared]
            optimizer = torch.optim.AdamW(
                _groups(leaves, free, protocol.weight_decay or 0.0),
                lr=protocol.lr or 0.0,
                betas=_pair(protocol.betas),
                eps=protocol.eps or 1e-8,
                fused=scaled or None,
            )
            scaler = torch.amp.GradScaler(device.type, enabled=scaled)
            self._shares.append(_Share(leaves, replica, optimizer, scaler))

    def step(self, losses: Tensor, rate: float) -> None:
        """One step down the sum of the replicas' losses ``[R]``: each replica's parameters get their own gradient."""
        for parameter in self._trained:
            parameter.grad = None
        parts = losses.chunk(len(self._shares))
        scaled = [share.scaler.scale(part.sum()) for share, part in zip(self._shares, parts, strict=True)]
        torch.autograd.backward(scaled)
        for share in self._shares:
            for group in share.optimizer.param_groups:
                group["lr"] = rate
            share.take_gradients(self._trained)
            if self._clip is not None:
                share.scaler.unscale_(share.optimizer)
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


def _groups(trained: Sequence[nn.Parameter], undecayed: Sequence[nn.Parameter], decay: float) -> list[dict[str, Any]]:
    """What is trained, with its weight decay; a model of which nothing is trained gets an optimiser of nothing."""
    spared = {id(p) for p in undecayed}
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trained if id(p) not in spared], "weight_decay": decay},
        {"params": [p for p in trained if id(p) in spared], "weight_decay": 0.0},
    ]
    return groups if spared else groups[:1]


def _pair(betas: Sequence[float] | None) -> tuple[float, float]:
    first, second = betas or (0.9, 0.999)
    return first, second
