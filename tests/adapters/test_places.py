"""Exactly what was asked is adapted, or an error says what is not there; and how it may be asked."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import open_clip
import pytest
import timm
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from clipbench.adapters import AdapterConfig, AdapterError, adapt, adapted_modules, merge, remove
from clipbench.errors import UserError
from tests.adapters.models import images, perturb, relative

WITHOUT_ATTENTION = r"RN\d.*|convnext.*"
"""Names whose vision blocks are convolutions."""


class _NothingDrawn(TorchFunctionMode):
    """Skips what gives parameters their start: the meta device has no numbers, and it takes half of the time."""

    skipped = ("normal_", "uniform_", "trunc_normal_", "fill_", "zero_", "mul_", "add_", "clamp_", "erfinv_", "copy_")

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in self.skipped:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def _meta(name: str) -> nn.Module:
    with torch.device("meta"), _NothingDrawn():
        model: nn.Module = open_clip.create_model(name, pretrained=None, device="meta")
    return model


def _adapt_everywhere(name: str) -> dict[str, int] | None:
    """How many of each target q, k, v, o both towers of an open_clip name have; None where a hub has its text tower."""
    if "hf_model_name" in open_clip.get_model_config(name)["text_cfg"]:
        return None
    model = _meta(name)
    names = adapted_modules(adapt(model, AdapterConfig(targets="qkvo", towers="both")))
    vision = [n for n in names if n.startswith("visual.")]
    assert vision
    assert len(vision) < len(names)
    return {target: sum(n.endswith(f".{target}") for n in names) for target in "qkvo"}


@pytest.mark.parametrize(
    ("name", "each"),
    [
        ("ViT-B-32", 24),
        ("EVA02-B-16", 24),
        ("EVA01-g-14", 52),
        ("ViT-B-16-SigLIP", 24),
        ("ViT-B-16-SigLIP2", 24),
        ("PE-Core-B-16", 36),
        ("ViTamin-S", 26),
        ("swin_base_patch4_window7_224", 36),
        ("vit_relpos_medium_patch16_cls_224", 24),
        ("coca_ViT-B-32", 24),
    ],
)
def test_q_k_v_and_o_of_both_towers(name: str, each: int) -> None:
    assert _adapt_everywhere(name) == dict.fromkeys("qkvo", each)


@pytest.mark.parametrize(
    ("name", "message"),
    [("RN50", "the vision tower of this CLIP has no blocks of a known layout"), ("convnext_base", "has no q k v o")],
)
def test_a_tower_without_attention_is_refused_by_name(name: str, message: str) -> None:
    with pytest.raises(AdapterError, match=message):
        adapt(_meta(name), AdapterConfig(targets="qkvo"))
    model = adapt(_meta(name), AdapterConfig(targets="qkvo", towers="text"))
    assert len(adapted_modules(model)) == 48


@pytest.mark.slow
def test_every_name_of_open_clip_is_adapted_as_asked_or_refused() -> None:
    for name in open_clip.list_models():
        refused = re.fullmatch(WITHOUT_ATTENTION, name)
        with pytest.raises(AdapterError) if refused else nullcontext():
            counts = _adapt_everywhere(name)
            assert counts is None or len(set(counts.values())) == 1, name


def test_eva_adds_its_biases_outside_of_the_adapted_layer() -> None:
    """timm's EVA uses the fused weight directly when q and v have biases: the adapter must be called nevertheless."""
    torch.manual_seed(0)
    options: dict[str, Any] = {"img_size": 28, "depth": 2, "embed_dim": 32, "num_heads": 2, "num_classes": 0}
    plain = timm.create_model("eva_giant_patch14_224", **options).eval()
    for block in plain.blocks:
        assert block.attn.q_bias is not None
        block.attn.q_bias.data.normal_()
    x = images(2, 28)
    before = plain(x)
    model: Any = adapt(plain, AdapterConfig(targets="qkvo"))
    assert relative(model(x), before) < 1e-6
    moved = perturb(model)(x)
    assert relative(moved, before) > 1e-2
    assert relative(merge(model)(x), moved) < 1e-6
    assert not model.blocks[0].attn.qkv_bias_separate
    assert torch.equal(remove(model)(x), before)


def test_a_tower_that_is_named_must_be_there(tiny: Callable[[], Any]) -> None:
    assert len(adapted_modules(adapt(tiny().visual, AdapterConfig()))) == 8
    with pytest.raises(AdapterError, match="asks for a text tower, which this VisionTransformer does not have"):
        adapt(tiny().visual, AdapterConfig(towers="both"))
    with pytest.raises(AdapterError, match="asks for a decoder tower"):
        adapt(tiny(), AdapterConfig(towers="all"))


def test_layers_beyond_the_last_are_refused(tiny: Callable[[], Any]) -> None:
    assert len(adapted_modules(adapt(tiny(), AdapterConfig(layers="0-2")))) == 20  # the text tower has a third block
    with pytest.raises(AdapterError, match="end behind the 3 blocks"):
        adapt(tiny(), AdapterConfig(layers="0-3"))
    with pytest.raises(AdapterError, match="end behind the 2 blocks"):
        adapt(tiny(), AdapterConfig(layers="0-2", towers="vision"))


def test_a_target_that_a_block_lacks_is_named(tiny: Callable[[], Any]) -> None:
    with pytest.raises(AdapterError, match=r"resblocks.0 of this CLIP has no in_proj.*mlp.c_fc"):
        adapt(tiny(), AdapterConfig(targets=("q", "in_proj")))
    model = tiny()
    adapt(model, AdapterConfig(targets="all-linear"))  # takes what there is
    assert len(adapted_modules(model)) == 30


ATTN = "visual.transformer.resblocks.{}.attn.{}"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"targets": r"visual\..*\.attn\.[qv]"}, {ATTN.format(i, t) for i in (0, 1) for t in "qv"}),
        (
            {"targets": ["q", "c_fc"], "towers": "vision", "layers": "0"},
            {ATTN.format(0, "q"), *(f"{t}transformer.resblocks.{i}.mlp.c_fc.fc1" for t, n in (("visual.", 2), ("", 3))
                                    for i in range(n))},
        ),
        (
            {"targets": "qkv", "towers": "vision", "exclude": r".*\.1\.attn\.[qk]"},
            {*(ATTN.format(0, t) for t in "qkv"), ATTN.format(1, "v")},
        ),
        ({"targets": "qv", "towers": "vision", "exclude": ["attn.q"]}, {ATTN.format(i, "v") for i in (0, 1)}),
        ({"targets": (), "patterns": (ATTN.format(0, "q"), ATTN.format(0, "o"))}, {ATTN.format(0, t) for t in "qo"}),
        ({"targets": "q", "towers": "vision", "patterns": (ATTN.format(0, "v"),)},
         {ATTN.format(0, "q"), ATTN.format(1, "q"), ATTN.format(0, "v")}),
    ],
)  # fmt: skip
def test_lists_regular_expressions_and_exclusions(
    tiny: Callable[[], Any], options: dict[str, Any], expected: set[str]
) -> None:
    model = adapt(tiny(), AdapterConfig(**options))
    found = {name.replace("mlp.c_fc.linear", "mlp.c_fc.fc1") for name in adapted_modules(model)}
    assert found == expected


def test_excluding_everything_is_refused(tiny: Callable[[], Any]) -> None:
    with pytest.raises(AdapterError, match="with exclusions"):
        adapt(tiny(), AdapterConfig(exclude=".*"))


def test_names_of_peft_lead_to_ours() -> None:
    with pytest.raises(AdapterError, match=r"peft's lora_alpha is alpha here; peft's r is rank here"):
        AdapterConfig(r=8, lora_alpha=16)  # type: ignore[call-arg]
    with pytest.raises(AdapterError, match=r"peft's target_modules is targets"):
        AdapterConfig(target_modules=["q_proj"])  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="unknown keys"):
        AdapterConfig(ranks=8)  # type: ignore[call-arg]
    assert issubclass(AdapterError, UserError)


def test_the_package_needs_torch_numpy_and_safetensors_alone() -> None:
    code = (
        "import sys; import torch, numpy, safetensors.torch; before = set(sys.modules); import clipbench.adapters; "
        "print(*sorted({n for n in set(sys.modules) - before if n.split('.')[0] not in sys.stdlib_module_names}))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    allowed = ("clipbench", "clipbench.errors", "clipbench.files")
    extra = [n for n in found if n not in allowed and not n.startswith(("clipbench.adapters", "torch", "numpy"))]
    assert extra == []
