"""LoRA and DoRA for open_clip, timm, Hugging Face and any linear layer, with several seeds in one pass.

``adapt(model, AdapterConfig(kind="dora", rank=8))`` freezes the model and puts adapters into it; `merge`, `unmerge`,
`save` and `load` do what they say. Numbers agree with peft on what peft can do.
"""

from __future__ import annotations

from clipbench.adapters.config import AdapterConfig
from clipbench.adapters.files import load, save
from clipbench.adapters.inject import (
    Trainable,
    adapt,
    adapted_modules,
    dropout_state,
    remove,
    set_dropout_seeds,
    set_dropout_state,
    trainable_parameters,
)
from clipbench.adapters.merging import merge, unmerge
from clipbench.adapters.report import summary

__all__ = [
    "AdapterConfig",
    "Trainable",
    "adapt",
    "adapted_modules",
    "dropout_state",
    "load",
    "merge",
    "remove",
    "save",
    "set_dropout_seeds",
    "set_dropout_state",
    "summary",
    "trainable_parameters",
    "unmerge",
]
