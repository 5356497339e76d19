"""LoRA: ``W + s B A`` (Hu et al., ICLR 2022, section 4.1), with the starts of PiSSA; and LoRA+."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
