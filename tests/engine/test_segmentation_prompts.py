"""Prompts of each image: encoded once, lists drawn anew."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from clipbench.engine.tasks.segmentation_prompts import PromptBank
from clipbench.errors import UserError
from clipbench.models.clipseg.prompts import tokenise

PROMPTS = [
    {"p0": ("",), "p1": ("polyp",), "p7": ("polyp which grows", "polyp in the colon", "polyp")},
    {"p0": ("",), "p1": ("large polyp",), "p7": ("polyp in the colon", "polyp which bleeds")},
    {"p0": ("",), "p1": ("polyp",), "p7": ("polyp which grows",)},
]


@pytest.mark.parametrize("prompt_type", ["p0", "p1"])
def test_one_prompt_each(prompt_type: str) -> None:
    bank = PromptBank(PROMPTS, prompt_type)
    texts = [image[prompt_type][0] for image in PROMPTS]
    rows = bank.chosen(3, "train", 2)
    assert [bank.texts[row] for row in rows] == texts
    assert len(bank.texts) == len(set(texts))
    ids, mask = bank.tokens(rows)
    due, due_mask = tokenise(texts, ids.shape[1])
    assert torch.equal(ids, due)
    assert torch.equal(mask, due_mask)
    assert mask.sum(dim=1).max() == ids.shape[1]


def test_lists_are_drawn_per_epoch() -> None:
    """Every text of an image comes up about equally often; the same epoch of the same run draws the same."""
    bank, epochs = PromptBank(PROMPTS, "p7"), range(600)
    drawn = [[bank.texts[row] for row in bank.chosen(1, "train", epoch)] for epoch in epochs]
    for number, image in enumerate(PROMPTS):
        counts = Counter(texts[number] for texts in drawn)
        assert set(counts) == set(image["p7"])
        share = 600 / len(image["p7"])
        assert all(abs(count - share) < 5 * share**0.5 for count in counts.values())
    assert torch.equal(bank.chosen(1, "val", 4), bank.chosen(1, "val", 4))
    assert any(not torch.equal(bank.chosen(1, "val", e), bank.chosen(1, "test", e)) for e in epochs)


def test_a_prompt_that_is_not_there() -> None:
    with pytest.raises(UserError, match="has no prompt 'p9', only p0, p1, p7"):
        PromptBank(PROMPTS, "p9")
