"""LoRA and DoRA: low-rank adapters in a frozen model (``clipbench.adapters``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import nn

from clipbench.adapters import AdapterConfig, adapt, set_dropout_seeds
from clipbench.methods.base import Method, Setting, pretrained
from clipbench.models.clipseg.training import train_beside

LOW_RANK = ("rank", "alpha", "scaling", "targets", "towers", "adapter_init", "adapter_dropout", "also_trained")
"""Shared protocol fields of a low-rank product."""
_SHARED = {
    "rank": "rank", "alpha": "alpha", "scaling": "scaling", "targets": "targets", "towers": "towers",
    "adapter_init": "init", "adapter_dropout": "dropout",
}  # fmt: skip
"""Protocol fields, and what `AdapterConfig` calls them."""
_DORA = ("dora_dropout", "norm_axis", "detach_norm", "decay_magnitude")


class LoRA(Method):
    """``W0 + s B A`` on the targeted projections."""

    seed_axis: ClassVar[bool] = True
    uses: ClassVar[tuple[str, ...]] = LOW_RANK
    kind: ClassVar[str] = "lora"
    """Its name in `clipbench.adapters.KINDS`."""

    def setup(self, setting: Setting) -> None:
        """Freeze the model, put one adapter per seed into every targeted projection, free what is trained beside."""
        super().setup(setting)
        model, runs = pretrained(setting.model), len(setting.seeds)
        adapt(model, self.config())
        train_beside(model, setting.protocol.also_trained, replicas=runs)

    def config(self) -> AdapterConfig:
        """The adapters that the protocol asks for, one per seed."""
        setting = self.setting
        need, runs = setting.protocol.need, len(setting.seeds)
        return AdapterConfig(
            kind=self.kind,
            replicas=runs,
            init_seeds=tuple(setting.stream("adapter", run).initial_seed() for run in range(runs)),
            **{_SHARED[name]: need(name) for name in self.uses if name in _SHARED},
            **self.options(),
        )

    def options(self) -> dict[str, Any]:
        """What this kind of adapter has beyond a low-rank product."""
        return {}

    @property
    def adapted(self) -> nn.Module:
        """The module that the adapters are in."""
        return pretrained(self.setting.model)

    def start_epoch(self, epoch: int, seeds: Sequence[int]) -> None:  # noqa: ARG002
        """Restart each seed's dropout stream."""
        set_dropout_seeds(pretrained(self.setting.model), seeds)


class DoRA(LoRA):
    """``m (W0 + s B A) / |W0 + s B A|``, one magnitude per output row or, as a choice, per input column."""

    uses: ClassVar[tuple[str, ...]] = (*LOW_RANK, *_DORA)
    kind: ClassVar[str] = "dora"

    def options(self) -> dict[str, Any]:
        """The norm that the magnitude multiplies, and where dropout acts."""
        need = self.setting.protocol.need
        return {name: need(name) for name in ("detach_norm", "dora_dropout", "norm_axis")}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Weight decay spares the magnitudes, where the protocol says so."""
        if self.setting.protocol.need("decay_magnitude"):
            return super().parameter_groups()
        model = pretrained(self.setting.model)
        spared = {id(p) for name, p in model.named_parameters() if name.endswith(".magnitude")}
        trained, decay = self.trained(), self.setting.protocol.need("weight_decay")
        return [
            {"params": [p for p in trained if id(p) not in spared], "weight_decay": decay},
            {"params": [p for p in trained if id(p) in spared], "weight_decay": 0.0},
        ]
