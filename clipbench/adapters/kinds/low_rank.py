"""LoRA, ``W + s B A`` (Hu et al., ICLR 2022, sec. 4.1), LoRA+, PiSSA's starts, and DoRA (Liu et al., ICML 2024)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from torch import Tensor, nn

from clipbench.adapters.errors import AdapterError
from clipbench.adapters.kinds.base import Branch, Defaults, Factors

if TYPE_CHECKING:
    from clipbench.adapters.config import AdapterConfig


class LoRA(Branch):
    """Two trained factors.

    Attributes:
        A: `[R, r, in]`.
        B: `[R, out, r]`.
        A0: `[R, r, in]`, PiSSA only: the start of A, whose product with `B0` is taken off W for good.
        B0: `[R, out, r]`, likewise.
    """

    defaults: ClassVar[Defaults] = Defaults(8, 16.0, "alpha/r", 2e-4, "peft's defaults; the rate of LoRA and CLIP-LoRA")
    A: nn.Parameter
    B: nn.Parameter
    A0: Tensor
    B0: Tensor

    def build(self, weight: Tensor, dtype: torch.dtype, shared: Any) -> None:  # noqa: ARG002
        """Both factors, empty until `draw`."""
        out_features, in_features = self.shape
        down = weight.new_zeros(self.config.replicas, self.rank, in_features, dtype=dtype)
        up = weight.new_zeros(self.config.replicas, out_features, self.rank, dtype=dtype)
        self.A, self.B = nn.Parameter(down), nn.Parameter(up)
        if self.config.init == "pissa":
            if self.rank > min(self.shape):
                raise AdapterError(
                    f"init = 'pissa' at rank {self.rank}: a {out_features} x {in_features} matrix has fewer."
                )
            self.register_buffer("A0", down.clone())
            self.register_buffer("B0", up.clone())

    @classmethod
    def check(cls, config: AdapterConfig) -> None:
        """An orthogonal start halves the rank."""
        odd = [r for r in (config.rank, *(r for _, r in config.rank_pattern)) if r % 2]
        if config.init == "orthogonal" and odd:
            raise AdapterError(f"AdapterConfig: init = 'orthogonal' needs even ranks; {odd[0]} is odd.")

    @torch.no_grad()
    def draw(self, generators: Sequence[torch.Generator], weight: Tensor) -> None:
        """As `AdapterConfig.init` says."""
        if self.config.init == "pissa":
            self._draw_pissa(weight)
            return
        self.B.zero_()
        for r, generator in enumerate(generators):
            if self.config.init == "orthogonal":
                down, up = _orthogonal(self.shape, self.rank, generator)
                self.A[r].copy_(down)
                self.B[r].copy_(up)
                continue
            fresh = torch.empty(self.A.shape[1:])
            if self.config.init == "normal-over-r":
                nn.init.normal_(fresh, std=1.0 / self.rank, generator=generator)
            else:
                nn.init.kaiming_uniform_(fresh, a=math.sqrt(5), generator=generator)
            self.A[r].copy_(fresh)

    def _draw_pissa(self, weight: Tensor) -> None:
        """``s B A`` is the best rank-r approximation of W (Meng et al., NeurIPS 2024, equations 2 to 4)."""
        u, values, v = torch.linalg.svd(weight.to(self.A.dtype), full_matrices=False)
        root = (values[: self.rank] / self.scale).sqrt()
        for start, value in ((self.A, root[:, None] * v[: self.rank]), (self.B, u[:, : self.rank] * root)):
            start.copy_(value.expand_as(start))
        self.A0.copy_(self.A)
        self.B0.copy_(self.B)

    def factors(self) -> Factors:
        """A and B; for PiSSA ``B A - B0 A0`` as one product of twice the rank, so that W itself is never changed."""
        if self.config.init == "pissa":
            return Factors(torch.cat([self.A, self.A0], 1), torch.cat([self.B, -self.B0], 2), self.scale)
        return Factors(self.A, self.B, self.scale)


@dataclass(frozen=True)
class LoRAPlusOptions:
    """LoRA+'s options.

    Attributes:
        ratio: Learning rate of B over that of A.
    """

    ratio: float = 16.0

    def __post_init__(self) -> None:
        if isinstance(self.ratio, bool) or not isinstance(self.ratio, int | float) or not 0 < self.ratio < math.inf:
            raise AdapterError(f"AdapterConfig: options: ratio = {self.ratio!r} must be a number above zero.")


class LoRAPlus(LoRA):
    """LoRA whose B learns faster (Hayou et al., ICML 2024): `parameter_groups` heeds it."""

    defaults: ClassVar[Defaults] = Defaults(
        8, 16.0, "alpha/r", 5e-5, "the authors' code and peft: 5e-5, B 16 times that"
    )
    Options: ClassVar[type[Any]] = LoRAPlusOptions

    def rates(self) -> dict[str, float]:
        """B's."""
        return {"B": float(cast(LoRAPlusOptions, self.config.options).ratio)}


def _orthogonal(shape: tuple[int, int], rank: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Factors that are both drawn and whose product is zero: from the even and the odd rows of one rotation.

    Source: peft ``src/peft/tuners/lora/layer.py``, ``orthogonal_init``.
    """
    rotation = torch.linalg.qr(torch.randn(rank, rank, generator=generator))[0]
    down = torch.randn(shape[1], rank // 2, generator=generator) @ rotation[0::2] / 10.0
    up = torch.randn(shape[0], rank // 2, generator=generator) @ rotation[1::2] / 10.0
    return down.mT, up


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
