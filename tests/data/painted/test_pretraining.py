"""The pretraining of the tiny model: its loss, its corpus, and that it repeats itself exactly."""

from __future__ import annotations

import numpy as np
import open_clip
import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from clipbench.data.painted import SUBSETS
from clipbench.data.painted.shapes import look
from clipbench.models.tiny.weights import new_model
from tools.pretrain_tiny import (
    FIRST_SCAN,
    concepts,
    contrastive_loss,
    draw_pairs,
    encode_short,
    enlarge_features,
    image_features,
    paint_all,
    tokenise,
    train,
)


def test_the_loss_is_clip_s_when_captions_differ():
    torch.manual_seed(0)
    image, text = (normalize(torch.randn(5, 8), dim=-1) for _ in range(2))
    logits = 10 * image @ text.T
    expected = (cross_entropy(logits, torch.arange(5)) + cross_entropy(logits.T, torch.arange(5))) / 2
    torch.testing.assert_close(contrastive_loss(image, text, torch.tensor(10.0), torch.arange(5)), expected)


def test_equal_captions_count_as_matches():
    features = normalize(torch.ones(2, 4), dim=-1)
    same = contrastive_loss(features, features, torch.tensor(50.0), torch.tensor([7, 7]))
    assert same.item() == pytest.approx(0.6931, abs=1e-3)  # log 2: both are right, and neither can be told apart


def test_pairs_are_reproducible_and_new_for_another_seed():
    assert draw_pairs(30, 1) == draw_pairs(30, 1)
    assert not {pair.number for pair in draw_pairs(30, 1)} & {pair.number for pair in draw_pairs(30, 2)}


def test_the_subsets_hold_classes_shades_and_scans_that_pretraining_never_met():
    met = {concept.words for concept in concepts()}
    names = {
        subset.entry.prompt_name(name).lower()
        for subset in SUBSETS.values()
        if not subset.kinds
        for name in subset.classes
    }
    assert met < names
    assert not np.array_equal(look("river", "ucm").body, look("river", "pretraining").body)
    assert SUBSETS["digits_dg"].images_per_class * 4 <= FIRST_SCAN


def test_text_features_are_the_same_for_cut_and_padded_captions():
    model = new_model().eval()
    tokens = open_clip.tokenize(["a photo of a forest.", "a centered satellite photo of an island."])
    with torch.inference_mode():
        torch.testing.assert_close(encode_short(model, tokens[:, :16]), model.encode_text(tokens, normalize=True))


def test_training_repeats_itself_exactly():
    pairs = draw_pairs(128, 0)
    images = paint_all(pairs, workers=1)
    tokens, captions = tokenise(pairs)
    losses, models = [], []
    for _ in range(2):
        torch.manual_seed(0)
        model = new_model().train()
        losses.append(train(model, images, tokens, captions, epochs=1, seed=0))
        models.append(model)
    assert losses[0] == losses[1]
    assert all(torch.equal(a, b) for a, b in zip(*(model.parameters() for model in models), strict=True))


def test_enlarging_features_leaves_the_joint_space_alone():
    model = new_model().eval()
    pixels = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    with torch.inference_mode():
        before = image_features(model, pixels)
        enlarge_features(model, 3.0)
        torch.testing.assert_close(image_features(model, pixels), before)
