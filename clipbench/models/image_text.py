"""A CLIP with both towers: images and prompts into one space, with the text tower cut to what a prompt needs.

The cuts are exact. The context ends with the longest prompt: the text transformer is causal and its feature is read at
the end-of-text token, so that nothing behind it matters. Prompts of very different length run in a few groups. And the
last block of either tower works for the one token that is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from clipbench.errors import UserError
from clipbench.models.backbone import CLIP_MEAN, CLIP_STD, named_normalisation, weights_digest
from clipbench.models.clip import load_model
from clipbench.models.exact_cuts import encode_one
from clipbench.models.prompts import PromptGroup, grouped
from clipbench.models.transfer import sent
from clipbench.models.weights.sources import Sources

_NO_FILES = Sources()
_TEXT_PARTS = ("token_embedding", "positional_embedding", "transformer", "ln_final", "text_projection")
_TOKENS_KEPT = 8192
"""Prompt tokens per replica whose activations are kept for the backward pass; of more, they are computed twice."""
_TOKENS_AT_ONCE = 2048
"""Prompt tokens per replica that are computed again together: so much comes on top of what is kept."""


@dataclass(frozen=True)
class DualEncoder:
    """A CLIP of open_clip's, in one piece: ``module`` is what methods adapt."""

    module: nn.Module
    text: nn.Module
    tokenizer: Callable[[Sequence[str]], Tensor]
    width: int
    image_size: int
    mean: Sequence[float]
    std: Sequence[float]
    name: str
    weights: str
    weights_sha256: str

    def encode_image(self, images: Tensor) -> Tensor:
        """Features ``[B, E]`` of normalised images ``[B, 3, S, S]``, not normalised."""
        visual: Any = self.module.visual
        if not _reads_one_token(visual):
            whole: Tensor = visual(images)
            return whole
        pooled = visual.ln_post(encode_one(visual.transformer, visual._embeds(images), None, None))
        features: Tensor = pooled if visual.proj is None else pooled @ visual.proj
        return features

    def text_parameters(self) -> list[nn.Parameter]:
        """Every parameter that a prompt's feature depends on."""
        parts: list[Any] = [getattr(self.text, name) for name in _TEXT_PARTS]
        modules = [part for part in parts if isinstance(part, nn.Module)]
        plain = [part for part in parts if isinstance(part, nn.Parameter)]
        return [*plain, *(p for module in modules for p in module.parameters())]

    def prompt_groups(self, prompts: Sequence[str]) -> list[PromptGroup]:
        """The prompts as tokens, in groups of like length. Raises ``UserError`` for one that the context cuts off."""
        tokens = self.tokenizer(prompts)
        ends = tokens.argmax(dim=-1)
        # A prompt that is too long loses its words but keeps the end-of-text token in the last place.
        for prompt, end in zip(prompts, ends.tolist(), strict=True):
            if end == tokens.shape[1] - 1:
                raise UserError(
                    f"the prompt {prompt[:80]!r} does not fit into the {tokens.shape[1]} tokens of {self.name}; "
                    f"shorten the template or the class name."
                )
        return grouped(tokens, ends)

    def encode_groups(self, groups: Sequence[PromptGroup], replicas: int = 1) -> Tensor:
        """Features ``[R, C, E]`` of every prompt under every replica's adapters, in the prompts' order."""
        device = cast("Tensor", self.text.positional_embedding).device
        parts = []
        for tokens, ends, again in _pieces(groups):
            embedded, at = self.embed(sent(tokens, device)).repeat(replicas, 1, 1), sent(ends, device).repeat(replicas)
            features: Tensor = (
                checkpoint(self.encode_embedded, embedded, at, use_reentrant=False)
                if again and torch.is_grad_enabled()
                else self.encode_embedded(embedded, at)
            )
            parts.append(features.view(replicas, len(tokens), -1))
        order = torch.cat([group.classes for group in groups])
        return torch.cat(parts, dim=1)[:, sent(torch.argsort(order), device)]

    def embed(self, tokens: Tensor) -> Tensor:
        """Token and position embeddings ``[C, L, D]`` of tokens ``[C, L]``: what prompt learners replace a part of."""
        tower: Any = self.text
        embedded: Tensor = tower.token_embedding(tokens) + tower.positional_embedding[: tokens.shape[1]]
        return embedded

    def encode_embedded(self, embedded: Tensor, ends: Tensor) -> Tensor:
        """Features ``[N, E]`` of embedded prompts ``[N, L, D]``, read at ``ends`` ``[N]``."""
        tower: Any = self.text
        length = embedded.shape[1]
        mask = None if tower.attn_mask is None else tower.attn_mask[:length, :length]
        # The last norm acts token by token: it is enough to take it where the feature is read.
        pooled = tower.ln_final(encode_one(tower.transformer, embedded, ends, mask))
        projection = tower.text_projection
        features: Tensor = projection(pooled) if isinstance(projection, nn.Module) else pooled @ projection
        return features

    def normalisation(self, reading: str) -> tuple[Sequence[float], Sequence[float]]:
        """Channel mean and std that the protocol's word asks for."""
        return named_normalisation(reading, self.mean, self.std)


def _pieces(groups: Sequence[PromptGroup]) -> Iterator[tuple[Tensor, Tensor, bool]]:
    """Tokens ``[c, L]`` and ends ``[c]`` of piece after piece, and whether its activations are computed again.

    What is kept comes first: dropout finds its old masks for what is computed again by counting back from the last.
    """
    left = _TOKENS_KEPT
    for group in groups:
        length = group.tokens.shape[1]
        kept = min(left // length, len(group.tokens))
        left = left - kept * length if kept == len(group.tokens) else 0
        if kept:
            yield group.tokens[:kept], group.ends[:kept], False
        size = max(_TOKENS_AT_ONCE // length, 1)
        for tokens, ends in zip(
            torch.split(group.tokens[kept:], size), torch.split(group.ends[kept:], size), strict=True
        ):
            if len(tokens):
                yield tokens, ends, True


def _reads_one_token(visual: Any) -> bool:
    """Whether the image's feature is its class token's, in open_clip's own vision transformer."""
    from open_clip.transformer import VisionTransformer

    plain = type(visual) is VisionTransformer and visual.attn_pool is None and not visual.output_tokens
    return plain and visual.pool_type == "tok" and not visual._forward_hooks and not visual._forward_pre_hooks


def load_dual(backbone: str, weights: str, sources: Sources = _NO_FILES) -> DualEncoder:
    """Both towers of an open_clip CLIP, on the CPU in float32, without dropout.

    ``weights`` as for :func:`clipbench.models.clip.load_backbone`. Raises ``UserError`` for what cannot be loaded, and
    for a model whose text feature is not read at the end-of-text token of a causal transformer.
    """
    model = load_model(backbone, weights, sources)
    visual, text = model.visual, getattr(model, "text", model)
    _check(backbone, text, getattr(text, "text_pool_type", getattr(text, "pool_type", None)))
    size = visual.image_size[0] if isinstance(visual.image_size, tuple) else visual.image_size
    return DualEncoder(
        module=model.float().eval(),
        text=text,
        tokenizer=_tokenizer(model.context_length),
        width=int(model.visual.output_dim),
        image_size=size,
        mean=tuple(getattr(visual, "image_mean", None) or CLIP_MEAN),
        std=tuple(getattr(visual, "image_std", None) or CLIP_STD),
        name=backbone,
        weights=weights,
        weights_sha256=weights_digest(model),
    )


def _tokenizer(context_length: int) -> Callable[[Sequence[str]], Tensor]:
    """CLIP's byte-pair encoding at the model's context length."""
    from open_clip import SimpleTokenizer

    tokenizer = SimpleTokenizer(context_length=context_length)

    def tokens(prompts: Sequence[str]) -> Tensor:
        found: Tensor = tokenizer(list(prompts))
        return found

    return tokens


def _check(backbone: str, text: nn.Module, pooling: str | None) -> None:
    missing = [name for name in _TEXT_PARTS if not hasattr(text, name)]
    causal = getattr(text, "attn_mask", None) is not None
    if missing or pooling != "argmax" or not causal or getattr(text, "cls_emb", None) is not None:
        raise UserError(
            f"{backbone} has no text tower like CLIP's own (a causal transformer with CLIP's tokens, read at the "
            f"end-of-text token), which prompts need here; the ViT models of OpenAI and LAION have one."
        )
