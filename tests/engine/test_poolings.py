"""The backbone's features against open_clip's own forward pass."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from clipbench.errors import UserError
from clipbench.models.clip import load_backbone
from clipbench.models.image_tower import CLIP_MEAN, CLIP_STD, IMAGENET_MEAN, weights_digest
from clipbench.models.tiny import load_tiny

IMAGES = torch.randn(5, 3, 64, 64, generator=torch.Generator().manual_seed(7))


@pytest.fixture(scope="module")
def backbone() -> Any:
    return load_backbone("clipbench-tiny", "embedded")


def own_forward(pool: str) -> torch.Tensor:
    """open_clip's forward pass without the projection, with its own pooling of that name."""
    visual: Any = load_tiny().visual
    visual.proj, visual.pool_type = None, pool
    with torch.no_grad():
        features: torch.Tensor = visual(IMAGES)
    return features


@pytest.mark.parametrize(("pooling", "pool"), [("cls", "tok"), ("patch-mean", "avg")])
def test_a_pooling_is_open_clips(backbone: Any, pooling: str, pool: str) -> None:
    with torch.no_grad():
        torch.testing.assert_close(backbone.features(IMAGES, pooling), own_forward(pool), rtol=1e-5, atol=1e-6)


def test_the_other_poolings_are_means_around_the_last_norm(backbone: Any) -> None:
    visual: Any = load_tiny().visual
    seen: dict[str, torch.Tensor] = {}
    visual.ln_post.register_forward_hook(lambda _, x, y: seen.update(before=x[0], after=y))
    with torch.no_grad():
        visual(IMAGES)
        token_mean, pre_norm = (backbone.features(IMAGES, p) for p in ("token-mean", "patch-mean-pre-norm"))
    assert seen["after"].shape == (5, 65, 96)
    torch.testing.assert_close(token_mean, seen["after"].mean(dim=1), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(pre_norm, seen["before"][:, 1:].mean(dim=1), rtol=1e-5, atol=1e-6)


def test_the_poolings_differ(backbone: Any) -> None:
    names = ("cls", "patch-mean", "token-mean", "patch-mean-pre-norm")
    with torch.no_grad():
        found = [backbone.features(IMAGES, name) for name in names]
    for i, one in enumerate(found):
        assert all((one - other).abs().max() > 1e-3 for other in found[:i])


def test_an_unknown_pooling_is_refused(backbone: Any) -> None:
    with pytest.raises(UserError, match="'backbone'"):
        backbone.features(IMAGES, "backbone")


def test_what_the_backbone_says_of_itself(backbone: Any) -> None:
    assert (backbone.width, backbone.image_size, backbone.prefix) == (96, 64, 1)
    assert backbone.normalisation("backbone") == backbone.normalisation("clip") == (CLIP_MEAN, CLIP_STD)
    assert backbone.normalisation("imagenet")[0] == IMAGENET_MEAN
    assert backbone.normalisation("half") == ((0.5,) * 3, (0.5,) * 3)


def test_the_digest_names_the_weights() -> None:
    first, second = load_backbone("clipbench-tiny", "embedded"), load_backbone("clipbench-tiny", "embedded")
    assert first.weights_sha256 == second.weights_sha256
    with torch.no_grad():
        second.module.ln_post.bias[3] += 1e-6  # type: ignore[union-attr, operator, index]
    assert weights_digest(second.module) != first.weights_sha256


def test_random_weights_are_the_same_every_time_and_disturb_no_stream() -> None:
    torch.manual_seed(5)
    due = torch.rand(3)
    torch.manual_seed(5)
    one = load_backbone("ViT-S-32-alt", "random")
    assert torch.equal(torch.rand(3), due)
    assert one.weights_sha256 == load_backbone("ViT-S-32-alt", "random").weights_sha256


@pytest.mark.parametrize("weights", ["random", "openai", "sha256:0123456789abcdef"])
def test_the_tiny_model_has_its_embedded_weights_only(weights: str) -> None:
    """A record that says 'random' of the embedded weights would be false."""
    with pytest.raises(UserError, match="embedded"):
        load_backbone("clipbench-tiny", weights)


def test_names_that_open_clip_does_not_know_are_refused_with_near_ones() -> None:
    with pytest.raises(UserError, match="ViT-B-16"):
        load_backbone("ViT-B-61", "random")
    with pytest.raises(UserError, match="openai"):
        load_backbone("ViT-B-32-quickgelu", "no-such-tag")


def test_openai_weights_need_quick_gelu() -> None:
    with pytest.raises(UserError, match="ViT-B-32-quickgelu"):
        load_backbone("ViT-B-32", "openai")


def test_a_tower_without_plain_tokens_is_refused() -> None:
    with pytest.raises(UserError, match="no plain vision transformer"):
        load_backbone("RN50-quickgelu", "random")
