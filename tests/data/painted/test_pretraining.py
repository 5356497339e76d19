"""The pretraining of the tiny model: its loss, its corpus, and that it repeats itself exactly."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from clipbench.data.painted.overhead import OVERHEAD_SUBSETS
from clipbench.models.tiny.corpus import KINDS, LOOKS, draw_pairs, paint_all
from clipbench.models.tiny.pretrain import contrastive_loss, enlarge_features, image_features, tokenise, train
from clipbench.models.tiny.weights import new_model


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


def test_the_subsets_hold_scenes_and_looks_that_pretraining_never_saw():
    for subset in OVERHEAD_SUBSETS:
        assert set(subset.kinds.values()) - set(KINDS)
        assert subset.style not in LOOKS.values()


def test_training_repeats_itself_exactly():
    pairs = draw_pairs(128, 0)
    images = torch.from_numpy(paint_all(pairs))
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
