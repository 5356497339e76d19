"""VeRA (Kopiczko et al., ICLR 2024): two trained vectors around random matrices that all projections share."""

from __future__ import annotations

from typing import Any, ClassVar

from clipbench.methods.low_rank import LoRA
from clipbench.registry.field import Field


class VeRA(LoRA):
    """``W0 + diag(b) B diag(d) A``; there is no alpha."""

    kind: ClassVar[str] = "vera"
    uses: ClassVar[tuple[str, ...]] = ("rank", "targets", "towers", "adapter_dropout", "also_trained")
    fields: ClassVar[tuple[Field, ...]] = (
        Field("vera_key", int, "VeRA: seed of the random matrices, which all runs share", low=0),
        Field("vera_d", float, "VeRA: start of the vector d; b starts at zero"),
    )

    def options(self) -> dict[str, Any]:
        """The key and the start."""
        need = self.setting.protocol.need
        return {"options": {"key": need("vera_key"), "d_initial": need("vera_d")}}
