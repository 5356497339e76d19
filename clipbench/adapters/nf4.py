"""Four-bit NormalFloat with double quantisation (Dettmers et al., NeurIPS 2023, section 3), in plain torch.

Blocks of 64 consecutive entries (row by row) are divided by their largest absolute value and rounded to the nearest of
16 levels; two codes share a byte, the earlier in the high bits. Double: the blocks' scales, less their mean, are in
turn divided by the largest of 256 of them and rounded to the nearest of 256 levels. 4.127 bits a weight. The format is
that of bitsandbytes, whose kernel restores the weights where it is installed (the extra ``quantised``).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import cast

import torch
from torch import Tensor, nn

from clipbench.adapters.errors import AdapterError

BLOCK, SCALES_PER_BLOCK = 64, 256

LEVELS = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
"""Quantiles of a normal distribution, cut to [-1, 1], with an exact zero (the paper's appendix E)."""


@cache
def dynamic_levels() -> Tensor:
    """The 256 levels of the signed dynamic map `[256]`: seven decades, each halving the number of fractions.

    Source: Dettmers et al., "8-bit optimizers via block-wise quantization", ICLR 2022, section 1.3.
    """
    positive = []
    for exponent in range(7):
        edges = torch.linspace(0.1, 1.0, 2**exponent + 1)
        positive += (10.0 ** (exponent - 6) * ((edges[:-1] + edges[1:]) / 2)).tolist()
    return torch.tensor(sorted([*positive, *(-value for value in positive), 0.0, 1.0]))


def nearest(values: Tensor, levels: Tensor) -> Tensor:
    """Index of the nearest of the sorted `levels`, in uint8."""
    return torch.bucketize(values, (levels[:-1] + levels[1:]) / 2).to(torch.uint8)


def _blockwise(values: Tensor, size: int, levels: Tensor) -> tuple[Tensor, Tensor]:
    """Codes `[n]` of `values [n]`, and the largest absolute value of each block of `size`."""
    padded = nn.functional.pad(values, (0, -len(values) % size)).view(-1, size)
    largest = padded.abs().amax(1)
    scaled = padded * (1.0 / largest.clamp_min(1e-38))[:, None]
    return nearest(scaled.clamp(-1, 1), levels).flatten()[: len(values)], largest


class NF4(nn.Module):
    """A frozen matrix in 4 bits.

    Attributes:
        packed: `[ceil(n / 2)]` uint8, two codes each.
        scales: Largest absolute value of each block: uint8 codes if `double`, else the bits of fp32.
        scale_blocks: With `double`, bits of the largest |scale - offset| of each 256 blocks.
        offset: With `double`, bits of the mean of the scales.

    Floating point numbers are kept as int32 bits, because ``model.half()`` would round them.
    """

    packed: Tensor
    scales: Tensor
    scale_blocks: Tensor
    offset: Tensor

    def __init__(self, weight: Tensor, *, double: bool = True) -> None:
        super().__init__()
        if not weight.is_meta and not weight.isfinite().all():
            raise AdapterError("A weight that is not finite cannot be kept in 4 bits.")
        self.shape, self.dtype, self.nested = weight.shape, weight.dtype, double
        flat = weight.detach().flatten().float()
        codes, scales = _blockwise(flat, BLOCK, torch.tensor(LEVELS, device=weight.device))
        codes = nn.functional.pad(codes, (0, len(codes) % 2))
        self.register_buffer("packed", (codes[::2] << 4) | codes[1::2])
        if not double:
            self.register_buffer("scales", scales.view(torch.int32))
            return
        offset = scales.mean()
        codes, largest = _blockwise(scales - offset, SCALES_PER_BLOCK, dynamic_levels().to(weight.device))
        self.register_buffer("scales", codes)
        self.register_buffer("scale_blocks", largest.view(torch.int32))
        self.register_buffer("offset", offset.view(torch.int32))

    def block_scales(self) -> Tensor:
        """The scales as they are used `[blocks]`, fp32."""
        if not self.nested:
            return self.scales.view(torch.float32)
        levels = dynamic_levels().to(self.scales.device)[self.scales.int()]
        largest = self.scale_blocks.view(torch.float32).repeat_interleave(SCALES_PER_BLOCK)[: len(levels)]
        return levels * largest + self.offset.view(torch.float32)

    def restore(self) -> Tensor:
        """The matrix `[out, in]` that is computed with, in the type that it had."""
        if _has_kernel() and not self.packed.is_meta:
            import bitsandbytes.functional  # noqa: F401  (registers the operator)

            operator = torch.ops.bitsandbytes.dequantize_4bit.default
            arguments = (self.packed[:, None], self.block_scales(), BLOCK, "nf4", self.shape, self.dtype)
            return cast(Tensor, operator(*arguments))
        values = _pairs(self.packed.device)[self.packed.int()].view(-1)[: self.shape.numel()]
        padded = nn.functional.pad(values, (0, -len(values) % BLOCK)).view(-1, BLOCK)
        restored = (padded * self.block_scales()[:, None]).view(-1)[: len(values)]
        return restored.view(self.shape).to(self.dtype)


class QuantisedMatrix(nn.Module):
    """A frozen matrix in 4 bits, its parts one by one: fused q, k and v as they would be in matrices of their own."""

    def __init__(self, weight: Tensor, parts: int, *, double: bool) -> None:
        super().__init__()
        self.parts = nn.ModuleList(NF4(part, double=double) for part in weight.chunk(parts))

    def restore(self) -> Tensor:
        """The matrix `[out, in]`."""
        parts: Sequence[Tensor] = [cast(NF4, part).restore() for part in self.parts]
        return parts[0] if len(parts) == 1 else torch.cat(list(parts))


@cache
def _has_kernel() -> bool:
    return find_spec("bitsandbytes") is not None


@cache
def _pairs(device: torch.device) -> Tensor:
    """The two levels of every byte `[256, 2]`."""
    levels, codes = torch.tensor(LEVELS), torch.arange(256)
    return torch.stack([levels[codes >> 4], levels[codes & 15]], 1).to(device)
