"""The image tower that a linear head stands on: tokens, pooling, normalisation and the identity of its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from clipbench.errors import UserError

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Backbone:
    """A pretrained image tower.

    ``tokens`` maps normalised images ``[B, 3, S, S]`` to the last block's tokens ``[B, N, D]``; ``norm`` is the norm
    that follows; the first ``prefix`` tokens are no patches (the class token). ``own_pooling`` is what the pooling
    ``backbone`` stands for: the network's own, where its protocol asks for that.
    """

    module: nn.Module
    tokens: Callable[[Tensor], Tensor]
    norm: Callable[[Tensor], Tensor]
    prefix: int
    width: int
    image_size: int
    mean: Sequence[float]
    std: Sequence[float]
    name: str
    weights: str
    weights_sha256: str
    own_pooling: str | None = None

    def features(self, images: Tensor, pooling: str) -> Tensor:
        """Pooled features ``[B, D]`` of images ``[B, 3, S, S]``; the poolings are those of LoRA-CLIP sec. II-B."""
        tokens = self.tokens(images)
        match self.own_pooling if pooling == "backbone" else pooling:
            case "patch-mean":
                return self.norm(tokens)[:, self.prefix :].mean(dim=1)
            case "token-mean":
                return self.norm(tokens).mean(dim=1)
            case "patch-mean-pre-norm":
                return tokens[:, self.prefix :].mean(dim=1)
            case "cls" if self.prefix:
                return self.norm(tokens[:, 0])
        raise UserError(f"{self.name} cannot be pooled by {pooling!r}")

    def normalisation(self, reading: str) -> tuple[Sequence[float], Sequence[float]]:
        """Channel mean and std that the protocol's word asks for."""
        return named_normalisation(reading, self.mean, self.std)


def named_normalisation(
    reading: str, mean: Sequence[float], std: Sequence[float]
) -> tuple[Sequence[float], Sequence[float]]:
    """Channel mean and std by the protocol's word; ``mean`` and ``std`` are the backbone's own."""
    named = {
        "backbone": (mean, std),
        "clip": (CLIP_MEAN, CLIP_STD),
        "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
        "half": ((0.5,) * 3, (0.5,) * 3),
    }
    return named[reading]


def weights_digest(module: nn.Module) -> str:
    """SHA-256 over names, shapes, types and bytes of every parameter and buffer that a state dict holds."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
