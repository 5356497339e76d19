"""Modules that stand where a frozen module stood: the same parameters under the same names, plus branches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from clipbench.adapters.config import AdapterConfig
from clipbench.adapters.dropout import new_stream, replica_mask
from clipbench.adapters.errors import AdapterError
from clipbench.adapters.input_axis import input_axis_product
from clipbench.adapters.kinds import Branch
from clipbench.adapters.nf4 import QuantisedMatrix
from clipbench.adapters.product import DroppedDoraProduct, LowRankProduct, SharedDownProduct

Blocks = Mapping[str, tuple[int, int]]
"""Which output rows of a frozen matrix each adapted target holds: ``{"q": (0, 768), "v": (1536, 2304)}``."""

Observer = Callable[["Host", Blocks, Tensor, Tensor], None]
"""What is called with host, blocks, input `[R, M, in]` and output `[R, M, out]` of every adapted product."""


class Host(nn.Module):
    """A frozen matrix with a branch on some blocks of its output rows.

    A subclass registers the frozen parameters under their old names, and says which of them `frozen_weight` is.
    """

    weight_name: ClassVar[str] = "weight"
    branches: nn.ModuleDict
    quantised: QuantisedMatrix | None

    def __init__(
        self, weight: Tensor, blocks: Blocks, config: AdapterConfig, path: str = "", shared: Any = None
    ) -> None:
        super().__init__()
        self.config, self.path = config, path
        self.blocks = dict(blocks)
        branch = config.branch_type
        self.additive = branch.additive
        self.quantised = None
        if branch.quantised and blocks:
            parts = round(len(weight) / max(stop - start for start, stop in blocks.values()))
            self.quantised = QuantisedMatrix(weight, parts, double=config.options.double)
        self.branches = nn.ModuleDict(
            {n: branch(weight[slice(*rows)], config, f"{path}.{n}", shared) for n, rows in blocks.items()}
        )
        self.streams = {name: new_stream(config.replicas) for name in blocks}
        self.enabled = True
        self.observer: Observer | None = None

    @property
    def frozen_weight(self) -> Tensor:
        """The frozen matrix `[out, in]` under the branches, as it is computed with."""
        if self.quantised is not None:
            return self.quantised.restore()
        return cast(Tensor, self._parameters[self.weight_name])

    def __getattr__(self, name: str) -> Any:
        # A quantised weight is restored where somebody asks for it by its old name (open_clip looks at its type).
        if name == self.weight_name and self._modules.get("quantised") is not None:
            return self.frozen_weight
        return super().__getattr__(name)

    def hold(self, weight: Tensor) -> None:
        """Register the frozen matrix, where it is not kept in 4 bits."""
        if self.quantised is None:
            setattr(self, self.weight_name, weight)

    def branch(self, name: str) -> Branch:
        """The adapter of target `name`."""
        return cast(Branch, self.branches[name])

    def product(self, x: Tensor, bias: Tensor | None, rows: tuple[int, int] | None = None) -> Tensor:
        """The adapted matrix times `x [R*B, ..., in]`, plus `bias [out]`: `[R*B, ..., out]`.

        The product is in the type of `x`, or autocast's; branches are cast to it, norms and gains are in fp32.

        Args:
            x: Inputs, rows grouped by replica.
            bias: Added outside: neither the norm nor the magnitude sees it.
            rows: Use these output rows of the matrix alone (`bias` is already cut).

        Raises:
            AdapterError: The rows of `x` cannot be shared out among the replicas.
        """
        cut = slice(None) if rows is None else slice(*rows)
        weight = self.frozen_weight[cut]
        offset = 0 if rows is None else rows[0]
        blocks = {n: (a - offset, b - offset) for n, (a, b) in self.blocks.items() if rows is None or rows == (a, b)}
        if not blocks or not self.enabled:
            return linear(x, weight.to(x.dtype) if self.quantised is not None else weight, bias)
        dtype = _compute_dtype(x)
        grouped = _group(x, self.config.replicas).to(dtype)
        weight = weight.to(dtype)
        trained = bias is not None and bias.requires_grad  # added outside: the product has no gradient for it
        with self._restoring_again(weight, cut):
            y = self._adapted(grouped, weight, None if bias is None or trained else bias.to(dtype), blocks)
        if bias is not None and trained:
            y = y + bias.to(dtype)
        if self.observer is not None:
            self.observer(self, blocks, grouped, y)
        return y.view(*x.shape[:-1], -1)

    def _adapted(self, x: Tensor, weight: Tensor, bias: Tensor | None, blocks: Blocks) -> Tensor:
        if weight.requires_grad:
            raise AdapterError("An adapted matrix is frozen; set requires_grad = False on it again.")
        config, rows = self.config, tuple(blocks.values())
        shared = [part for part in (self.branch(n).shared_down() for n in blocks) if part is not None]
        keep, masks = self._masks(x, blocks)
        if shared:
            vectors = [part.d.to(x.dtype) / keep for part in shared]
            ups = [part.up.mT.to(x.dtype).contiguous() for part in shared]
            return _run(SharedDownProduct, rows, x, weight, bias, shared[0].down.to(x.dtype), *vectors, *ups, *masks)
        pairs = [self.branch(n).factors() for n in blocks]
        scales = tuple(pair.scale for pair in pairs)
        factors = [pair.down.to(x.dtype) for pair in pairs]
        factors += [pair.up.mT.to(x.dtype).contiguous() for pair in pairs]
        gains = self._gains(blocks)
        if gains and config.norm_axis == "input":
            parts = list(zip(gains, factors[: len(blocks)], factors[len(blocks) :], strict=True))
            dropped, official = [x * mask / keep for mask in masks], config.dora_dropout == "official"
            return input_axis_product(rows, scales, x, weight, bias, parts, dropped, official=official)
        gain = _spread(gains, rows, len(weight)) if gains else None
        if masks and gain is not None and config.dora_dropout == "official":
            return _run(DroppedDoraProduct, rows, scales, keep, x, weight, bias, gain, *factors, *masks)
        return _run(LowRankProduct, rows, tuple(s / keep for s in scales), x, weight, bias, gain, *factors, *masks)

    def _masks(self, x: Tensor, blocks: Blocks) -> tuple[float, list[Tensor]]:
        if not self.training or self.config.dropout == 0.0:
            return 1.0, []
        keep = 1.0 - self.config.dropout
        return keep, [replica_mask(x.detach(), self.streams[name], keep) for name in blocks]

    def _gains(self, blocks: Blocks) -> list[Tensor]:
        if self.additive:
            return []
        frozen = self.frozen_weight
        return [cast(Tensor, self.branch(name).gain(frozen[slice(*self.blocks[name])])) for name in blocks]

    def _restoring_again(self, weight: Tensor, cut: slice) -> AbstractContextManager[object]:
        """For a backward pass that restores a quantised `weight` once more, instead of keeping it from the forward."""
        if self.quantised is None or torch.compiler.is_compiling():
            return nullcontext()
        pointer, shape, dtype, restore = weight.data_ptr(), weight.shape, weight.dtype, self.quantised.restore

        def pack(tensor: Tensor) -> Tensor | None:
            return None if tensor.data_ptr() == pointer and tensor.shape == shape else tensor

        def unpack(kept: Tensor | None) -> Tensor:
            return restore()[cut].to(dtype) if kept is None else kept

        return torch.autograd.graph.saved_tensors_hooks(pack, unpack)

    def refresh(self) -> None:
        """Recompute what the branches cache about the frozen matrix."""
        if self.additive:
            return
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

    def __init__(
        self, layer: nn.Linear, blocks: Blocks, config: AdapterConfig, path: str = "", shared: Any = None
    ) -> None:
        super().__init__(layer.weight, blocks, config, path, shared)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.hold(layer.weight)
        self.bias = layer.bias
        self.train(layer.training)

    def forward(self, x: Tensor) -> Tensor:
        """The adapted layer applied to `x`, rows grouped by replica."""
        return self.product(x, self.bias)


def _spread(gains: list[Tensor], rows: tuple[tuple[int, int], ...], size: int) -> Tensor:
    """Gains of all output rows `[R, size]`: one where there is no branch."""
    parts, end = [], 0
    for gain, (start, stop) in zip(gains, rows, strict=True):
        parts += [gain.new_ones(len(gain), start - end), gain] if start > end else [gain]
        end = stop
    if end < size:
        parts.append(parts[0].new_ones(len(parts[0]), size - end))
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


def _compute_dtype(x: Tensor) -> torch.dtype:
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def _group(x: Tensor, replicas: int) -> Tensor:
    """`[R*B, ..., D]` to `[R, M, D]`."""
    if x.shape[0] % replicas:
        raise AdapterError(
            f"An adapter with {replicas} replicas got {x.shape[0]} input rows, which cannot be shared out evenly. Rows "
            "are grouped by replica: give R * B rows, the first B for replica 0, the next B for replica 1, and so on."
        )
    return x.reshape(replicas, -1, x.shape[-1])


def _run(function: type[torch.autograd.Function], *args: Any) -> Tensor:
    return cast(Tensor, function.apply(*args))
