"""QLoRA (Dettmers et al., NeurIPS 2023): LoRA over a base in four bits."""

from __future__ import annotations

from typing import Any, ClassVar

from clipbench.methods.low_rank import LoRA
from clipbench.registry.field import Field


class QLoRA(LoRA):
    """LoRA; the adapted projections are kept in NF4, and every product restores them."""

    kind: ClassVar[str] = "qlora"
    fields: ClassVar[tuple[Field, ...]] = (
        Field("double_quantisation", bool, "QLoRA: the scales of the 4-bit blocks are quantised too"),
    )

    def options(self) -> dict[str, Any]:
        """Double quantisation."""
        return {"options": {"double": self.setting.protocol.need("double_quantisation")}}
