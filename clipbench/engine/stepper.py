"""The optimiser's step: AdamW, fp16's loss scale, and the largest gradient norm where the protocol has one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from clipbench.spec import Protocol


class Stepper:
    """Trains what has ``requires_grad`` in ``model``; weight decay spares ``undecayed``."""

    def __init__(
        self, model: nn.Module, undecayed: Sequence[nn.Parameter], protocol: Protocol, device: torch.device
    ) -> None:
        self._trained = [p for p in model.parameters() if p.requires_grad]
        self._clip = protocol.gradient_clip
        self.optimizer = torch.optim.AdamW(
            _groups(self._trained, undecayed, protocol.weight_decay or 0.0),
            lr=protocol.lr or 0.0,
            betas=_pair(protocol.betas),
            eps=protocol.eps or 1e-8,
        )
        self._scaler = torch.amp.GradScaler(device.type, enabled=protocol.precision == "fp16")

    def step(self, losses: Tensor, rate: float) -> None:
        """One step down the sum of the replicas' losses ``[R]``: each replica's parameters get their own gradient."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(self._scaler.scale(losses.sum()))
        if self._clip is not None:
            self._scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self._trained, self._clip)
        self._scaler.step(self.optimizer)
        self._scaler.update()

    def state(self) -> dict[str, Any]:
        """All that changes beside the parameters."""
        return {"optimizer": self.optimizer.state_dict(), "scaler": self._scaler.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a ``state``."""
        self.optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])


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
