"""timm ViTs under the linear head: features against timm's own forward pass, sizes, files and refusals."""

from __future__ import annotations

import argparse
import copy
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from clipbench.adapters import AdapterConfig, adapt, trainable_parameters
from clipbench.errors import MissingWeightsError, UserError
from clipbench.models import TINY_VIT, family, image_size
from clipbench.models.load import load_backbone

NAME = "vit_tiny_patch16_224"
IMAGES = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def plain() -> Any:
    """timm's own model, with a classifier as a downloaded file has one."""
    torch.manual_seed(1)
    return timm.create_model(NAME, pretrained=False, num_classes=7).eval()


@pytest.fixture(scope="module")
def weights(plain: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "vit.safetensors"
    save_file({name: value.half() for name, value in plain.state_dict().items()}, path)
    return path


def from_file(path: Path, name: str = NAME) -> Any:
    from clipbench.models.weights.sources import Sources

    return load_backbone(name, "sha256:0", Sources(weights=path))


@pytest.mark.parametrize(("pooling", "pool"), [("cls", "token"), ("patch-mean", "avg")])
def test_the_features_are_timms(plain: Any, weights: Path, pooling: str, pool: str) -> None:
    backbone = from_file(weights)
    with torch.no_grad():
        model = copy.deepcopy(plain).half().float()
        due = model.pool(model.forward_features(IMAGES), pool)
        torch.testing.assert_close(backbone.features(IMAGES, pooling), due, rtol=1e-5, atol=1e-5)


def test_what_timm_states_of_the_weights_is_taken(weights: Path) -> None:
    backbone = from_file(weights)
    assert backbone.normalisation("backbone") == ((0.5,) * 3, (0.5,) * 3)
    assert (backbone.width, backbone.image_size, backbone.prefix) == (192, 224, 1)
    assert not any(name.startswith("head") for name in backbone.module.state_dict())
    assert {p.dtype for p in backbone.module.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("name", "body", "adapters"),
    [("vit_base_patch16_224", 85_798_656, 589_824), ("vit_large_patch16_224", 303_301_632, 1_572_864)],
)
def test_sizes_of_table_two(name: str, body: int, adapters: int) -> None:
    """PROTOCOLS 5.5: q, k, v and o at rank 8, each a branch of its own on the fused layer."""
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=0)
    assert sum(p.numel() for p in model.parameters()) == body
    assert trainable_parameters(adapt(model, AdapterConfig(rank=8, towers="vision"))).total == adapters


def test_a_torch_file_with_a_training_scripts_options(plain: Any, weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pth.tar"
    state = {f"module.{name}": value.half() for name, value in plain.state_dict().items()}
    torch.save({"state_dict": state, "args": argparse.Namespace(lr=0.1), "epoch": 3}, path)
    assert from_file(path).weights_sha256 == from_file(weights).weights_sha256


def test_files_that_do_not_fit_say_why(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match="does not exist"):
        from_file(tmp_path / "none.safetensors")
    with pytest.raises(MissingWeightsError, match=r"does not hold a vit_small_patch16_224.*size mismatch"):
        from_file(weights, "vit_small_patch16_224")
    lacking = tmp_path / "lacking.pt"
    torch.save({"norm.weight": torch.ones(192)}, lacking)
    with pytest.raises(MissingWeightsError, match=r"Missing key\(s\) in state_dict: \"cls_token\""):
        from_file(lacking)
    (tmp_path / "text.pt").write_text("no weights")
    with pytest.raises(MissingWeightsError, match="tensors only"):
        from_file(tmp_path / "text.pt")


def test_names_and_tags_that_timm_does_not_know_are_refused() -> None:
    with pytest.raises(UserError, match="vit_base_patch16_224"):
        load_backbone("vit_bass_patch16_224", "random")
    with pytest.raises(MissingWeightsError, match="augreg_in21k_ft_in1k"):
        load_backbone(NAME, "openai")
    with pytest.raises(UserError, match="no plain vision transformer"):
        load_backbone("vit_relpos_small_patch16_224", "random")


def test_the_smoke_model_is_small_random_and_always_the_same() -> None:
    one, other = load_backbone(TINY_VIT, "random"), load_backbone(TINY_VIT, "random")
    assert one.weights_sha256 == other.weights_sha256
    assert (one.width, one.image_size) == (48, 64)
    assert one.features(torch.zeros(2, 3, 64, 64), "patch-mean").shape == (2, 48)
    with pytest.raises(UserError, match="random"):
        load_backbone(TINY_VIT, "embedded")


def test_family_and_size_need_no_model() -> None:
    assert {family(n) for n in (NAME, "vit_base_patch32_384", TINY_VIT)} == {"timm"}
    assert family("ViT-L-14-quickgelu") == family("vitamin-L") == "open_clip"
    sizes = {n: image_size(n) for n in (NAME, "vit_base_patch32_384", "vit_base_patch16_clip_quickgelu", TINY_VIT)}
    assert list(sizes.values()) == [224, 384, 224, 64]
