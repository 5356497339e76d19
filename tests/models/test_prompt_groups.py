"""Groups of prompts: every prompt once, whole, and never more tokens than the best cut that trying all would find."""

from __future__ import annotations

from itertools import combinations

import torch
from hypothesis import given
from hypothesis import strategies as st

from clipbench.models.towers import grouped

ENDS = st.lists(st.integers(2, 14), min_size=1, max_size=300)


def _tokens(ends: torch.Tensor) -> torch.Tensor:
    """Distinct words up to the end-of-text token 999, nothing behind it."""
    tokens = torch.arange(1, 78).repeat(len(ends), 1)
    tokens[torch.arange(77)[None] > ends[:, None]] = 0
    tokens[torch.arange(len(ends)), ends] = 999
    return tokens


def _least(ends: list[int], groups: int) -> int:
    """Fewest tokens of any cut into at most that many groups of neighbouring lengths."""
    lengths = sorted(set(ends))
    costs = []
    for count in range(1, min(groups, len(lengths)) + 1):
        for cut in combinations(lengths[:-1], count - 1):
            tops = [*cut, lengths[-1]]
            costs.append(sum(min(top for top in tops if top >= end) + 1 for end in ends))
    return min(costs)


@given(ENDS)
def test_every_prompt_is_there_once_and_whole(ends: list[int]) -> None:
    places = torch.tensor(ends)
    tokens = _tokens(places)
    found = grouped(tokens, places)
    assert sorted(torch.cat([group.classes for group in found]).tolist()) == list(range(len(ends)))
    for group in found:
        assert group.tokens.shape == (len(group.classes), int(group.ends.max()) + 1)
        assert torch.equal(group.ends, places[group.classes])
        assert torch.equal(group.tokens, tokens[group.classes, : group.tokens.shape[1]])
        assert (group.tokens[torch.arange(len(group.ends)), group.ends] == 999).all()
    assert [int(group.ends.max()) for group in found] == sorted(int(group.ends.max()) for group in found)


@given(ENDS)
def test_the_cut_is_the_best_of_all(ends: list[int]) -> None:
    """One group for up to 64 prompts, one more for each further 64, four at most."""
    found = grouped(_tokens(torch.tensor(ends)), torch.tensor(ends))
    most = min(4, -(-len(ends) // 64))
    assert len(found) <= most
    assert sum(group.tokens.numel() for group in found) == _least(ends, most)


def test_one_long_name_costs_one_long_prompt() -> None:
    ends = torch.tensor([8] * 999 + [30])
    found = grouped(_tokens(ends), ends)
    assert [tuple(group.tokens.shape) for group in found] == [(999, 9), (1, 31)]
