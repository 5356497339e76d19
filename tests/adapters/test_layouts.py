"""Every layout of the table: fused timm, separate Hugging Face, MambaVision, name patterns; and the papers' counts."""

from __future__ import annotations

import copy
from typing import Any

import open_clip
import pytest
import timm
import torch
from torch import Tensor, nn

from clipbench.adapters import AdapterConfig, adapt, adapted_modules, merge, summary, trainable_parameters
from clipbench.errors import UserError
from tests.adapters.models import images, perturb, relative

KINDS = pytest.mark.parametrize("kind", ["lora", "dora"])


def _timm() -> Any:
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2, embed_dim=48, num_heads=3, num_classes=0)
    return model.eval()


@KINDS
@pytest.mark.parametrize("targets", ["qkvo", "qv", "all-linear"])
def test_timm_adapts_q_k_and_v_of_the_fused_layer_one_by_one(kind: Any, targets: str) -> None:
    plain, x = _timm(), images(3, 32)
    model = adapt(_timm(), AdapterConfig(kind, 3, targets=targets))
    with torch.no_grad():
        assert relative(model(x), plain(x)) < 1e-6
        names = {name.removeprefix("blocks.0.") for name in adapted_modules(model) if name.startswith("blocks.0.")}
        trained = perturb(model)(x)
        merge(model)
        assert relative(model(x), trained) < 2e-6
    plain.load_state_dict(model.state_dict(), strict=True)
    fused = {f"attn.qkv.{t}" for t in "qkv" if t in targets or targets == "all-linear"}
    rest = {"qkvo": {"attn.proj.o"}, "qv": set(), "all-linear": {"attn.proj.o", "mlp.fc1.fc1", "mlp.fc2.fc2"}}
    assert names == fused | rest[targets]


@KINDS
def test_timm_replicas_are_separate_models(kind: Any) -> None:
    x = images(4, 32)
    joint = perturb(adapt(_timm(), AdapterConfig(kind, replicas=2, init_seeds=(1, 2))))
    singles = [merge(copy.deepcopy(joint), replica=r) for r in range(2)]
    assert relative(joint(x), torch.cat([m(part) for m, part in zip(singles, x.chunk(2), strict=True)])) < 2e-6


def test_timm_inside_open_clip() -> None:
    with torch.device("meta"):
        model = open_clip.create_model("ViT-B-16-SigLIP", pretrained=None, device="meta")
    adapters = adapted_modules(adapt(model, AdapterConfig(towers="both")))
    assert sum(name.startswith("visual.trunk.blocks.") for name in adapters) == 48
    assert sum(name.startswith("text.transformer.resblocks.") for name in adapters) == 48


HF: dict[str, Any] = {"hidden_size": 24, "intermediate_size": 48, "num_attention_heads": 2, "num_hidden_layers": 3}


def _clipseg() -> nn.Module:
    transformers = pytest.importorskip("transformers")
    vision, text = {**HF, "image_size": 16, "patch_size": 8}, {**HF, "vocab_size": 64}
    config = transformers.CLIPSegConfig(
        text_config=text, vision_config=vision, projection_dim=12, reduce_dim=8, extract_layers=[0, 1, 2],
        decoder_num_attention_heads=2, decoder_intermediate_size=16,
    )  # fmt: skip
    model: nn.Module = transformers.CLIPSegForImageSegmentation(config)
    return model


@pytest.mark.parametrize(("towers", "count"), [("vision", 12), ("text", 12), ("both", 24), ("all", 36)])
def test_clipseg(towers: Any, count: int) -> None:
    assert len(adapted_modules(adapt(_clipseg(), AdapterConfig(towers=towers)))) == count


def test_a_hugging_face_tower_alone() -> None:
    transformers = pytest.importorskip("transformers")
    model = transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**HF, image_size=16, patch_size=8))
    assert len(adapted_modules(adapt(model, AdapterConfig(towers="vision", layers="1-2")))) == 8


class _Mixer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.in_proj, self.out_proj = nn.Linear(12, 24, bias=False), nn.Linear(24, 12, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.out_proj(self.in_proj(x).tanh())  # type: ignore[no-any-return]


class _Block(nn.Module):
    def __init__(self, attention: bool) -> None:
        super().__init__()
        self.mixer = timm.layers.Attention(12, 2, qkv_bias=True) if attention else _Mixer()
        self.mlp = timm.layers.Mlp(12, 24)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mixer(x)
        return x + self.mlp(x)  # type: ignore[no-any-return]


def _mamba_like() -> nn.Module:
    """A level of MambaVision: state-space mixers first, attention after them."""
    torch.manual_seed(0)
    level = nn.ModuleDict({"blocks": nn.Sequential(_Block(False), _Block(True))})
    return nn.ModuleDict({"levels": nn.ModuleList([level])})


@KINDS
def test_mambavision_blocks(kind: Any) -> None:
    model, x = _mamba_like(), torch.randn(2, 5, 12)
    run: Any = model.get_submodule("levels.0.blocks")
    plain = run(x)
    adapt(model, AdapterConfig(kind, 2, targets="all-linear", towers="vision"))
    assert relative(run(x), plain) < 1e-6
    names = {name.removeprefix("levels.0.blocks.") for name in adapted_modules(model)}
    mixer = {"0.mixer.in_proj.in_proj", "0.mixer.out_proj.out_proj"}
    attention = {f"1.mixer.qkv.{t}" for t in "qkv"} | {"1.mixer.proj.o"}
    assert names == mixer | attention | {f"{i}.mlp.fc{j}.fc{j}" for i in (0, 1) for j in (1, 2)}


def test_patterns_reach_any_linear_layer() -> None:
    model = adapt(_mamba_like(), AdapterConfig("dora", 2, targets=(), patterns=(r".*\.mixer\.(in|out)_proj",)))
    assert list(adapted_modules(model)) == [f"levels.0.blocks.0.mixer.{n}_proj.linear" for n in ("in", "out")]
    with pytest.raises(UserError, match=r"matches the whole name of no nn.Linear"):
        adapt(_mamba_like(), AdapterConfig(targets=(), patterns=("mixer",)))


def test_a_pattern_must_not_reach_inside_a_fused_attention() -> None:
    holder = nn.ModuleDict({"attn": nn.MultiheadAttention(8, 2, batch_first=True)})
    with pytest.raises(UserError, match="never calls"):
        adapt(holder, AdapterConfig(targets=(), patterns=(r".*out_proj",)))


def test_a_model_without_known_blocks_is_refused_and_told_of_patterns() -> None:
    with pytest.raises(UserError, match=r"no blocks of a known layout.*`patterns` can name any"):
        adapt(nn.Sequential(nn.Linear(2, 2)), AdapterConfig())


def _meta(name: str, config: AdapterConfig) -> tuple[int, nn.Module]:
    with torch.device("meta"):
        model = open_clip.create_model(name, pretrained=None, device="meta")
    return trainable_parameters(adapt(model, config)).total, model


@pytest.mark.parametrize(
    ("name", "kind", "targets", "total"),
    [
        ("ViT-B-16-quickgelu", "lora", "qkv", 184_320),
        ("ViT-B-32-quickgelu", "lora", "qkv", 184_320),
        ("ViT-B-16-quickgelu", "dora", "qkvo", 307_200),
        ("ViT-L-14-quickgelu", "lora", "qkv", 405_504),
        ("ViT-L-14-quickgelu", "dora", "qkvo", 675_840),
    ],
)
def test_counts_of_the_few_shot_papers(name: str, kind: Any, targets: str, total: int) -> None:
    """PROTOCOLS 1.2: CLIP-LoRA (q, k, v) and CLIP-DoRA (q, k, v, o) at rank 2."""
    assert _meta(name, AdapterConfig(kind, 2, 1.0, targets=targets))[0] == total


@pytest.mark.parametrize(
    ("rank", "total", "percent"),
    [(4, 786_432, 0.27), (8, 1_572_864, 0.53), (16, 3_145_728, 1.04), (32, 6_291_456, 2.04)],
)
def test_counts_of_lora_clip(rank: int, total: int, percent: float) -> None:
    """PROTOCOLS 5.2: with the head, trained / (frozen without projection + trained) is what LoRA-CLIP prints."""
    found, model = _meta("ViT-L-14-quickgelu", AdapterConfig("lora", rank, 2.0 * rank, towers="vision"))
    assert found == total
    visual: Any = model.get_submodule("visual")
    frozen = sum(p.numel() for p in visual.parameters() if not p.requires_grad)
    for classes, projection in ((30, 0), (31, 0), (45, 1)):
        trained = total + 1024 * classes + classes
        assert round(100 * trained / (frozen - (1 - projection) * visual.proj.numel() + trained), 2) == percent


def test_summary_is_a_table_per_tower() -> None:
    text = summary(_meta("ViT-B-16-quickgelu", AdapterConfig("dora", 2, 1.0, "alpha/sqrt(r)", replicas=3))[1])
    assert "dora, rank 2, scale 0.707107 (alpha/sqrt(r)), replicas 3" in text
    assert "| vision  | 0-11     | q k v o   |         48 |      184,320 |" in text
    assert "| text    | 0-11     | q k v o   |         48 |      122,880 |" in text
    assert "trained 307,200 of 149,927,937 (0.205 %)" in text
