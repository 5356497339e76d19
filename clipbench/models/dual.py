"""A CLIP with both towers: images and prompts into one space, with the text tower cut to what a prompt needs.

Two cuts are exact. The context ends with the longest prompt: the text transformer is causal and its feature is read at
the end-of-text token, so that nothing behind it matters. And prompts of very different length run in a few groups.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from clipbench.errors import UserError
from clipbench.models.backbone import CLIP_MEAN, CLIP_STD, named_normalisation, weights_digest
from clipbench.models.clip import load_model
from clipbench.models.prompt_groups import PromptGroup, grouped
from clipbench.models.sources import Sources

_NO_FILES = Sources()
_TEXT_PARTS = ("token_embedding", "positional_embedding", "transformer", "ln_final", "text_projection")
_TOKENS_KEPT = 8192
"""Prompt tokens per replica whose activations are kept for the backward pass; of more, they are computed twice."""


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
        features: Tensor = self.module.encode_image(images)  # type: ignore[operator]
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
        parts = [self._encode_group(group, replicas) for group in groups]
        order = torch.cat([group.classes for group in groups])
        return torch.cat(parts, dim=1)[:, torch.argsort(order).to(parts[0].device)]

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
        states = tower.transformer(embedded, attn_mask=mask)
        # The last norm acts token by token: it is enough to take it where the feature is read.
        pooled = tower.ln_final(states[torch.arange(len(states), device=states.device), ends])
        projection = tower.text_projection
        features: Tensor = projection(pooled) if isinstance(projection, nn.Module) else pooled @ projection
        return features

    def _encode_group(self, group: PromptGroup, replicas: int) -> Tensor:
        """Features ``[R, c, E]`` of one group."""
        device = cast("Tensor", self.text.positional_embedding).device
        tokens, ends = group.tokens.to(device), group.ends.to(device)
        most = max(_TOKENS_KEPT // tokens.shape[1], 1)
        save_memory = torch.is_grad_enabled() and len(tokens) > most
        parts = []
        for some, their_ends in zip(torch.split(tokens, most), torch.split(ends, most), strict=True):
            embedded, at = self.embed(some).repeat(replicas, 1, 1), their_ends.repeat(replicas)
            features: Tensor = (
                checkpoint(self.encode_embedded, embedded, at, use_reentrant=False)
                if save_memory
                else self.encode_embedded(embedded, at)
            )
            parts.append(features.view(replicas, len(some), -1))
        return torch.cat(parts, dim=1)

    def normalisation(self, reading: str) -> tuple[Sequence[float], Sequence[float]]:
        """Channel mean and std that the protocol's word asks for."""
        return named_normalisation(reading, self.mean, self.std)


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
