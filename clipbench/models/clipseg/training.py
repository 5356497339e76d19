"""What is trained in CLIPSeg: adapters and whole parts beside them, or all that a gradient reaches."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from clipbench.adapters import AdapterConfig, adapt
from clipbench.adapters.config import DoraDropout, Scaling, Towers
from clipbench.errors import UserError
from clipbench.spec import Protocol

_TARGETS = {"qkv+mlp": ("q", "k", "v", "fc1", "fc2")}
"""Words of the protocol that are none of the adapters' own."""


def attach(clipseg: nn.Module, protocol: Protocol, seeds: Sequence[int]) -> None:
    """Free or put in what the protocol trains in a ``CLIPSegForImageSegmentation``, one replica per seed.

    Raises ``UserError`` for a method that is none of ``full``, ``lora``, ``dora``, and for what it lacks.
    """
    if protocol.method == "full":
        free(clipseg, encoder_gradient=bool(protocol.encoder_gradient), replicas=len(seeds))
    elif protocol.method in ("lora", "dora"):
        adapt(clipseg, adapter_config(protocol, seeds))
        train_beside(clipseg, protocol.also_trained, replicas=len(seeds))
    else:
        raise UserError(f"segmentation has no method {protocol.method!r}; there are full, lora and dora.")


def free(clipseg: nn.Module, *, encoder_gradient: bool, replicas: int = 1) -> None:
    """Full fine-tuning: everything, or the decoder alone where the gradient is stopped in front of the towers.

    Stopped is what medvlsm's code does, though it unfreezes all: an optimiser skips what has no gradient, weight decay
    included. With the gradient, the blocks and projections that the decoder never reads still do not move, but count.
    """
    if replicas != 1:
        raise UserError("full tuning trains one seed at a time; pass --replicas 1")
    clipseg.requires_grad_(encoder_gradient)
    cast(Any, clipseg).decoder.requires_grad_(True)


def adapter_config(protocol: Protocol, seeds: Sequence[int]) -> AdapterConfig:
    """The adapters that the protocol asks for. Raises ``UserError`` where it has no rank or alpha."""
    if protocol.rank is None or protocol.alpha is None:
        raise UserError(f"the method {protocol.method} needs a rank and an alpha; set them in the row or the recipe")
    return AdapterConfig(
        kind=cast("Literal['lora', 'dora']", protocol.method),
        rank=protocol.rank,
        alpha=protocol.alpha,
        scaling=cast("Scaling", protocol.scaling or "alpha/r"),
        targets=_TARGETS.get(protocol.targets or "", protocol.targets or "qkvo"),
        towers=cast("Towers", protocol.towers or "both"),
        dropout=protocol.adapter_dropout or 0.0,
        detach_norm=protocol.detach_norm is not False,
        dora_dropout=cast("DoraDropout", protocol.dora_dropout or "official"),
        replicas=len(seeds),
        init_seeds=tuple(seeds),
    )


def train_beside(clipseg: nn.Module, part: str | None, *, replicas: int) -> None:
    """Free a part beside the adapters: ``up-convolution`` (CLIP-DoRA sec. 4.4), or nothing.

    "The transposed convolution responsible for the upscale" is the refined decoder's whole head: a 3 x 3 convolution
    and two transposed ones. Raises ``UserError`` for another part.
    """
    if part is None:
        return
    if part != "up-convolution":
        raise UserError(f"also_trained = {part!r}: beside adapters only the up-convolution can be trained in CLIPSeg.")
    decoder = cast(Any, clipseg).decoder
    decoder.transposed_convolution.requires_grad_(True)
    if replicas > 1:
        decoder.transposed_convolution = PerReplica(decoder.transposed_convolution, replicas)


class PerReplica(nn.Module):
    """R copies of a module, each for its own rows: ``[R*B, ...]`` to ``[R*B, ...]``."""

    def __init__(self, module: nn.Module, replicas: int) -> None:
        super().__init__()
        self.copies = nn.ModuleList(copy.deepcopy(module) for _ in range(replicas))

    def forward(self, x: Tensor) -> Tensor:
        """Rows grouped by replica, each group through its copy."""
        parts = x.view(len(self.copies), -1, *x.shape[1:])
        return torch.cat([module(part) for module, part in zip(self.copies, parts, strict=True)])
