"""The image tower under a linear head: tokens, pooling, normalisation and the digest of its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from clipbench.errors import UserError

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

POOLINGS = ("patch-mean", "token-mean", "patch-mean-pre-norm", "cls")


@dataclass(frozen=True)
class ImageTower:
    """A pretrained image tower.

    Attributes:
        module: The network; what adapters go into.
        tokens: Normalised images ``[N, 3, S, S]`` to the last block's tokens ``[N, L, D]``.
        norm: The norm that follows.
        prefix: The first so many tokens are no patches (the class token).
        width: Of the features, D.
        image_size: Side of the square images that it takes.
        mean: Per channel, that the images are normalised with.
        std: Likewise.
        name: The backbone's name in the protocol.
        weights: The weights' name in the protocol.
        weights_sha256: Digest of all parameters and buffers.
        own_pooling: What the pooling ``backbone`` stands for: the network's own, where its protocol asks for that.
        pooling: The protocol's, one of ``POOLINGS``.
        note: What a record should say of the weights; often empty.
        any_size: Whether it takes images of other sizes as well.
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
    pooling: str = "backbone"
    any_size: bool = False
    note: str = ""

    def encode_image(self, images: Tensor) -> Tensor:
        """Features ``[N, D]`` of images ``[N, 3, S, S]``, pooled as the protocol says."""
        return self.features(images, self.pooling)

    def features(self, images: Tensor, pooling: str) -> Tensor:
        """Pooled features ``[N, D]`` of images ``[N, 3, S, S]``; the poolings are those of LoRA-CLIP sec. II-B."""
        pooling = self._checked(pooling)
        tokens = self.tokens(images)
        match pooling:
            case "patch-mean":
                return self.norm(tokens)[:, self.prefix :].mean(dim=1)
            case "token-mean":
                return self.norm(tokens).mean(dim=1)
            case "patch-mean-pre-norm":
                return tokens[:, self.prefix :].mean(dim=1)
            case _:
                return self.norm(tokens[:, 0])

    def pooled_by(self, pooling: str) -> ImageTower:
        """The same tower with that pooling. Raises ``UserError`` for one that it does not have."""
        return replace(self, pooling=self._checked(pooling))

    def check_size(self, side: int) -> None:
        """Raise ``UserError`` for images of a size that it does not take."""
        if not self.any_size:
            check_side(self.name, self.image_size, side)

    def image_parameters(self) -> list[nn.Parameter]:
        """Every parameter of the network."""
        return list(self.module.parameters())

    def _checked(self, pooling: str) -> str:
        found = self.own_pooling if pooling == "backbone" else pooling
        if found not in POOLINGS or (found == "cls" and not self.prefix):
            raise UserError(f"{self.name} cannot be pooled by {pooling!r}")
        return found

    def normalisation(self, word: str) -> tuple[Sequence[float], Sequence[float]]:
        """Channel mean and std that the protocol's word asks for."""
        return named_normalisation(word, self.mean, self.std)


def named_normalisation(
    word: str, mean: Sequence[float], std: Sequence[float]
) -> tuple[Sequence[float], Sequence[float]]:
    """Channel mean and std by the protocol's word; ``mean`` and ``std`` are the pretrained model's."""
    named = {
        "backbone": (mean, std),
        "clip": (CLIP_MEAN, CLIP_STD),
        "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
        "half": ((0.5,) * 3, (0.5,) * 3),
    }
    return named[word]


def check_side(name: str, takes: int, side: int) -> None:
    """Raise ``UserError`` where ``side`` is not the size that the model called ``name`` takes."""
    if side != takes:
        raise UserError(
            f"{name} takes {takes} px images, the protocol says {side}; a --backbone of another size brings its own, "
            f"other sizes are not implemented."
        )


def weights_digest(module: nn.Module) -> str:
    """SHA-256 over names, shapes, types and bytes of every parameter and buffer that a state dict holds."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
