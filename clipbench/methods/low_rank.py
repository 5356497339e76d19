"""LoRA and DoRA: low-rank adapters in a frozen model (``clipbench.adapters``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, cast

from torch import nn

from clipbench.adapters import AdapterConfig, adapt, set_dropout_seeds
from clipbench.adapters.config import DoraDropout, Scaling, Towers
from clipbench.errors import UserError
from clipbench.spec import Protocol


class LoRA:
    """``W0 + s B A`` on the targeted projections."""

    replicable = True
    frozen = False
    kind: ClassVar[Literal["lora", "dora"]] = "lora"

    def attach(self, module: nn.Module, protocol: Protocol, seeds: Sequence[int]) -> None:
        """Freeze the model and put one adapter per seed into every targeted projection."""
        if protocol.rank is None or protocol.alpha is None:
            raise UserError(f"the method {self.kind} needs a rank and an alpha; set them in the row or the recipe")
        config = AdapterConfig(
            kind=self.kind,
            rank=protocol.rank,
            alpha=protocol.alpha,
            scaling=cast("Scaling", protocol.scaling or "alpha/r"),
            targets=protocol.targets or "qkvo",
            towers=cast("Towers", protocol.towers or "vision"),
            dropout=protocol.adapter_dropout or 0.0,
            detach_norm=protocol.detach_norm is not False,
            dora_dropout=cast("DoraDropout", protocol.dora_dropout or "official"),
            replicas=len(seeds),
            init_seeds=tuple(seeds),
        )
        adapt(module, config)

    def start_epoch(self, module: nn.Module, seeds: Sequence[int]) -> None:
        """Restart each replica's dropout stream."""
        set_dropout_seeds(module, seeds)


class DoRA(LoRA):
    """``m (W0 + s B A) / |W0 + s B A|``, one magnitude per output row."""

    kind: ClassVar[Literal["lora", "dora"]] = "dora"
