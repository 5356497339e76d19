"""Low-rank adapters for open_clip, timm, Hugging Face and any linear layer, with several seeds in one pass.

``adapt(model, AdapterConfig(kind="dora", rank=8))`` freezes the model and puts adapters into it; `merge`, `unmerge`,
`save` and `load` do what they say. Numbers agree with peft on what peft can do. Needs torch, numpy and safetensors.
"""

from __future__ import annotations

from clipbench.adapters.config import AdapterConfig
from clipbench.adapters.errors import AdapterError
from clipbench.adapters.files import load, save
from clipbench.adapters.hub import Card, from_pretrained, push_to_hub
from clipbench.adapters.inject import (
    Trainable,
    adapt,
    adapted_modules,
    dropout_state,
    set_dropout_seeds,
    set_dropout_state,
    trainable_parameters,
)
from clipbench.adapters.kinds import KINDS
from clipbench.adapters.laplace import Laplace
from clipbench.adapters.merging import merge, unmerge
from clipbench.adapters.report import summary
from clipbench.adapters.sets import add_weighted, disabled, names, remove, set_active
from clipbench.adapters.training import after_step, before_step, parameter_groups, regularisation, set_rank

__all__ = [
    "KINDS",
    "AdapterConfig",
    "AdapterError",
    "Card",
    "Laplace",
    "Trainable",
    "adapt",
    "adapted_modules",
    "add_weighted",
    "after_step",
    "before_step",
    "disabled",
    "dropout_state",
    "from_pretrained",
    "load",
    "merge",
    "names",
    "parameter_groups",
    "push_to_hub",
    "regularisation",
    "remove",
    "save",
    "set_active",
    "set_dropout_seeds",
    "set_dropout_state",
    "set_rank",
    "summary",
    "trainable_parameters",
    "unmerge",
]
