"""The kinds of adapters; LoRA and DoRA share a file. A new kind is a subclass of `Branch` and a line in `KINDS`."""

from __future__ import annotations

from clipbench.adapters.kinds.adalora import AdaLoRA
from clipbench.adapters.kinds.base import Branch
from clipbench.adapters.kinds.dylora import DyLoRA
from clipbench.adapters.kinds.low_rank import DoRA, LoRA, LoRAPlus
from clipbench.adapters.kinds.qlora import QLoRA
from clipbench.adapters.kinds.vera import VeRA

KINDS: dict[str, type[Branch]] = {
    "lora": LoRA,
    "dora": DoRA,
    "lora+": LoRAPlus,
    "vera": VeRA,
    "dylora": DyLoRA,
    "adalora": AdaLoRA,
    "qlora": QLoRA,
}

__all__ = ["KINDS", "AdaLoRA", "Branch", "DoRA", "DyLoRA", "LoRA", "LoRAPlus", "QLoRA", "VeRA"]
