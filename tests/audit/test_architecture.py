"""Closed parameter counts against the models themselves, built on PyTorch's meta device."""

from __future__ import annotations

import subprocess
import sys

import pytest

from clipbench.audit.architecture import adapter_parameters, clip, clipseg, trainable_and_total, vit
from clipbench.errors import UserError
from clipbench.registry import Protocol
from tests.factory import protocol_of


def count(module: object) -> int:
    return sum(p.numel() for p in module.parameters())  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["ViT-B-32-quickgelu", "ViT-B-16-quickgelu", "ViT-L-14-quickgelu", "ViT-g-14"])
def test_clip_against_open_clip(name: str) -> None:
    torch = pytest.importorskip("torch")
    open_clip = pytest.importorskip("open_clip")
    config = open_clip.get_model_config(name)
    with torch.device("meta"):
        model = open_clip.CLIP(**config)
    assert clip(name).parameters == count(model)
    assert clip(name).vision.parameters + clip(name).vision.projection == count(model.visual)


def test_clipseg_against_transformers() -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    config = transformers.CLIPSegConfig(
        vision_config={"patch_size": 16}, use_complex_transposed_convolution=True, reduce_dim=64
    )
    with torch.device("meta"):
        model = transformers.CLIPSegForImageSegmentation(config)
    assert clipseg().parameters == count(model) == 150_747_746
    assert clipseg().up_convolution == count(model.decoder.transposed_convolution)


@pytest.mark.parametrize(
    ("name", "shape"), [("vit_base_patch16_224", (768, 12, 16)), ("vit_large_patch16_224", (1024, 24, 16))]
)
def test_vit_against_timm(name: str, shape: tuple[int, int, int]) -> None:
    torch = pytest.importorskip("torch")
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=0)
    assert vit(*shape).parameters == count(model)


@pytest.mark.parametrize(
    ("name", "targets", "rank", "due"),
    [("ViT-B-16", "qkv", 2, 184_320), ("ViT-L-14", "qkv", 2, 405_504)],
)
def test_clip_lora(name: str, targets: str, rank: int, due: int) -> None:
    model = clip(name)
    assert adapter_parameters([model.vision, model.text], targets, rank, magnitude=None) == due


@pytest.mark.parametrize("axis", ["output", "input"])  # the same number where matrices are square
@pytest.mark.parametrize(("name", "due"), [("ViT-B-16", 307_200), ("ViT-L-14", 675_840)])
def test_clip_dora(name: str, due: int, axis: str) -> None:
    model = clip(name)
    assert adapter_parameters([model.vision, model.text], "qkvo", 2, magnitude=axis) == due


def test_a_magnitude_per_input_of_matrices_that_are_not_square() -> None:
    """fc1 has 4 d outputs and d inputs, fc2 the reverse: together they are the same, qkv+mlp too, fc1 alone not."""
    tower = clip("ViT-B-16").vision
    assert tower.adapted("all-linear")
    out, inp = (adapter_parameters([tower], "all-linear", 1, magnitude=axis) for axis in ("output", "input"))
    assert out == inp == adapter_parameters([tower], "all-linear", 1, magnitude=None) + 12 * (4 + 4 + 1) * 768


@pytest.mark.parametrize(
    ("targets", "towers", "due"),
    [
        ("qkvo", "vision", 696_929),
        ("qkvo", "both", 1_114_721),
        ("qkvo", "all", 1_127_777),
        ("all-linear", "both", 2_420_321),
        ("qkv+mlp", "all", 2_276_705),
    ],
)
def test_placements_of_clipseg(targets: str, towers: str, due: int) -> None:
    """PROTOCOLS 4.4."""
    protocol = Protocol(
        task="segmentation", method="dora", backbone="clipseg-rd64-refined", rank=8, targets=targets, towers=towers,
        also_trained="up-convolution", norm_axis="output",
    )  # fmt: skip
    assert trainable_and_total(protocol, 0)[0] == due


@pytest.mark.parametrize(
    ("rank", "classes", "due"), [(4, 30, 0.269), (8, 30, 0.526), (16, 31, 1.037), (32, 30, 2.043), (8, 21, 0.523)]
)
def test_shares_of_lora_clip(rank: int, classes: int, due: float) -> None:
    """PROTOCOLS 5.2."""
    trainable, total = trainable_and_total(protocol_of("lora-clip/text", f"lora-r{rank}", "text"), classes)
    assert 100 * trainable / total == pytest.approx(due, abs=0.0006)


def test_what_has_no_formula_is_refused() -> None:
    with pytest.raises(UserError, match="no plain ViT tower"):
        clip("RN50")
    with pytest.raises(UserError, match="no model config"):
        clip("no-such-model")
    with pytest.raises(UserError, match="no parameter count for the method"):
        trainable_and_total(Protocol(task="image-text", method="coop", backbone="ViT-B-16"), 10)


def test_no_heavy_import() -> None:
    code = (
        "import sys; from clipbench.audit.architecture import clip; clip('ViT-L-14'); "
        "sys.exit(any(m in sys.modules for m in ('torch', 'open_clip')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
