"""Test features under the linear head, kept beside the records that a figure draws (LoRA-CLIP, Figure 4)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import torch
from safetensors.torch import save
from torch import Tensor

from clipbench.engine.loop import Source

_ROWS = 256
"""Images per forward pass, over all replicas."""


@torch.no_grad()
def features_of(encode: Callable[[Tensor], Tensor], source: Source, test: Tensor) -> Tensor:
    """Features ``[R, t, D]`` (float16, CPU) of each replica's test images ``[R, t]``, as they are (no flips)."""
    replicas = len(test)
    parts = []
    for index in torch.split(test, max(_ROWS // replicas, 1), dim=1):
        features = encode(source.batch(index.flatten()))
        parts.append(features.float().view(replicas, index.shape[1], -1).half().cpu())
    return torch.cat(parts, dim=1)


def packed(before: Tensor, after: Tensor, labels: Tensor, classes: Sequence[str]) -> bytes:
    """One run's file: features ``[t, D]`` before and after training, labels ``[t]``, the class names as metadata."""
    tensors = {"before": before.contiguous(), "after": after.contiguous(), "labels": labels.to(torch.int16)}
    content: bytes = save(tensors, metadata={"classes": json.dumps(list(classes))})
    return content
