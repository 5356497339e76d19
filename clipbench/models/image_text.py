"""A vision-language model behind one interface: images and prompts into one space, prompts and deep tokens included.

What need not be computed is left out, exactly. Where the text transformer is causal and its feature is that of the
end-of-text token, the context ends with the longest prompt, and prompts of very different length run in a few groups.
The last block of either tower works for the one token that is read. And of many prompts that are trained on, the
activations of some are computed twice, so that memory stays bounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from clipbench.errors import UserError
from clipbench.models.clip import load_model
from clipbench.models.image_tower import CLIP_MEAN, CLIP_STD, check_side, named_normalisation, weights_digest
from clipbench.models.model_config import check_text, model_config, side
from clipbench.models.shared import copy_of
from clipbench.models.tokenisers import Tokenise, tokeniser
from clipbench.models.towers import Deep, PromptGroup, Prompts, TextTower, VisionTower, vision_tower
from clipbench.models.transfer import sent
from clipbench.models.weights.files import check_features
from clipbench.models.weights.sources import Sources

_NO_FILES = Sources()
_TOKENS_KEPT = 8192
"""Prompt tokens per replica whose activations are kept for the backward pass; of more, they are computed twice."""
_TOKENS_AT_ONCE = 2048
"""Prompt tokens per replica that are computed again together: so much comes on top of what is kept."""


@dataclass(frozen=True)
class ImageText:
    """A pretrained vision-language model, in one piece.

    Attributes:
        module: The whole network; what adapters go into.
        vision: Its image tower.
        text: Its text tower.
        tokenise: Texts to tokens; raises ``UserError`` for one that does not fit.
        width: Of the joint space, D.
        image_size: Side of the square images that it takes.
        mean: Per channel, that the images are normalised with.
        std: Likewise.
        name: The backbone's name in the protocol.
        weights: The weights' name in the protocol.
        weights_sha256: Digest of all parameters and buffers.
        note: What a record should say of the weights, such as an activation that nothing states; often empty.
    """

    module: nn.Module
    vision: VisionTower
    text: TextTower
    tokenise: Tokenise
    width: int
    image_size: int
    mean: Sequence[float]
    std: Sequence[float]
    name: str
    weights: str
    weights_sha256: str
    note: str = ""

    @property
    def image_width(self) -> int:
        """Width of the image tower's tokens, Dv; 0 where it has no transformer that deep tokens could enter."""
        return self.vision.width

    @property
    def text_width(self) -> int:
        """Width of the text tower's tokens, Dt."""
        return self.text.width

    @property
    def image_layers(self) -> int:
        """Blocks of the image tower; 0 where it has no transformer that deep tokens could enter."""
        return self.vision.layers

    @property
    def text_layers(self) -> int:
        """Blocks of the text tower."""
        return self.text.layers

    @property
    def logit_scale(self) -> Tensor:
        """The checkpoint's factor on cosines, a scalar without gradient: the exponential of what is stored."""
        model: Any = self.module
        scale: Tensor = model.logit_scale.detach().float().exp().squeeze()
        return scale

    @property
    def logit_bias(self) -> Tensor | None:
        """What SigLIP's loss adds to the scaled cosine, a scalar without gradient; None for other models."""
        bias: Any = getattr(self.module, "logit_bias", None)
        return None if bias is None else bias.detach().float().squeeze()

    def encode_image(self, images: Tensor, deep: Deep | None = None) -> Tensor:
        """Features ``[N, D]`` of normalised images ``[N, 3, S, S]``, not normalised.

        Args:
            images: One batch; the rows of several seeds follow each other.
            deep: Tokens ``[N, T, Dv]`` by layer (MaPLe's and PromptSRC's form). Those of layer 0 are appended behind
                class and patch tokens, in front of the first norm; those of a later layer take the place of the last T
                tokens in front of that block. With K * N rows of tokens, image ``i`` meets rows ``i * K`` to
                ``i * K + K - 1``, and the result is ``[K * N, D]``.

        Raises:
            UserError: The tower has no blocks that deep tokens could enter.
        """
        if deep and not self.image_layers:
            raise UserError(f"{self.name} has no image tower that prompts could be put into: it is no plain ViT.")
        return self.vision.encode(images, deep)

    def prompts(self, texts: Sequence[str]) -> Prompts:
        """The texts as tokens. Raises ``UserError`` for one that the model's context does not hold."""
        return self.tokenise(texts)

    def embed(self, prompts: Prompts) -> Tensor:
        """Token embeddings ``[C, L, Dt]``, without positions: what prompt learners replace a part of."""
        return self.text.embed(sent(prompts.ids, self.text.device))

    def encode_text(
        self, prompts: Prompts, embedded: Tensor | None = None, deep: Deep | None = None, replicas: int = 1
    ) -> Tensor:
        """Features ``[R, C, D]`` of all prompts under each of R replicas, in the prompts' order, not normalised.

        Args:
            prompts: What :meth:`prompts` gave; it says which tokens matter, and where features are read.
            embedded: Embeddings in the place of the tokens': ``[R, C, L, Dt]``, or ``[C, L, Dt]`` for all replicas.
            deep: Tokens ``[R, T, Dt]`` by layer, from 1 on; they take the place of tokens 1 to T in front of that
                block, in every prompt of their replica.
            replicas: R. The towers see rows that follow each other seed by seed, ``[R * n]``.
        """
        parts = []
        for piece, again in _pieces(prompts.groups):
            states = self._embedded(piece, embedded, replicas)
            ids = sent(piece.tokens, self.text.device).repeat(replicas, 1)
            ends = sent(piece.ends, self.text.device).repeat(replicas)
            features: Tensor = (
                checkpoint(self.text.encode, states, ids, ends, deep, use_reentrant=False)
                if again and torch.is_grad_enabled()
                else self.text.encode(states, ids, ends, deep)
            )
            parts.append(features.view(replicas, len(ends) // replicas, -1))
        order = torch.cat([group.classes for group in prompts.groups])
        return torch.cat(parts, dim=1)[:, sent(torch.argsort(order), self.text.device)]

    def check_size(self, side: int) -> None:
        """Raise ``UserError`` for images of a size that it does not take."""
        check_side(self.name, self.image_size, side)

    def image_parameters(self) -> list[nn.Parameter]:
        """Every parameter that an image's feature depends on."""
        return list(self.vision.module.parameters())

    def text_parameters(self) -> list[nn.Parameter]:
        """Every parameter that a prompt's feature depends on."""
        return self.text.parameters()

    def normalisation(self, word: str) -> tuple[Sequence[float], Sequence[float]]:
        """Channel mean and std that the protocol's word asks for."""
        return named_normalisation(word, self.mean, self.std)

    def _embedded(self, piece: PromptGroup, embedded: Tensor | None, replicas: int) -> Tensor:
        """Embeddings ``[R * c, L, Dt]`` of a piece of a group."""
        if embedded is None:
            return self.text.embed(sent(piece.tokens, self.text.device)).repeat(replicas, 1, 1)
        rows = embedded[..., sent(piece.classes, embedded.device), : piece.tokens.shape[1], :]
        return rows.flatten(0, 1) if rows.ndim == 4 else rows.repeat(replicas, 1, 1)


def _pieces(groups: Sequence[PromptGroup]) -> Iterator[tuple[PromptGroup, bool]]:
    """Piece after piece of the groups, and whether its activations are computed again.

    What is kept comes first: dropout finds its old masks for what is computed again by counting back from the last.
    """
    left = _TOKENS_KEPT
    for group in groups:
        length, count = group.tokens.shape[1], len(group.tokens)
        kept = min(left // length, count)
        left = left - kept * length if kept == count else 0
        if kept:
            yield group.part(0, kept), False
        size = max(_TOKENS_AT_ONCE // length, 1)
        for start in range(kept, count, size):
            yield group.part(start, start + size), True


def load_image_text(backbone: str, weights: str, sources: Sources = _NO_FILES) -> ImageText:
    """A vision-language model with both towers, on the CPU in float32, without dropout.

    ``weights`` as for :func:`clipbench.models.clip.load_backbone`. Raises ``UserError`` for what cannot be loaded, and
    for a model whose text tower takes no prompts, before anything is built. Jobs of one process that ask for the same
    weights share the reading and hashing of the file.
    """
    key = ("image and text", backbone, weights, sources.state())
    loaded: ImageText = copy_of(key, lambda: _loaded(backbone, weights, sources))
    return loaded


def _loaded(backbone: str, weights: str, sources: Sources) -> ImageText:
    config = model_config(backbone, sources.config)
    check_text(backbone, config)
    folder = sources.weights.parent if sources.weights else None
    tokenise = tokeniser(backbone, config["text_cfg"], folder)
    model = load_model(backbone, weights, sources).float().eval()
    text = TextTower(getattr(model, "text", model))
    loaded = ImageText(
        module=model,
        vision=vision_tower(model.visual),
        text=text,
        tokenise=tokenise,
        width=text.output_width,
        image_size=side(config),
        mean=tuple(getattr(model.visual, "image_mean", None) or CLIP_MEAN),
        std=tuple(getattr(model.visual, "image_std", None) or CLIP_STD),
        name=backbone,
        weights=weights,
        weights_sha256=weights_digest(model),
        note=getattr(model, "note", ""),
    )
    if sources.weights is not None:
        with torch.no_grad():
            image = loaded.encode_image(torch.zeros(1, 3, loaded.image_size, loaded.image_size))
            check_features({"image": image, "text": loaded.encode_text(loaded.prompts(["a photo."]))}, sources.weights)
    return loaded
