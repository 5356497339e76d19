"""LoRA and DoRA: low-rank adapters in a frozen model (``clipbench.adapters``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, cast

from torch import nn

from clipbench.adapters import AdapterConfig, adapt, set_dropout_seeds
from clipbench.adapters.config import DoraDropout, Init, NormAxis, Scaling, Towers
from clipbench.errors import UserError
from clipbench.methods.base import Method
from clipbench.models.clipseg.training import train_beside
from clipbench.registry import Protocol

_LOW_RANK = ("rank", "alpha", "scaling", "targets", "towers", "adapter_init", "adapter_dropout")
_DORA = ("dora_dropout", "norm_axis", "detach_norm", "decay_magnitude")


class LoRA(Method):
    """``W0 + s B A`` on the targeted projections."""

    replicable: ClassVar[bool] = True
    reads: ClassVar[tuple[str, ...]] = _LOW_RANK
    kind: ClassVar[Literal["lora", "dora"]] = "lora"

    def attach(self, model: nn.Module, protocol: Protocol, seeds: Sequence[int]) -> None:
        """Freeze the model, put one adapter per seed into every targeted projection, free what is trained beside."""
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
            norm_axis=cast("NormAxis", protocol.norm_axis or "output"),
            init=cast("Init", protocol.adapter_init or "kaiming-uniform-sqrt5"),
            replicas=len(seeds),
            init_seeds=tuple(seeds),
        )
        adapt(model, config)
        train_beside(model, protocol.also_trained, replicas=len(seeds))

    def start_epoch(self, model: nn.Module, seeds: Sequence[int]) -> None:
        """Restart each replica's dropout stream."""
        set_dropout_seeds(model, seeds)


class DoRA(LoRA):
    """``m (W0 + s B A) / |W0 + s B A|``, one magnitude per output row or, in another reading, per input column."""

    reads: ClassVar[tuple[str, ...]] = (*_LOW_RANK, *_DORA)
    kind: ClassVar[Literal["lora", "dora"]] = "dora"

    def undecayed(self, model: nn.Module, protocol: Protocol) -> list[nn.Parameter]:
        """The magnitudes, where the protocol says so."""
        if protocol.decay_magnitude is not False:
            return []
        return [p for name, p in model.named_parameters() if name.endswith(".magnitude")]
