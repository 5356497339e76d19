"""DyLoRA (Valipour et al., EACL 2023): each step trains one rank, drawn at random, and every rank can be used."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from clipbench.adapters import before_step, set_rank
from clipbench.methods.base import Setting
from clipbench.methods.low_rank import LOW_RANK, LoRA
from clipbench.registry.field import Field


class DyLoRA(LoRA):
    """LoRA cut to its first rows.

    Attributes:
        step: Steps so far, which the draw of the next rank depends on.
    """

    step: Tensor
    kind: ClassVar[str] = "dylora"
    uses: ClassVar[tuple[str, ...]] = LOW_RANK
    fields: ClassVar[tuple[Field, ...]] = (
        Field("rank_gradient", str, "DyLoRA: which rows of those in use are trained", words=("last", "all")),
        Field("test_rank", int, "DyLoRA: rank that is tested, up to the adapters' own", low=1, high=4096),
    )

    def setup(self, setting: Setting) -> None:
        """LoRA's; the rank that is tested is in use until the first step."""
        super().setup(setting)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        set_rank(self.adapted, setting.protocol.need("test_rank"))

    def options(self) -> dict[str, Any]:
        """Which rows have a gradient."""
        return {"options": {"frozen": self.setting.protocol.need("rank_gradient") == "last"}}

    def image_features(self, images: Tensor) -> Tensor:
        """At the rank of this step while training, at that of the test else; the text tower follows."""
        if self.training:
            before_step(self.adapted, self.setting.seeds, int(self.step))
        else:
            set_rank(self.adapted, self.setting.protocol.need("test_rank"))
        return super().image_features(images)

    def after_step(self) -> None:
        """Count."""
        self.step += 1
