"""Pretrained weights in half precision, as OpenAI's code loads them on a GPU."""

from __future__ import annotations

from torch import nn

HALF = "fp16-weights"
"""The word of the protocol's ``precision``."""
_STAY = (nn.LayerNorm, nn.modules.batchnorm._BatchNorm)
"""Norms compute in float32 and give back the type of their input [openai/CLIP clip/model.py:157-163]."""


def halve(module: nn.Module) -> nn.Module:
    """Round every weight but those of norms to float16, in place.

    What a block hands to the next is then float16 too, and so are the features; with float32 weights under autocast
    the products alone are. Source: ``convert_weights`` [openai/CLIP clip/model.py:375-396] and the casts of embeddings
    to the model's type [clip/model.py:343-356].
    """
    for each in module.modules():
        if isinstance(each, _STAY):
            continue
        for name, parameter in each.named_parameters(recurse=False):
            if name not in ("logit_scale", "logit_bias"):
                parameter.data = parameter.data.half()
    return module
