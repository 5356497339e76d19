"""The pretraining of the tiny model: its corpus, and that it repeats itself exactly."""

from __future__ import annotations

import numpy as np
import open_clip
import pytest
import torch

from clipbench.data.painted import SUBSETS
from clipbench.data.painted.shapes import look
from clipbench.models.tiny.weights import new_model
from tools.pretrain_tiny import (
    BATCH,
    FIRST_SCAN,
    WRONG_LABELS,
    anchors_of,
    concepts,
    draw_examples,
    encode_short,
    enlarge_features,
    image_features,
    paint_all,
    train_image_tower,
    train_text_tower,
)


def test_examples_are_reproducible_and_new_for_another_seed():
    assert draw_examples(30, 1) == draw_examples(30, 1)
    numbers = [{example.number for example in draw_examples(30, seed)} for seed in (1, 2)]
    assert not numbers[0] & numbers[1]


def test_a_part_of_the_labels_is_wrong():
    known = concepts()
    right = [known[example.label] == example.concept for example in draw_examples(2000, 0)]
    assert np.mean(right) == pytest.approx(1 - WRONG_LABELS, abs=0.03)


def test_the_subsets_hold_shades_and_scans_that_pretraining_never_met():
    assert not np.array_equal(look("river", "ucm").body, look("river", "pretraining").body)
    assert SUBSETS["digits_dg"].images_per_class * len(SUBSETS["digits_dg"].domains) <= FIRST_SCAN


def test_text_features_are_the_same_for_cut_and_padded_captions():
    model = new_model().eval()
    tokens = open_clip.tokenize(["a photo of a forest.", "a centered satellite photo of an island."])
    with torch.inference_mode():
        torch.testing.assert_close(encode_short(model, tokens[:, :16]), model.encode_text(tokens, normalize=True))


def test_training_repeats_itself_exactly():
    examples = draw_examples(BATCH, 0)
    images, labels = paint_all(examples, workers=1), torch.tensor([example.label for example in examples])
    anchors, models = anchors_of(concepts(), 96), []
    for _ in range(2):
        torch.manual_seed(0)
        models.append(new_model().train())
        train_image_tower(models[-1], images, labels, anchors, 1, torch.Generator().manual_seed(0))
        train_text_tower(models[-1], anchors, 1, np.random.default_rng(0))
    assert all(torch.equal(a, b) for a, b in zip(*(model.parameters() for model in models), strict=True))


def test_enlarging_features_leaves_the_joint_space_alone():
    model = new_model().eval()
    pixels = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    with torch.inference_mode():
        before = image_features(model, pixels)
        enlarge_features(model, 3.0)
        torch.testing.assert_close(image_features(model, pixels), before)
