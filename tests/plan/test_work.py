"""The plan's operations and parameters against PyTorch's own count on models without memory."""

from __future__ import annotations

from pathlib import Path

import open_clip
import pytest
import timm
import torch
from torch.utils.flop_counter import FlopCounterMode

from clipbench.adapters import AdapterConfig, adapt
from clipbench.data.load import Datasets
from clipbench.models import TINY
from clipbench.models.image_text import load_image_text
from clipbench.plan.select import make_plan
from clipbench.plan.towers import Stack, towers_of
from clipbench.plan.work import _kept_by_adapters, work
from clipbench.registry import Overrides, Protocol
from clipbench.registry.method_fields import declared_by

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


def kept_for_backward(kind: str, dropout: float) -> float:
    """Bytes that PyTorch keeps of four images in the tiny tower, for every token, block and unit of the width."""
    model = load_image_text(TINY, "embedded")
    adapt(model.module, AdapterConfig(kind, 1, targets="qkv", towers="vision", dropout=dropout)).train()
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.module.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model.encode_image(torch.randn(4, 3, model.image_size, model.image_size))
    numbers = 4 * len(model.module.get_parameter("visual.positional_embedding")) * model.image_width
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values()) / numbers / model.image_layers


def test_what_adapters_keep_is_what_pytorch_keeps() -> None:
    """Masks of LoRA's dropout, and what DoRA's norms multiply; the last block keeps less, as one token is read."""
    plain = kept_for_backward("lora", 0.0)
    for kind, dropout in (("lora", 0.25), ("dora", 0.0)):
        counted = [
            _kept_by_adapters(Protocol(method=method, targets="qkv", adapter_dropout=rate), declared_by(method))
            for method, rate in (("lora", 0.0), (kind, dropout))
        ]
        more = counted[1] - counted[0]
        blocks = load_image_text(TINY, "embedded").image_layers
        assert more * (blocks - 1) / blocks < kept_for_backward(kind, dropout) - plain < more
