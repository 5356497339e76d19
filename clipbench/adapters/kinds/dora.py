"""DoRA: ``m (W + s B A) / |W + s B A|`` (Liu et al., ICML 2024), and the norm that it divides by."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from clipbench.adapters.kinds.base import Defaults
from clipbench.adapters.kinds.lora import LoRA

_ROWS_PER_CHUNK = 128
"""Rows of a frozen weight that are widened at once, so that no second d x d copy of it appears."""


class DoRA(LoRA):
    """LoRA with trained magnitudes.

    Attributes:
        magnitude: `[R, out]`; starts as the norms of the rows of the frozen matrix. With ``norm_axis`` input it is
            `[R, in]`, the norms of the columns.
        weight_sq: `[out]` or `[in]`; those norms squared. Not saved: it follows from the frozen matrix.
    """

    defaults: ClassVar[Defaults] = Defaults(8, 16.0, "alpha/r", 2e-4, "peft's defaults; NVlabs/DoRA's rate")
    additive: ClassVar[bool] = False
    magnitude: nn.Parameter
    weight_sq: Tensor

    def build(self, weight: Tensor, dtype: torch.dtype, shared: Any) -> None:
        """LoRA's factors, and the magnitudes."""
        super().build(weight, dtype, shared)
        self.register_buffer("weight_sq", squared_norms(self._along_norm(weight)), persistent=False)
        self.magnitude = nn.Parameter(self._norm(weight).detach().clone())

    def refresh(self, weight: Tensor) -> None:
        """The cached norms."""
        self.weight_sq = squared_norms(self._along_norm(weight))

    def gain(self, weight: Tensor) -> Tensor:
        """``m / |W + s B A|`` per output row, `[R, out]`, or input column, `[R, in]`, in fp32 or wider."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.config.detach_norm):
            norm = self._norm(weight)
        return self.magnitude.to(norm.dtype) / norm

    def _norm(self, weight: Tensor) -> Tensor:
        """``|W + s B A|`` per output row, `[R, out]`, or input column, `[R, in]`, from r-sized products alone.

        |w + s b A|^2 = |w|^2 + 2 s b.(A w) + s^2 b (A A^T) b^T. Below eps |w|^2 the sum is nothing but rounding, and
        may be negative: there the norm is held at its resolution. Columns are the rows of W^T + s A^T B^T.
        """
        wide = self.weight_sq.dtype
        down, up, s = self.factors()
        with _without_autocast(weight.device.type):
            A, B = down.to(wide), up.to(wide)
            if self._of_inputs:
                A, B = B.mT, A.mT
            cross = _project(self._along_norm(weight), A)
            squared = self.weight_sq + s * (B * (2.0 * cross + s * (B @ (A @ A.mT)))).sum(-1)
            info = torch.finfo(wide)
            return squared.maximum((info.eps * self.weight_sq).clamp_min(info.tiny)).sqrt()

    def dense(self, weight: Tensor, replica: int) -> Tensor:
        """The scaled sum, in fp64."""
        dense = super().dense(weight, replica)
        along = self._along_norm(dense)
        norm = torch.linalg.vector_norm(along, dim=1).clamp_min(torch.finfo(torch.float32).tiny ** 0.5)
        along *= (self.magnitude[replica].double() / norm)[:, None]
        return dense

    @property
    def _of_inputs(self) -> bool:
        return self.config.norm_axis == "input"

    def _along_norm(self, weight: Tensor) -> Tensor:
        """A view of the matrix `[out, in]` whose rows are what a norm is taken of."""
        return weight.mT if self._of_inputs else weight


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
