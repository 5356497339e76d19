"""Values and gradients against peft, which nobody here wrote: nn.Linear and Hugging Face's CLIP, LoRA and DoRA."""

from __future__ import annotations

import copy
from typing import Any

import peft
import pytest
import torch
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel

from clipbench.adapters import AdapterConfig, adapt, adapted_modules
from tests.adapters.models import relative

TOLERANCE = 1e-5
KINDS = pytest.mark.parametrize("kind", ["lora", "dora"])


def _peft(model: nn.Module, kind: str, targets: Any, rank: int, alpha: float, rslora: bool = False) -> Any:
    config = peft.LoraConfig(
        r=rank, lora_alpha=alpha, target_modules=targets, use_dora=kind == "dora", use_rslora=rslora, lora_dropout=0.0
    )
    theirs = peft.get_peft_model(model, config)
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter) if "magnitude" not in name else 0.1 * parameter)
    return theirs


def _their_parameters(theirs: Any) -> dict[str, dict[str, nn.Parameter]]:
    """Name of the linear layer to A, B and magnitude."""
    found = {}
    for name, module in theirs.base_model.model.named_modules():
        if isinstance(module, peft.tuners.lora.Linear):
            found[name] = {"A": module.lora_A["default"].weight, "B": module.lora_B["default"].weight}
            if len(module.lora_magnitude_vector):
                found[name]["magnitude"] = module.lora_magnitude_vector["default"].weight
    return found


def _copy_over(theirs: Any, ours: nn.Module) -> list[tuple[nn.Parameter, nn.Parameter]]:
    """Copy peft's numbers into our adapters; returns the pairs (peft's, ours)."""
    layers = _their_parameters(theirs)
    pairs = []
    for name, adapter in adapted_modules(ours).items():
        for key, parameter in adapter.named_parameters():
            source = layers[name.rsplit(".", 1)[0]][key]
            parameter.data[0].copy_(source.data)
            pairs.append((source, parameter))
    assert len(pairs) == sum(len(layer) for layer in layers.values())
    return pairs


def _check(theirs: Tensor, ours: Tensor, pairs: list[tuple[nn.Parameter, nn.Parameter]]) -> None:
    assert relative(ours, theirs) < TOLERANCE
    target = torch.randn_like(theirs)
    (theirs * target).sum().backward()
    (ours * target).sum().backward()
    for peft_parameter, parameter in pairs:
        assert peft_parameter.grad is not None
        assert parameter.grad is not None
        assert relative(parameter.grad[0], peft_parameter.grad) < TOLERANCE


@KINDS
@pytest.mark.parametrize("rslora", [False, True])
def test_linear_layers(kind: Any, rslora: bool) -> None:
    plain = nn.Sequential(nn.Linear(96, 80), nn.GELU(), nn.Linear(80, 64, bias=False))
    theirs = _peft(copy.deepcopy(plain), kind, ["0", "2"], 4, 6.0, rslora)
    scaling: Any = "alpha/sqrt(r)" if rslora else "alpha/r"
    ours = adapt(plain, AdapterConfig(kind, 4, 6.0, scaling, targets="", patterns=("0", "2")))
    pairs = _copy_over(theirs, ours)
    x = torch.randn(2, 5, 96, requires_grad=True)
    y = x.detach().clone().requires_grad_(True)
    _check(theirs(x), ours(y), pairs)
    assert x.grad is not None
    assert y.grad is not None
    assert relative(y.grad, x.grad) < TOLERANCE


def test_dora_with_dropout(monkeypatch: Any) -> None:
    """The same mask in both: W x stays whole, (m/norm - 1) W x and the low-rank term see the dropped input."""
    plain = nn.Sequential(nn.Linear(96, 80))
    theirs = _peft(copy.deepcopy(plain), "dora", ["0"], 4, 6.0).train()
    ours = adapt(plain, AdapterConfig("dora", 4, 6.0, targets="", patterns=("0",), dropout=0.25)).train()
    pairs = _copy_over(theirs, ours)
    mask = torch.randint(0, 2, (1, 10, 96), dtype=torch.uint8)
    dropped = nn.Module()
    dropped.forward = lambda x: x * mask[0].view_as(x) / 0.75  # type: ignore[method-assign]
    theirs.base_model.model[0].lora_dropout["default"] = dropped
    monkeypatch.setattr(ours.get_submodule("0"), "_masks", lambda *_: (0.75, [mask]))
    x = torch.randn(2, 5, 96)
    _check(theirs(x), ours(x), pairs)


@KINDS
def test_hugging_face_clip(kind: Any) -> None:
    sizes: dict[str, Any] = {
        "hidden_size": 48,
        "intermediate_size": 96,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
    }
    vision, text = {**sizes, "image_size": 16, "patch_size": 8}, {**sizes, "vocab_size": 64, "eos_token_id": 63}
    torch.manual_seed(0)
    plain = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)).eval()
    names = r".*(q_proj|k_proj|v_proj|out_proj|fc1|fc2)"
    theirs = _peft(copy.deepcopy(plain), kind, names, 4, 6.0).eval()
    ours: Any = adapt(plain, AdapterConfig(kind, 4, 6.0, targets="all-linear"))
    pairs = _copy_over(theirs, ours)
    pixels, ids = torch.randn(2, 3, 16, 16), torch.randint(1, 63, (3, 9))
    _check(*(_features(model, pixels, ids) for model in (theirs, ours)), pairs)


def _features(model: Any, pixels: Tensor, ids: Tensor) -> Tensor:
    vision, text = model.vision_model(pixels).pooler_output, model.text_model(ids).last_hidden_state
    return torch.cat([vision.flatten(), text.flatten()])
