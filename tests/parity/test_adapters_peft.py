"""Values and gradients against peft, which nobody here wrote: nn.Linear and Hugging Face's CLIP, LoRA and DoRA."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from open_clip.model import CLIP
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel

from clipbench.adapters import AdapterConfig, AdapterError, adapt, adapted_modules, load, merge, remove, save, set_rank
from tests.adapters.models import perturb, relative

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


# --- peft's folders ---


def _clip(seed: int = 0) -> Any:
    sizes: dict[str, Any] = {
        "hidden_size": 48, "intermediate_size": 96, "num_attention_heads": 4, "num_hidden_layers": 2,
    }  # fmt: skip
    vision, text = {**sizes, "image_size": 16, "patch_size": 8}, {**sizes, "vocab_size": 64, "eos_token_id": 63}
    torch.manual_seed(seed)
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)).eval()


NAMES = ["q_proj", "k_proj", "v_proj", "out_proj"]
FOLDERS: dict[str, Any] = {
    "lora": lambda: peft.LoraConfig(
        r=4, lora_alpha=6, target_modules=NAMES, rank_pattern={"v_proj": 2}, alpha_pattern={"1.self_attn.q_proj": 3}
    ),
    "rslora": lambda: peft.LoraConfig(r=4, lora_alpha=6, target_modules=["q_proj", "fc1"], use_rslora=True),
    "dora": lambda: peft.LoraConfig(r=4, lora_alpha=6, target_modules=NAMES, use_dora=True),
    "vera": lambda: peft.VeraConfig(r=8, target_modules=NAMES, projection_prng_key=3),
    "adalora": lambda: peft.AdaLoraConfig(
        init_r=4, target_r=2, total_step=10, tinit=1, tfinal=1, deltaT=1, lora_alpha=6, target_modules=NAMES
    ),
}


def _random(theirs: Any) -> Any:
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter) * (parameter if "magnitude" in name else 1))
    return theirs.eval()


@pytest.mark.parametrize("kind", FOLDERS)
def test_folders_of_peft_are_read_and_written(kind: str, tmp_path: Path) -> None:
    """peft to us, us to peft, and back again: outputs equal to 1e-6."""
    theirs = _random(peft.get_peft_model(_clip(), FOLDERS[kind]()))
    theirs.save_pretrained(tmp_path / "theirs")
    pixels, ids = torch.randn(2, 3, 16, 16), torch.randint(1, 63, (3, 9))
    with torch.no_grad():
        expected = _features(theirs, pixels, ids)
        ours = load(_clip(), tmp_path / "theirs")
        assert relative(_features(ours, pixels, ids), expected) < 1e-6
        save(ours, tmp_path / "ours", format="peft")
        again = peft.PeftModel.from_pretrained(_clip(), tmp_path / "ours").eval()
        assert relative(_features(again, pixels, ids), expected) < 1e-6
        assert relative(_features(load(_clip(), tmp_path / "ours"), pixels, ids), expected) < 1e-6
        native = load(_clip(), save(ours, tmp_path / "native"))
        assert relative(_features(native, pixels, ids), expected) < 1e-6
        assert relative(_features(merge(ours), pixels, ids), expected) < 1e-5


def test_pruned_ranks_of_adalora(tmp_path: Path) -> None:
    """After pruning peft stores only the triplets that are left, and the scale of all."""
    theirs = _random(peft.get_peft_model(_clip(), FOLDERS["adalora"]()))
    torch.manual_seed(2)
    pixels, ids = torch.randn(2, 3, 16, 16), torch.randint(1, 63, (3, 9))
    for step in range(9, 10):
        _features(theirs, pixels, ids).square().sum().backward()
        theirs.base_model.rankallocator.update_ipt(theirs.base_model.model)
        theirs.base_model.update_and_allocate(step)
    assert theirs.peft_config["default"].rank_pattern
    theirs.save_pretrained(tmp_path / "theirs")
    with torch.no_grad():
        ours = load(_clip(), tmp_path / "theirs")
        assert relative(_features(ours, pixels, ids), _features(theirs, pixels, ids)) < 1e-6
    branches = adapted_modules(ours)
    kept = [int(branch.get_buffer("kept").sum()) for branch in branches.values()]
    assert sum(kept) == 2 * len(kept)
    save(ours, tmp_path / "ours", format="peft")
    with torch.no_grad():
        again = peft.PeftModel.from_pretrained(_clip(), tmp_path / "ours").eval()
        assert relative(_features(again, pixels, ids), _features(theirs, pixels, ids)) < 1e-6


@pytest.mark.parametrize("kind", ["lora", "dora", "vera", "adalora"])
def test_separate_projections_land_in_fused_ones(kind: str, tmp_path: Path) -> None:
    """A folder trained on Hugging Face's CLIP, loaded into open_clip's CLIP of the same weights; and back."""
    plain = _clip()
    theirs = _random(peft.get_peft_model(copy.deepcopy(plain), FOLDERS[kind]()))
    theirs.save_pretrained(tmp_path / "theirs")
    ours: Any = load(_same_open_clip(plain), tmp_path / "theirs")
    pixels = torch.randn(2, 3, 16, 16)
    ids = torch.tensor([[1, 5, 7, 2, 63, 0, 0, 0], [1, 9, 63, 0, 0, 0, 0, 0]])
    with torch.no_grad():
        images, texts = theirs.vision_model(pixels), theirs.text_model(ids)
        assert relative(ours.encode_image(pixels), theirs.visual_projection(images.pooler_output)) < 1e-5
        assert relative(ours.encode_text(ids), theirs.text_projection(texts.pooler_output)) < 1e-5
        save(ours, tmp_path / "ours", format="peft")
        again = peft.PeftModel.from_pretrained(_clip(), tmp_path / "ours").eval()
        found, wanted = again.vision_model(pixels).pooler_output, images.pooler_output
        assert relative(found, wanted) < 1e-6


def _same_open_clip(model: Any) -> Any:
    vision = {"layers": 2, "width": 48, "head_width": 12, "image_size": 16, "patch_size": 8}
    text = {"layers": 2, "width": 48, "heads": 4, "context_length": 8, "vocab_size": 64}
    found = CLIP(24, {**vision, "mlp_ratio": 2.0}, {**text, "mlp_ratio": 2.0}, quick_gelu=True).eval()
    source, state = model.state_dict(), {}
    for tower, ours, theirs in (("vision", "visual.", "vision_model."), ("text", "", "text_model.")):
        for i in range(2):
            a, b = f"{ours}transformer.resblocks.{i}.", f"{theirs}encoder.layers.{i}."
            for end in ("weight", "bias"):
                parts = [source[f"{b}self_attn.{n}_proj.{end}"] for n in "qkv"]
                state[f"{a}attn.in_proj_{end}"] = torch.cat(parts)
                for new, old in {
                    "attn.out_proj": "self_attn.out_proj", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2",
                    "ln_1": "layer_norm1", "ln_2": "layer_norm2",
                }.items():  # fmt: skip
                    state[f"{a}{new}.{end}"] = source[f"{b}{old}.{end}"]
        assert tower in {"vision", "text"}
    for end in ("weight", "bias"):
        state[f"visual.ln_pre.{end}"] = source[f"vision_model.pre_layrnorm.{end}"]
        state[f"visual.ln_post.{end}"] = source[f"vision_model.post_layernorm.{end}"]
        state[f"ln_final.{end}"] = source[f"text_model.final_layer_norm.{end}"]
    state |= {
        "visual.class_embedding": source["vision_model.embeddings.class_embedding"],
        "visual.conv1.weight": source["vision_model.embeddings.patch_embedding.weight"],
        "visual.positional_embedding": source["vision_model.embeddings.position_embedding.weight"],
        "visual.proj": source["visual_projection.weight"].T,
        "token_embedding.weight": source["text_model.embeddings.token_embedding.weight"],
        "positional_embedding": source["text_model.embeddings.position_embedding.weight"][:8],
        "text_projection": source["text_projection.weight"].T,
        "logit_scale": source["logit_scale"],
    }
    found.load_state_dict(state, strict=False)
    return found


class _Headed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.classifier = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.body(x))  # type: ignore[no-any-return]


def test_a_trained_head_goes_with_the_adapter_both_ways(tmp_path: Path) -> None:
    config = peft.LoraConfig(r=2, lora_alpha=2, target_modules=["body"], modules_to_save=["classifier"])
    theirs = _random(peft.get_peft_model(_Headed(), config))
    theirs.save_pretrained(tmp_path / "theirs")
    x = torch.randn(4, 8)
    ours = load(_Headed(), tmp_path / "theirs")
    assert relative(ours(x), theirs(x)) < 1e-6
    assert ours.classifier.weight.requires_grad
    save(ours, tmp_path / "ours", format="peft")
    again = peft.PeftModel.from_pretrained(_Headed(), tmp_path / "ours").eval()
    assert relative(again(x), theirs(x)) < 1e-6


@pytest.mark.parametrize("kind", ["lora+", "dylora", "qlora"])
def test_kinds_that_peft_lacks_become_lora(kind: str, tmp_path: Path) -> None:
    ours: Any = adapt(_clip(), AdapterConfig(kind, 4, init="pissa" if kind == "lora+" else "kaiming-uniform-sqrt5"))
    perturb(ours)
    if kind == "dylora":
        set_rank(ours, 3)
    pixels, ids = torch.randn(2, 3, 16, 16), torch.randint(1, 63, (3, 9))
    with torch.no_grad():
        save(ours, tmp_path / "ours", format="peft")
        base = _clip() if kind != "qlora" else remove(copy.deepcopy(ours))
        theirs = peft.PeftModel.from_pretrained(base, tmp_path / "ours").eval()
        assert relative(_features(theirs, pixels, ids), _features(ours, pixels, ids)) < 2e-6


def test_pissa_is_that_of_peft() -> None:
    """The same start (up to signs), the same output after a step, and the same gradients."""
    plain = nn.Sequential(nn.Linear(24, 20))
    config = peft.LoraConfig(r=4, lora_alpha=6, target_modules=["0"], init_lora_weights="pissa")
    theirs = peft.get_peft_model(copy.deepcopy(plain), config)
    ours = adapt(plain, AdapterConfig("lora", 4, 6.0, targets="", patterns=("0",), init="pissa"))
    layer = theirs.base_model.model[0]
    A, B = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    branch: Any = adapted_modules(ours)["0.linear"]
    assert relative(branch.B[0] @ branch.A[0], B @ A) < 1e-5
    for target in (branch.A, branch.A0):
        target.data[0] = A.data  # peft's signs
    for target in (branch.B, branch.B0):
        target.data[0] = B.data
    with torch.no_grad():
        for ours_p, theirs_p in ((branch.A, A), (branch.B, B)):
            noise = 0.1 * torch.randn_like(theirs_p)
            theirs_p.add_(noise)
            ours_p[0].add_(noise)
    x = torch.randn(5, 24)
    _check(theirs(x), ours(x), [(A, branch.A), (B, branch.B)])


def test_folders_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    theirs = peft.get_peft_model(_clip(), peft.LoraConfig(r=2, target_modules=NAMES, init_lora_weights="pissa"))
    theirs.save_pretrained(tmp_path / "pissa")
    with pytest.raises(AdapterError, match="changes the base's weights"):
        load(_clip(), tmp_path / "pissa")
    peft.get_peft_model(_clip(), peft.LoHaConfig(r=2, target_modules=NAMES)).save_pretrained(tmp_path / "loha")
    with pytest.raises(AdapterError):
        load(_clip(), tmp_path / "loha")
    peft.get_peft_model(_clip(), FOLDERS["lora"]()).save_pretrained(tmp_path / "lora")
    with pytest.raises(AdapterError, match="has no such layer"):
        load(nn.Sequential(nn.Linear(3, 3)), tmp_path / "lora")
    config = json.loads((tmp_path / "lora" / "adapter_config.json").read_text())
    for change in ({"r": "x"}, {"lora_alpha": None}, {"peft_type": 3}, {"alpha_pattern": {"q_proj": "x"}}):
        (tmp_path / "lora" / "adapter_config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(AdapterError):
            load(_clip(), tmp_path / "lora")
    model = adapt(_clip(), AdapterConfig("dora", norm_axis="input"))
    with pytest.raises(AdapterError, match="cannot be written"):
        save(model, tmp_path / "columns", format="peft")
    with pytest.raises(AdapterError, match="not one of"):
        save(model, tmp_path / "a", format="zip")  # type: ignore[arg-type]
