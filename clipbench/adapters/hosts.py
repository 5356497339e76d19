"""Modules that stand where a frozen module stood: the same parameters under the same names, plus branches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from clipbench.adapters.config import AdapterConfig
from clipbench.adapters.dropout import new_stream, replica_mask
from clipbench.adapters.input_axis import input_axis_product
from clipbench.adapters.lowrank import LowRank
from clipbench.adapters.product import DroppedDoraProduct, LowRankProduct
from clipbench.errors import UserError

Blocks = Mapping[str, tuple[int, int]]
"""Which output rows of a frozen matrix each adapted target holds: ``{"q": (0, 768), "v": (1536, 2304)}``."""


class Host(nn.Module):
    """A frozen matrix with a branch on some blocks of its output rows.

    A subclass registers the frozen parameters under their old names, and says which of them `frozen_weight` is.
    """

    branches: nn.ModuleDict

    def __init__(self, weight: Tensor, blocks: Blocks, config: AdapterConfig) -> None:
        super().__init__()
        self.config = config
        self.blocks = dict(blocks)
        self.branches = nn.ModuleDict({name: LowRank(weight[slice(*rows)], config) for name, rows in blocks.items()})
        self.streams = {name: new_stream(config.replicas) for name in blocks}

    @property
    def frozen_weight(self) -> Tensor:
        """The frozen matrix `[out, in]` under the branches."""
        raise NotImplementedError

    def branch(self, name: str) -> LowRank:
        """The adapter of target `name`."""
        return cast(LowRank, self.branches[name])

    def product(self, x: Tensor, bias: Tensor | None, rows: tuple[int, int] | None = None) -> Tensor:
        """The adapted matrix times `x [R*B, ..., in]`, plus `bias [out]`: `[R*B, ..., out]`.

        Args:
            x: Inputs, rows grouped by replica.
            bias: Added outside: neither the norm nor the magnitude sees it.
            rows: Use these output rows of the matrix alone (`bias` is already cut).

        Raises:
            UserError: The rows of `x` cannot be shared out among the replicas.
        """
        weight = self.frozen_weight if rows is None else self.frozen_weight[slice(*rows)]
        offset = 0 if rows is None else rows[0]
        blocks = {n: (a - offset, b - offset) for n, (a, b) in self.blocks.items() if rows is None or rows == (a, b)}
        if not blocks:
            return linear(x, weight, bias)
        dtype = _compute_dtype(x)
        grouped = _group(x, self.config.replicas).to(dtype)
        y = self._adapted(grouped, weight.to(dtype), None if bias is None else bias.to(dtype), blocks)
        return y.view(*x.shape[:-1], -1)

    def _adapted(self, x: Tensor, weight: Tensor, bias: Tensor | None, blocks: Blocks) -> Tensor:
        if weight.requires_grad or (bias is not None and bias.requires_grad):
            raise UserError("An adapted matrix and its bias are frozen; set requires_grad = False on them again.")
        config, rows = self.config, tuple(blocks.values())
        factors = [self.branch(n).A.to(x.dtype) for n in blocks]
        factors += [self.branch(n).B.mT.to(x.dtype).contiguous() for n in blocks]
        keep, masks = self._masks(x, blocks)
        if config.kind == "dora" and config.norm_axis == "input":
            gains = [self.branch(name).gain(self.frozen_weight[slice(*self.blocks[name])]) for name in blocks]
            parts = list(zip(gains, factors[: len(blocks)], factors[len(blocks) :], strict=True))
            dropped, official = [x * mask / keep for mask in masks], config.dora_dropout == "official"
            return input_axis_product(rows, config.scale, x, weight, bias, parts, dropped, official=official)
        gain = self._gain(weight, blocks) if config.kind == "dora" else None
        if masks and gain is not None and config.dora_dropout == "official":
            return _run(DroppedDoraProduct, rows, config.scale, keep, x, weight, bias, gain, *factors, *masks)
        return _run(LowRankProduct, rows, config.scale / keep, x, weight, bias, gain, *factors, *masks)

    def _masks(self, x: Tensor, blocks: Blocks) -> tuple[float, list[Tensor]]:
        if not self.training or self.config.dropout == 0.0:
            return 1.0, []
        keep = 1.0 - self.config.dropout
        return keep, [replica_mask(x.detach(), self.streams[name], keep) for name in blocks]

    def _gain(self, weight: Tensor, blocks: Blocks) -> Tensor:
        """Gains of all output rows of `weight`, `[R, out]`: one where there is no branch."""
        parts, end = [], 0
        frozen = self.frozen_weight
        for name, (start, stop) in blocks.items():
            gain = self.branch(name).gain(frozen[slice(*self.blocks[name])])
            parts += [gain.new_ones(len(gain), start - end), gain] if start > end else [gain]
            end = stop
        if end < len(weight):
            parts.append(parts[0].new_ones(len(parts[0]), len(weight) - end))
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)

    def refresh(self) -> None:
        """Recompute what the branches cache about the frozen matrix."""
        for name, rows in self.blocks.items():
            self.branch(name).refresh(self.frozen_weight.detach()[slice(*rows)])

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.refresh()  # a cast to half must not leave norms of half precision behind
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.refresh()


class AdaptedLinear(Host):
    """Stands for an ``nn.Linear``: `[R*B, ..., in]` to `[R*B, ..., out]`."""

    def __init__(self, layer: nn.Linear, blocks: Blocks, config: AdapterConfig) -> None:
        super().__init__(layer.weight, blocks, config)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.weight, self.bias = layer.weight, layer.bias
        self.train(layer.training)

    @property
    def frozen_weight(self) -> Tensor:
        """The layer's weight."""
        return self.weight

    def forward(self, x: Tensor) -> Tensor:
        """The adapted layer applied to `x`, rows grouped by replica."""
        return self.product(x, self.bias)


def _compute_dtype(x: Tensor) -> torch.dtype:
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def _group(x: Tensor, replicas: int) -> Tensor:
    """`[R*B, ..., D]` to `[R, M, D]`."""
    if x.shape[0] % replicas:
        raise UserError(
            f"An adapter with {replicas} replicas got {x.shape[0]} input rows, which cannot be shared out evenly. Rows "
            "are grouped by replica: give R * B rows, the first B for replica 0, the next B for replica 1, and so on."
        )
    return x.reshape(replicas, -1, x.shape[-1])


def _run(function: type[torch.autograd.Function], *args: Any) -> Tensor:
    return cast(Tensor, function.apply(*args))
