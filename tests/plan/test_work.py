"""The plan's operations and parameters against PyTorch's own count on models without memory."""

from __future__ import annotations

from pathlib import Path

import open_clip
import pytest
import timm
import torch
from torch.utils.flop_counter import FlopCounterMode

from clipbench.data.load import Datasets
from clipbench.plan.select import make_plan
from clipbench.plan.towers import Stack, towers_of
from clipbench.plan.work import work
from clipbench.registry import Overrides, Protocol

TOLERANCE = 0.02
"""PyTorch counts no bias, norm or activation, and neither does the plan; what is left are poolings and projections."""


def counted(module: torch.nn.Module, *inputs: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module.requires_grad_(False)(*inputs)
    return counter.get_total_flops()


def whole(stack: Stack) -> Stack:
    """The same tower where no token is dropped before the last block."""
    return Stack(stack.tower, stack.outside, stack.gated, reads_one=False)


@pytest.mark.parametrize("name", ["ViT-B-32", "ViT-L-14-336", "ViT-B-16-SigLIP", "ViT-B-16-SigLIP2"])
def test_towers_of_open_clip(name: str) -> None:
    towers = towers_of(Protocol(backbone=name, task="image-text"))
    assert towers is not None
    with torch.device("meta"):
        model = open_clip.create_model(name, pretrained=None, device="meta", load_weights=False)
    side = open_clip.get_model_config(name)["vision_cfg"]["image_size"]
    length = open_clip.get_model_config(name)["text_cfg"]["context_length"]
    images = torch.zeros(1, 3, side, side, device="meta")
    assert whole(towers.vision).flops(towers.tokens) == pytest.approx(counted(model.visual, images), rel=TOLERANCE)
    # The pooling of a SigLIP's image tower, a fifth of a per cent of its work, has 3.5% of its parameters.
    assert towers.parameters == pytest.approx(sum(p.numel() for p in model.parameters()), rel=2 * TOLERANCE)
    assert towers.prompt == (length if "SigLIP" in name else 0)


@pytest.mark.parametrize("name", ["vit_base_patch16_224", "vit_large_patch16_224", "vit_tiny_patch16_224"])
def test_timms_vits_under_a_linear_head(name: str) -> None:
    towers = towers_of(Protocol(backbone=name, task="linear-head", pooling="patch-mean"))
    assert towers is not None
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=0)
    images = torch.zeros(1, 3, 224, 224, device="meta")
    assert towers.vision.flops(towers.tokens) == pytest.approx(counted(model, images), rel=TOLERANCE)
    assert towers.parameters == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", ["convnext_base", "RN50", "mambavision_base", "resnet50"])
def test_of_other_towers_nothing_is_claimed(name: str) -> None:
    assert towers_of(Protocol(backbone=name, task="linear-head", pooling="backbone")) is None


def test_an_image_under_several_prompts_counts_as_often() -> None:
    """PLOT++: every image passes four times, once under each vision prompt, and a class has four text prompts."""
    plan = make_plan(["fewshot"], Overrides(), ["row=plotpp-1shot|coop-4-1shot", "dataset=eurosat"])
    found = {p.cell.row.id: work(p.run.protocol, Datasets(Path("nowhere"))) for p in plan.runs}
    plot, coop = found["plotpp-1shot"], found["coop-4-1shot"]
    assert plot is not None
    assert coop is not None
    towers = towers_of(next(p.run.protocol for p in plan.runs))
    assert towers is not None
    images = 10 * 4 * (towers.tokens + 2) * towers.vision.kept(weights=False)
    prompts = 40 * towers.text.kept(weights=False)  # for each token of a prompt, of which there are ten and more
    assert images < plot.activations < images + 16 * prompts
    assert coop.activations < images / 3  # a batch of test images, without a gradient
