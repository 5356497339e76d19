"""The towers of a vision-language model: grouped prompts, and images, to features, with tokens in deeper layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from clipbench.errors import UserError
from clipbench.models.exact_cuts import Enter, encode_one

_CLASSES_PER_GROUP = 64
_MOST_GROUPS = 4
"""A group costs a run of the tower's layers, however few its prompts: more groups would only wait for each other."""


@dataclass(frozen=True)
class PromptGroup:
    """Tokens ``[c, L]`` cut behind the longest prompt, where each ends ``[c]``, and which classes they are ``[c]``."""

    tokens: Tensor
    ends: Tensor
    classes: Tensor

    def part(self, start: int, stop: int) -> PromptGroup:
        """Its prompts from number ``start`` up to ``stop``."""
        return PromptGroup(self.tokens[start:stop], self.ends[start:stop], self.classes[start:stop])


@dataclass(frozen=True)
class Prompts:
    """Tokenised prompts.

    Attributes:
        ids: Tokens ``[C, L]``, cut behind the longest prompt where the text tower allows that.
        ends: The position ``[C]`` of the token that a prompt's feature is taken from.
        groups: The same prompts in groups of like length; they are encoded group by group.
    """

    ids: Tensor
    ends: Tensor
    groups: Sequence[PromptGroup]

    @classmethod
    def cut(cls, tokens: Tensor, ends: Tensor) -> Prompts:
        """Of tokens ``[C, 77]`` of which nothing behind ``ends`` ``[C]`` matters."""
        return cls(tokens[:, : int(ends.max()) + 1].contiguous(), ends, grouped(tokens, ends))

    @classmethod
    def whole(cls, tokens: Tensor, ends: Tensor) -> Prompts:
        """Of tokens ``[C, L]`` that all matter, padding too (SigLIP's tower looks at it)."""
        return cls(tokens, ends, [PromptGroup(tokens, ends, torch.arange(len(tokens)))])


def grouped(tokens: Tensor, ends: Tensor) -> list[PromptGroup]:
    """Tokens ``[C, 77]`` that end at ``ends`` ``[C]`` as groups, shortest first; the cut that pads least."""
    groups = []
    shortest = 0
    for longest in _cut(ends.tolist()):
        classes = torch.nonzero((ends >= shortest) & (ends <= longest)).flatten()
        groups.append(PromptGroup(tokens[classes, : longest + 1].contiguous(), ends[classes], classes))
        shortest = longest + 1
    return groups


def _cut(ends: Sequence[int]) -> list[int]:
    """The largest end of each group: of all ways to make that many groups, one with the fewest tokens."""
    counts = sorted(Counter(ends).items())
    most = min(_MOST_GROUPS, -(-len(ends) // _CLASSES_PER_GROUP), len(counts))
    # best[i]: fewest tokens for the prompts of the first i lengths, and the cut that gives it.
    best: list[tuple[int, list[int]]] = [(0, [])]
    best += [(_padded(counts, 0, upto), [counts[upto - 1][0]]) for upto in range(1, len(counts) + 1)]
    for _ in range(most - 1):
        best = [
            min(
                [best[upto]]
                + [
                    (best[start][0] + _padded(counts, start, upto), [*best[start][1], counts[upto - 1][0]])
                    for start in range(1, upto)
                ]
            )
            for upto in range(len(counts) + 1)
        ]
    return best[-1][1]


def _padded(counts: Sequence[tuple[int, int]], start: int, upto: int) -> int:
    return sum(number for _, number in counts[start:upto]) * (counts[upto - 1][0] + 1)


_PARTS = ("token_embedding", "positional_embedding", "transformer", "ln_final", "text_projection", "cls_emb")

Deep = Mapping[int, Tensor]
"""Tokens that enter a transformer, by the number of the block in front of which they do."""


@dataclass(frozen=True)
class TextTower:
    """A transformer over tokens as open_clip builds it: ``tower`` is its ``CLIP`` or its ``TextTransformer``."""

    tower: Any

    @property
    def width(self) -> int:
        """Width of its tokens."""
        return int(self.tower.token_embedding.weight.shape[1])

    @property
    def layers(self) -> int:
        """Number of its blocks."""
        return len(self.tower.transformer.resblocks)

    @property
    def output_width(self) -> int:
        """Width of its features, D."""
        projection: Any = self.tower.text_projection
        if projection is None:
            return self.width
        return int(projection.shape[1] if isinstance(projection, Tensor) else projection.out_features)

    @property
    def device(self) -> torch.device:
        """Where its parameters are."""
        device: torch.device = self.tower.positional_embedding.device
        return device

    def parameters(self) -> list[nn.Parameter]:
        """Every parameter that a prompt's feature depends on."""
        parts = [getattr(self.tower, name, None) for name in _PARTS]
        modules = [part for part in parts if isinstance(part, nn.Module)]
        plain = [part for part in parts if isinstance(part, nn.Parameter)]
        return [*plain, *(p for module in modules for p in module.parameters())]

    def embed(self, ids: Tensor) -> Tensor:
        """Token embeddings ``[C, L, Dt]`` of tokens ``[C, L]``, without positions."""
        embedded: Tensor = self.tower.token_embedding(ids)
        return embedded

    def encode(self, embedded: Tensor, ids: Tensor, ends: Tensor, deep: Deep | None = None) -> Tensor:
        """Features ``[N, D]`` of embedded prompts ``[N, L, Dt]`` with tokens ``ids``, read at ``ends`` ``[N]``.

        ``deep``: tokens ``[R, T, Dt]`` by layer; they replace tokens 1 to T of all rows of their replica.
        """
        tower, states = self.tower, embedded
        if self._class_token is not None:  # CoCa's stands behind the prompt
            states = torch.cat([states, self._class_token.to(states.dtype).expand(len(states), 1, -1)], dim=1)
        length = states.shape[1]
        states = states + tower.positional_embedding[:length]
        mask = self._mask(ids, length, states.dtype)
        # The last norm acts token by token: it is enough to take it where the feature is read.
        pooled = tower.ln_final(encode_one(tower.transformer, states, ends, mask, _replacing_first(deep or {})))
        projection = tower.text_projection
        if projection is None:
            features: Tensor = pooled
        else:
            features = projection(pooled) if isinstance(projection, nn.Module) else pooled @ projection
        return features

    @property
    def _class_token(self) -> Tensor | None:
        return getattr(self.tower, "cls_emb", None)

    def _mask(self, ids: Tensor, length: int, dtype: torch.dtype) -> Tensor | None:
        """The causal mask ``[L, L]``, if any; where padding is masked as well, one per row and head."""
        causal = None if self.tower.attn_mask is None else self.tower.attn_mask[:length, :length]
        if self._class_token is None and not getattr(self.tower, "use_pad_mask", False):
            return causal
        padding: Tensor = self.tower._build_additive_mask(ids, length, dtype)
        return padding if causal is None else padding + causal


def _replacing_first(deep: Deep) -> Enter | None:
    """Tokens 1 to T make room for the T of this layer (Khattak et al., CVPR 2023, MaPLe sec. 3.2.1)."""
    if not deep:
        return None

    def enter(layer: int, states: Tensor) -> Tensor:
        if layer == 0 or layer not in deep:
            return states
        tokens = deep[layer]
        if tokens.shape[1] >= states.shape[1]:
            raise UserError(
                f"{tokens.shape[1]} deep tokens do not fit into prompts of {states.shape[1]} tokens, start and end "
                f"included; take fewer, or a longer template."
            )
        rows = tokens.repeat_interleave(len(states) // len(tokens), 0).to(states.dtype)
        return torch.cat([states[:, :1], rows, states[:, 1 + rows.shape[1] :]], dim=1)

    return enter


@dataclass(frozen=True)
class VisionTower:
    """An image tower that gives one feature per image.

    Attributes:
        module: The network, images ``[N, 3, S, S]`` to features ``[N, D]``.
        width: Of its tokens; 0 where it has no blocks that tokens could enter.
        layers: Number of its blocks; 0 likewise.
    """

    module: nn.Module
    width: int = 0
    layers: int = 0

    def encode(self, images: Tensor, deep: Deep | None = None) -> Tensor:
        """Features ``[N, D]`` of images ``[N, 3, S, S]``; only towers with ``layers`` take ``deep`` tokens."""
        if deep:
            return self._class_token(images, deep)
        if _reads_one_token(self.module):
            return self._class_token(images, {})
        features: Any = self.module(images)
        whole: Tensor = features[0] if isinstance(features, tuple) else features
        return whole

    def _class_token(self, images: Tensor, deep: Deep) -> Tensor:
        """The feature of the class token, in open_clip's own vision transformer."""
        visual: Any = self.module
        states = _embedded(visual, images, deep.get(0))
        pooled = visual.ln_post(encode_one(visual.transformer, states, None, None, _replacing_last(deep)))
        features: Tensor = pooled if visual.proj is None else pooled @ visual.proj
        return features


def vision_tower(visual: Any) -> VisionTower:
    """The image tower of an open_clip model. Tokens can enter its own plain ViT, if it reads the class token."""
    if not _is_plain(visual):
        return VisionTower(visual)
    return VisionTower(visual, int(visual.transformer.width), len(visual.transformer.resblocks))


def _embedded(visual: Any, images: Tensor, tokens: Tensor | None) -> Tensor:
    """States in front of the first block; ``tokens`` ``[N, T, Dv]`` are appended in front of the first norm.

    K times as many rows of tokens as images meet each image K times; its patches are embedded and normed once. (Up to
    the first block, tokens know nothing of each other.)
    """
    if tokens is None:
        states: Tensor = visual._embeds(images)
        return states
    patches = visual.conv1(images).flatten(2).mT
    first = visual.class_embedding.to(patches.dtype).expand(len(patches), 1, -1)
    placed = torch.cat([first, patches], dim=1) + visual.positional_embedding.to(patches.dtype)
    normed = visual.ln_pre(visual.patch_dropout(placed)).repeat_interleave(len(tokens) // len(images), dim=0)
    return torch.cat([normed, visual.ln_pre(tokens.to(placed.dtype))], dim=1)


def _replacing_last(deep: Deep) -> Enter | None:
    """The last T tokens make room for the T of this layer (Khattak et al., CVPR 2023, MaPLe sec. 3.2.2)."""
    if not any(layer > 0 for layer in deep):
        return None

    def enter(layer: int, states: Tensor) -> Tensor:
        if layer == 0 or layer not in deep:
            return states
        tokens = deep[layer].to(states.dtype)
        return torch.cat([states[:, : -tokens.shape[1]], tokens], dim=1)

    return enter


def _is_plain(visual: Any) -> bool:
    """Whether it is open_clip's own vision transformer, and the image's feature is its class token's."""
    from open_clip.transformer import VisionTransformer

    plain = type(visual) is VisionTransformer and visual.attn_pool is None and not visual.output_tokens
    return plain and visual.pool_type == "tok"


def _reads_one_token(visual: Any) -> bool:
    """A tower whose result somebody watches runs as a whole."""
    return _is_plain(visual) and not visual._forward_hooks and not visual._forward_pre_hooks
