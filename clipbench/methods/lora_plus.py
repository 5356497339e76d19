"""LoRA+ (Hayou et al., ICML 2024): LoRA whose B has a larger learning rate than A."""

from __future__ import annotations

from typing import Any, ClassVar

from clipbench.adapters import adapted_modules
from clipbench.methods.low_rank import LoRA
from clipbench.registry.field import Field


class LoRAPlus(LoRA):
    """LoRA; the protocol's rate is that of A."""

    kind: ClassVar[str] = "lora+"
    fields: ClassVar[tuple[Field, ...]] = (
        Field("rate_ratio", float, "LoRA+: learning rate of B over that of A", above=0.0),
    )

    def options(self) -> dict[str, Any]:
        """The ratio."""
        return {"options": {"ratio": self.setting.protocol.need("rate_ratio")}}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Every B at its rate, and the rest."""
        need = self.setting.protocol.need
        fast = {id(branch.get_parameter("B")) for branch in adapted_modules(self.adapted).values()}
        trained, decay = self.trained(), need("weight_decay")
        return [
            {"params": [p for p in trained if id(p) not in fast], "weight_decay": decay},
            {
                "params": [p for p in trained if id(p) in fast],
                "weight_decay": decay,
                "lr": need("lr") * need("rate_ratio"),
            },
        ]
