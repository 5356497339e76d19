"""Prompts as tokens, in groups of like length: one long class name must not make a thousand short prompts longer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

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
