"""Prompts as CLIPSeg's text tower reads them, from open_clip's tokeniser: no download.

open_clip's byte-pair encoding is CLIP's own, as is that of transformers' ``CLIPTokenizer``: the same ids between start
(49406) and end (49407). Rows are padded with the end token, ``CLIPTokenizer``'s default. What the padding is, and if a
mask hides it, changes nothing: the tower is causal and its feature is read at the first end token, both where
transformers looks for ``eos_token_id`` and where (checkpoints with the old ``eos_token_id`` of 2) it takes the first of
the largest ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

CONTEXT = 77
"""Tokens per prompt, start and end included; longer prompts are cut."""


def tokenise(prompts: Sequence[str], length: int = CONTEXT) -> tuple[Tensor, Tensor]:
    """Token ids ``[N, length]`` and the mask of what is no padding ``[N, length]``, both int64.

    An empty prompt (medvlsm's p0) is a start and an end. ``shortest`` gives the smallest ``length`` that cuts nothing.
    """
    tokeniser = _tokeniser()
    ids = torch.full((len(prompts), length), tokeniser.eot_token_id, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        words = [tokeniser.sot_token_id, *_encoded(prompt)[: length - 2], tokeniser.eot_token_id]
        ids[row, : len(words)] = torch.tensor(words)
        mask[row, : len(words)] = 1
    return ids, mask


def shortest(prompts: Sequence[str]) -> int:
    """The longest prompt's length in tokens, at most ``CONTEXT``: what lies beyond is padding, which nobody reads."""
    return min(max((len(_encoded(prompt)) + 2 for prompt in prompts), default=2), CONTEXT)


@cache
def _encoded(prompt: str) -> tuple[int, ...]:
    return tuple(_tokeniser().encode(prompt))


@cache
def _tokeniser() -> Any:
    from open_clip import SimpleTokenizer

    return SimpleTokenizer()
