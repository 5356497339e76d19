"""Folders of transformers' CLIPModel and SiglipModel as weights: features and adapters' gradients against theirs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from clipbench.adapters import AdapterConfig, adapt, adapted_modules
from clipbench.errors import MissingWeightsError
from clipbench.models.image_text import ImageText, load_image_text
from clipbench.models.weights.sources import Sources, weights_file

transformers = pytest.importorskip("transformers")
SIDE = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 2}
IMAGES = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
PROMPTS = ["a photo of a cat.", "a photo of a very old dog.", "cat"]


def redrawn(model: Any) -> Any:
    """Weights that no tower can mistake: transformers' own draw leaves biases at zero and norms at one."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "logit" not in name:
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    torch.manual_seed(0)
    made = transformers.CLIPModel(
        transformers.CLIPConfig(
            text_config={**SIDE, "max_position_embeddings": 77, "vocab_size": 49408, "eos_token_id": 49407},
            vision_config={**SIDE, "image_size": 64, "patch_size": 16},
            projection_dim=64,
        )
    )
    folder = tmp_path_factory.mktemp("clip")
    redrawn(made).save_pretrained(folder)
    config = {
        "embed_dim": 64,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "patch_size": 16, "head_width": 32},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
    }
    (folder / "small.json").write_text(json.dumps(config))
    return made, folder


@pytest.fixture(scope="module")
def siglip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """On timm's ViT-B/16 at 224 px, as open_clip's configurations are; two blocks of text."""
    torch.manual_seed(0)
    made = transformers.SiglipModel(
        transformers.SiglipConfig(
            text_config={**SIDE, "max_position_embeddings": 12, "vocab_size": 100, "hidden_size": 768},
            vision_config={
                "hidden_size": 768,
                "intermediate_size": 3072,
                "num_hidden_layers": 12,
                "num_attention_heads": 12,
                "image_size": 224,
                "patch_size": 16,
            },
        )
    )
    with torch.no_grad():
        made.logit_scale.fill_(4.7)
        made.logit_bias.fill_(-12.9)
    folder = tmp_path_factory.mktemp("siglip")
    redrawn(made).save_pretrained(folder)
    from tests.models.test_any_clip import tokeniser_folder

    tokeniser_folder(folder)
    config = {
        "embed_dim": 768,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": {
            "image_size": 224,
            "timm_model_name": "vit_base_patch16_siglip_224",
            "timm_pool": "map",
            "timm_proj": "none",
        },
        "text_cfg": {
            "context_length": 12,
            "vocab_size": 100,
            "hf_tokenizer_name": "nobody/tokeniser",
            "width": 768,
            "heads": 2,
            "layers": 2,
            "mlp_ratio": 1 / 3,
            "no_causal_mask": True,
            "proj_bias": True,
            "pool_type": "last",
            "norm_kwargs": {"eps": 1e-6},
        },
    }
    (folder / "small.json").write_text(json.dumps(config))
    return made, folder


def loaded(folder: Path) -> ImageText:
    return load_image_text("small@0", "sha256:0", Sources(folder / "small.json", weights_file(folder)))


def same(found: Tensor, due: Tensor) -> None:
    """To 1e-5 of the norm."""
    assert (found - due).norm() <= 1e-5 * due.norm()


def feature(output: Any) -> Tensor:
    """Of ``get_image_features``: a tensor in older versions, an output with ``pooler_output`` in newer ones."""
    found: Tensor = output if isinstance(output, Tensor) else output.pooler_output
    return found


@torch.no_grad()
def test_clips_features_are_transformers(clip: tuple[Any, Path]) -> None:
    theirs, folder = clip
    ours = loaded(folder)
    prompts = ours.prompts(PROMPTS)
    same(ours.encode_image(IMAGES), feature(theirs.get_image_features(pixel_values=IMAGES)))
    same(ours.encode_text(prompts)[0], feature(theirs.get_text_features(input_ids=prompts.ids)))
    same(ours.logit_scale, theirs.logit_scale.exp())


@torch.no_grad()
def test_siglips_features_scale_and_bias_are_transformers(siglip: tuple[Any, Path]) -> None:
    theirs, folder = siglip
    ours = loaded(folder)
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    prompts = ours.prompts(PROMPTS)
    assert prompts.ids.shape == (3, 12)
    image, text = ours.encode_image(images), ours.encode_text(prompts)[0]
    same(image, feature(theirs.get_image_features(pixel_values=images)))
    same(text, feature(theirs.get_text_features(input_ids=prompts.ids)))
    normed = [torch.nn.functional.normalize(f, dim=-1) for f in (image, text)]
    assert ours.logit_bias is not None
    logits = ours.logit_scale * normed[0] @ normed[1].T + ours.logit_bias
    torch.testing.assert_close(logits, theirs(input_ids=prompts.ids, pixel_values=images).logits_per_image)


def test_gradients_of_adapters_are_those_on_transformers_own_model(clip: tuple[Any, Path]) -> None:
    """LoRA in every projection of both towers: fused here, separate there."""
    theirs, folder = clip
    ours = loaded(folder)
    import copy

    separate = copy.deepcopy(theirs)
    config = AdapterConfig("lora", 2, targets="qkvo", towers="both", init_seeds=(0,))
    for model in (ours.module, separate):
        adapt(model, config)
    pairs = _paired(adapted_modules(ours.module), adapted_modules(separate))
    assert len(pairs) == 2 * 2 * 4
    with torch.no_grad():
        for one, other in pairs:
            one.B.copy_(0.1 * torch.randn(one.B.shape, generator=torch.Generator().manual_seed(2)))
            other.A.copy_(one.A)
            other.B.copy_(one.B)
    for model in (ours.module, separate):
        model.double()
    prompts, images = ours.prompts(PROMPTS), IMAGES.double()
    mix = torch.randn(3, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    image, text = ours.encode_image(images), ours.encode_text(prompts)[0]
    ((image + text) * mix).sum().backward()
    image = feature(separate.get_image_features(pixel_values=images))
    text = feature(separate.get_text_features(input_ids=prompts.ids))
    ((image + text) * mix).sum().backward()
    for one, other in pairs:
        for name in ("A", "B"):
            found, due = getattr(one, name).grad, getattr(other, name).grad
            assert (found - due).norm() <= 1e-9 * due.norm()


def _paired(fused: dict[str, Any], separate: dict[str, Any]) -> list[tuple[Any, Any]]:
    """Adapters of the same projection; they are in the same order within a tower and block."""

    def key(name: str) -> tuple[bool, int, str]:
        number = next(int(word) for word in name.split(".") if word.isdigit())
        last = {"q_proj": "q", "k_proj": "k", "v_proj": "v", "out_proj": "o"}
        words = name.split(".")
        letter = words[-1] if words[-1] in "qkvo" and len(words[-1]) == 1 else last[words[-2]]
        return ("vis" in name, number, letter)

    left, right = ({key(name): module for name, module in found.items()} for found in (fused, separate))
    assert left.keys() == right.keys()
    return [(left[k], right[k]) for k in left]


def test_a_clip_without_quickgelu_is_refused_for_weights_that_need_it(clip: tuple[Any, Path], tmp_path: Path) -> None:
    _, folder = clip
    config = json.loads((folder / "small.json").read_text())
    (tmp_path / "small.json").write_text(json.dumps({**config, "quick_gelu": False}))
    with pytest.raises(
        MissingWeightsError, match=r"QuickGELU \(transformers' config.json beside it says so\), but small has plain"
    ):
        load_image_text("small@0", "sha256:0", Sources(tmp_path / "small.json", weights_file(folder)))
