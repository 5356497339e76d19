"""DyLoRA: one LoRA that can be used at every rank from 1 to r (Valipour et al., EACL 2023).

Source: huawei-noah/Efficient-NLP ``DyLoRA/loralib/DyLoRA.py`` 46-62 (cut and scale), ``layers.py`` 98-185, and
``examples/NLU/examples/text-classification/run_glue.py`` 542-552 (the rank of a step).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from torch import Tensor

from clipbench.adapters.errors import AdapterError
from clipbench.adapters.kinds.base import Defaults, Factors
from clipbench.adapters.kinds.low_rank import LoRA

if TYPE_CHECKING:
    from clipbench.adapters.config import AdapterConfig


@dataclass(frozen=True)
class DyLoRAOptions:
    """DyLoRA's options.

    Attributes:
        frozen: In training only the last row in use has a gradient (what the authors train with); else all in use.
    """

    frozen: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.frozen, bool):
            raise AdapterError(f"AdapterConfig: options: frozen = {self.frozen!r} must be True or False.")


class DyLoRA(LoRA):
    """LoRA cut to its first rows, with alpha over the rank in use as its scale.

    Attributes:
        active: `[R]`, the rank in use, from 1 to r; r until `set_active` says otherwise.
    """

    defaults: ClassVar[Defaults] = Defaults(8, 16.0, "alpha/r", 5e-4, "DyLoRA's scripts for RoBERTa")
    Options: ClassVar[type[Any]] = DyLoRAOptions
    training_state: ClassVar[tuple[str, ...]] = ("active",)
    active: Tensor

    @classmethod
    def check(cls, config: AdapterConfig) -> None:
        """Every rank must be usable in every matrix."""
        super().check(config)
        if config.rank_pattern or config.init == "pissa":
            field = "rank_pattern" if config.rank_pattern else "init = 'pissa'"
            raise AdapterError(
                f"AdapterConfig: {field} is not for kind = 'dylora', where all ranks up to one are in use."
            )

    def build(self, weight: Tensor, dtype: torch.dtype, shared: Any) -> None:
        """LoRA's factors, at full rank."""
        super().build(weight, dtype, shared)
        active = torch.full((self.config.replicas,), self.rank, dtype=torch.int64, device=weight.device)
        self.register_buffer("active", active)

    def set_active(self, ranks: Sequence[int]) -> None:
        """Use these ranks, one for each replica.

        Raises:
            AdapterError: One is not from 1 to r, or there are more or fewer than replicas.
        """
        if len(ranks) != len(self.active) or not all(1 <= rank <= self.rank for rank in ranks):
            raise AdapterError(
                f"DyLoRA: ranks {list(ranks)} for {len(self.active)} replicas; give one from 1 to {self.rank} for each."
            )
        self.active.copy_(torch.tensor(list(ranks)))

    def factors(self) -> Factors:
        """A and B, rows of A beyond the rank in use zero, the scale in A; the gradient as `DyLoRAOptions` says."""
        index = torch.arange(self.rank, device=self.A.device)
        rank = self.active[:, None]
        A: Tensor = self.A
        B: Tensor = self.B
        if self.training and cast(DyLoRAOptions, self.config.options).frozen:
            last = index == rank - 1
            A = torch.where(last[..., None], A, A.detach())
            B = torch.where(last[:, None], B, B.detach())
        relative = (self.rank / rank) ** {"alpha/r": 1.0, "alpha/sqrt(r)": 0.5, "alpha": 0.0}[self.config.scaling]
        scale = self.scale * relative
        return Factors(A * torch.where(index < rank, scale, 0.0).to(A.dtype)[..., None], B, 1.0)


def ranks_of_step(seeds: Iterable[int], step: int, rank: int) -> list[int]:
    """The rank that each replica trains at `step`, uniform on 1 to `rank`; nothing else decides it."""
    digests = (hashlib.blake2b(f"{seed}/rank/{step}".encode(), digest_size=8).digest() for seed in seeds)
    return [1 + int.from_bytes(digest, "little") % rank for digest in digests]
