"""Folders that peft saves with odd options, and what it loads of ours: outputs are those of peft's own reload."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import safetensors.torch
import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel

from clipbench.adapters import AdapterConfig, AdapterError, adapt, load, save, set_active
from tests.adapters.models import images, perturb, relative

_SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
_VISION = {**_SIZES, "image_size": 16, "patch_size": 8}
_TEXT = {**_SIZES, "vocab_size": 64, "max_position_embeddings": 12, "eos_token_id": 63}
_QKVO = ["q_proj", "k_proj", "v_proj", "out_proj"]


def _clip() -> Any:
    torch.manual_seed(0)
    return CLIPModel(CLIPConfig(text_config=_TEXT, vision_config=_VISION, projection_dim=16)).eval()


def _siglip() -> Any:
    torch.manual_seed(0)
    return SiglipModel(SiglipConfig(text_config=_TEXT, vision_config=_VISION)).eval()


@torch.no_grad()
def _outputs(model: nn.Module) -> Tensor:
    ids = torch.arange(24).view(2, 12) + 2
    found = model.eval()(input_ids=ids, pixel_values=images(2))
    return torch.cat([found.image_embeds, found.text_embeds])


def _saved(model: nn.Module, config: Any, folder: Path) -> Path:
    torch.manual_seed(1)
    perturb(peft.get_peft_model(model, config)).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("build", [_clip, _siglip])
@pytest.mark.parametrize(
    "config",
    [
        peft.LoraConfig(r=4, target_modules=_QKVO, bias="all"),
        peft.LoraConfig(r=4, target_modules=_QKVO, alpha_pattern={"v_proj": 3, "layers.1.self_attn.v_proj": 5}),
        peft.VeraConfig(r=8, target_modules=_QKVO, save_projection=False),
    ],
    ids=["biases", "two patterns", "vera without projections"],
)
def test_round_trips(build: Callable[[], Any], config: Any, tmp_path: Path) -> None:
    """SigLIP's last attention never calls its output projection as a layer: what peft puts there does nothing."""
    theirs = _saved(build(), config, tmp_path / "theirs")
    want = _outputs(peft.PeftModel.from_pretrained(build(), theirs))
    ours = load(build(), theirs)
    assert relative(_outputs(load(ours, theirs)), want) < 1e-6  # into a plain and into an adapted model
    save(ours, tmp_path / "ours", format="peft")
    assert relative(_outputs(peft.PeftModel.from_pretrained(build(), tmp_path / "ours")), want) < 1e-6


def test_a_fused_attention_of_peft_is_refused(tmp_path: Path) -> None:
    def build() -> CLIP:
        torch.manual_seed(0)
        vision = CLIPVisionCfg(layers=2, width=32, head_width=8, patch_size=8, image_size=16)
        return CLIP(16, vision, CLIPTextCfg(context_length=12, vocab_size=64, width=32, heads=4, layers=2)).eval()

    folder = _saved(build(), peft.LoraConfig(r=4, target_modules=["attn"]), tmp_path)
    with pytest.raises(AdapterError, match=r"adapts the whole nn.MultiheadAttention .*attn, which cannot be loaded"):
        load(build(), folder)


def test_trained_biases_have_peft_s_gradients(tmp_path: Path) -> None:
    ours = perturb(adapt(_clip(), AdapterConfig("dora", 4)))
    for name, parameter in ours.named_parameters():
        parameter.requires_grad_(parameter.requires_grad or name.endswith("proj.bias"))
    save(ours, tmp_path, format="peft")
    theirs = peft.PeftModel.from_pretrained(_clip(), tmp_path)
    assert relative(_outputs(theirs), _outputs(ours)) < 1e-6
    for model in (ours, theirs):
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.endswith("bias"))
        model.get_image_features(pixel_values=images(2)).pooler_output[:, 0].sum().backward()
    found = {n.removeprefix("base_model.model.").replace(".base_layer", ""): p for n, p in theirs.named_parameters()}
    pairs = [(p.grad, found[n].grad) for n, p in ours.named_parameters() if p.grad is not None]
    assert len(pairs) > 8
    assert all(relative(mine, grad) < 1e-4 for mine, grad in pairs if grad.norm() > 1e-7)


def test_what_cannot_be_loaded_is_said(tmp_path: Path) -> None:
    folder = _saved(_clip(), peft.LoraConfig(r=4, target_modules=["q_proj"]), tmp_path / "peft")
    tensors, config = folder / "adapter_model.safetensors", folder / "adapter_config.json"
    values, plain = safetensors.torch.load_file(tensors), json.loads(config.read_text())
    want = _outputs(load(_clip(), tensors))
    for changed, message in (
        ({"peft_type": "PROMPT_TUNING"}, "kind PROMPT_TUNING"),
        ({"layer_replication": [[1, 2], [0, 1]]}, "peft's layer_replication"),
        ({"use_dora": True}, "a LORA of peft with this adapter_config.json has A, B, magnitude"),
        ({"alpha_pattern": {"(": 1}}, "does not describe an adapter of peft"),
        ({"r": 9}, "no number in it has rank 9"),
    ):
        config.write_text(json.dumps(plain | changed))
        with pytest.raises(AdapterError, match=message):
            load(_clip(), folder)
    config.write_text(json.dumps(plain | {"of_a_newer_peft": {"a": 1}}))
    tensors.unlink()
    torch.save(values, folder / "adapter_model.bin")
    assert torch.equal(_outputs(load(_clip(), folder)), want)
    torch.save({"a": Path()}, folder / "adapter_model.bin")
    with pytest.raises(AdapterError, match="holds something other than tensors"):
        load(_clip(), folder)
    with pytest.raises(AdapterError, match=r"has no adapter_config.json.*it holds peft"):
        load(_clip(), tmp_path)


def test_each_set_keeps_what_was_trained_beside_it(tmp_path: Path) -> None:
    model, outputs = _clip(), {}
    for name, seed in (("pets", 1), ("cars", 2)):
        adapt(model, AdapterConfig(rank=2, towers="vision", also_trained="visual_projection"), name)
        outputs[name] = _outputs(perturb(model, seed))
    adapt(model, AdapterConfig(rank=2), "third")
    assert not model.visual_projection.weight.requires_grad
    for name, want in outputs.items():
        set_active(model, name)
        assert torch.equal(_outputs(model), want)
        save(model, tmp_path / name)
        assert torch.equal(_outputs(load(_clip(), tmp_path / name)), want)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rank_pattern": {"fc3": 2}}, "rank_pattern: .*fc3.* matches the whole name of no adapted matrix"),
        ({"exclude": "q_prj"}, "exclude: .*q_prj"),
    ],
)
def test_what_matches_nothing_is_said(values: dict[str, Any], message: str) -> None:
    with pytest.raises(AdapterError, match=message):
        adapt(_clip(), AdapterConfig(**values))
    with pytest.raises(AdapterError, match="LoraConfig is no AdapterConfig"):
        adapt(_clip(), peft.LoraConfig(r=4))  # type: ignore[arg-type]
