"""The trained parameters of one adapted matrix, and the norm that DoRA divides by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import cast

import torch
from torch import Tensor, nn

from clipbench.adapters.config import AdapterConfig

_ROWS_PER_CHUNK = 128
"""Rows of a frozen weight that are widened at once, so that no second d x d copy of it appears."""


class LowRank(nn.Module):
    """Factors, magnitude and dropout stream of R adapters on one frozen matrix `[out, in]`.

    Attributes:
        A: `[R, r, in]`, Kaiming-uniform with a = sqrt(5), which is U(-1/sqrt(in), 1/sqrt(in)); or normal.
        B: `[R, out, r]`, zeros.
        magnitude: `[R, out]`, DoRA only; starts as the norms of the rows of the frozen matrix. With ``norm_axis`` input
            it is `[R, in]`, the norms of the columns.
        weight_sq: `[out]` or `[in]`, DoRA only; those norms squared. Not saved: it follows from the frozen matrix.
    """

    A: nn.Parameter
    B: nn.Parameter
    magnitude: nn.Parameter | None
    weight_sq: Tensor

    def __init__(self, weight: Tensor, config: AdapterConfig) -> None:
        super().__init__()
        out_features, in_features = weight.shape
        wide = torch.promote_types(weight.dtype, torch.float32)
        self.config = config
        self.A = nn.Parameter(weight.new_zeros(config.replicas, config.rank, in_features, dtype=wide))
        self.B = nn.Parameter(weight.new_zeros(config.replicas, out_features, config.rank, dtype=wide))
        self.magnitude = None
        if config.kind == "dora":
            self.register_buffer("weight_sq", squared_norms(self._along_norm(weight)), persistent=False)
            self.magnitude = nn.Parameter(self._norm(weight).detach().clone())

    @torch.no_grad()
    def draw(self, generators: Sequence[torch.Generator]) -> None:
        """Draw A anew, replica r from ``generators[r]`` (on the CPU, so that every device starts alike); B is zero."""
        self.B.zero_()
        for part, generator in zip(self.A, generators, strict=True):
            fresh = torch.empty(part.shape)
            if self.config.init == "normal-over-r":
                nn.init.normal_(fresh, std=1.0 / self.config.rank, generator=generator)
            else:
                nn.init.kaiming_uniform_(fresh, a=math.sqrt(5), generator=generator)
            part.copy_(fresh)

    def refresh(self, weight: Tensor) -> None:
        """Recompute what is cached about the frozen matrix `[out, in]`, after it was cast or loaded."""
        if self.config.kind == "dora":
            self.weight_sq = squared_norms(self._along_norm(weight))

    def gain(self, weight: Tensor) -> Tensor:
        """DoRA's ``m / |W + s B A|`` per output row, `[R, out]`, or input column, `[R, in]`, in fp32 or wider."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.config.detach_norm):
            norm = self._norm(weight)
        return cast(Tensor, self.magnitude).to(norm.dtype) / norm

    def _norm(self, weight: Tensor) -> Tensor:
        """``|W + s B A|`` per output row, `[R, out]`, or input column, `[R, in]`, from r-sized products alone.

        |w + s b A|^2 = |w|^2 + 2 s b.(A w) + s^2 b (A A^T) b^T. Below eps |w|^2 the sum is nothing but rounding, and
        may be negative: there the norm is held at its resolution. Columns are the rows of W^T + s A^T B^T.
        """
        s, wide = self.config.scale, self.weight_sq.dtype
        with _without_autocast(weight.device.type):
            A, B = self.A.to(wide), self.B.to(wide)
            if self._of_inputs:
                A, B = B.mT, A.mT
            cross = _project(self._along_norm(weight), A)
            squared = self.weight_sq + s * (B * (2.0 * cross + s * (B @ (A @ A.mT)))).sum(-1)
            info = torch.finfo(wide)
            return squared.maximum((info.eps * self.weight_sq).clamp_min(info.tiny)).sqrt()

    @torch.no_grad()
    def merged(self, weight: Tensor, replica: int) -> Tensor:
        """The matrix `[out, in]` that replica `replica` stands for, in the type of `weight`; summed in fp64."""
        dense = weight.double() + self.config.scale * (self.B[replica].double() @ self.A[replica].double())
        if self.magnitude is not None:
            along = self._along_norm(dense)
            norm = torch.linalg.vector_norm(along, dim=1).clamp_min(torch.finfo(torch.float32).tiny ** 0.5)
            along *= (self.magnitude[replica].double() / norm)[:, None]
        return dense.to(weight.dtype)

    @property
    def _of_inputs(self) -> bool:
        return self.config.norm_axis == "input"

    def _along_norm(self, weight: Tensor) -> Tensor:
        """A view of the matrix `[out, in]` whose rows are what a norm is taken of."""
        return weight.mT if self._of_inputs else weight

    def extra_repr(self) -> str:
        """What `print` shows."""
        replicas, out_features, rank = self.B.shape
        return f"{self.config.kind}, in={self.A.shape[2]}, out={out_features}, rank={rank}, replicas={replicas}"


def _without_autocast(device_type: str) -> AbstractContextManager[object]:
    # The meta device, where parameters are counted, knows no autocast.
    return nullcontext() if device_type == "meta" else torch.autocast(device_type, enabled=False)


@torch.no_grad()
def squared_norms(weight: Tensor) -> Tensor:
    """Squared norms of the rows of `weight [out, in]`, summed in fp64, in fp32 or wider."""
    wide = torch.promote_types(weight.dtype, torch.float32)
    chunks = [chunk.double().square().sum(1) for chunk in torch.split(weight, _ROWS_PER_CHUNK)]
    return torch.cat(chunks).clamp_max(torch.finfo(wide).max).to(wide)


def _project(weight: Tensor, down: Tensor) -> Tensor:
    """``W A^T`` for every replica: `[out, in]` and `[R, r, in]` to `[R, out, r]`, in the type of `down`."""
    flat = down.flatten(0, 1)
    if weight.dtype == down.dtype:
        product = weight @ flat.mT
    else:
        product = torch.cat([chunk.to(down.dtype) @ flat.mT for chunk in torch.split(weight, _ROWS_PER_CHUNK)])
    return product.view(len(weight), *down.shape[:2]).movedim(1, 0)
