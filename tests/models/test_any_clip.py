"""Every model of open_clip takes prompts or is refused by name; text towers of all kinds against open_clip's own."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip
import pytest
import timm
import torch
from torch import Tensor

from clipbench.errors import MissingWeightsError, UserError
from clipbench.models import image_size
from clipbench.models.clip import build
from clipbench.models.image_text import ImageText, load_image_text
from clipbench.models.model_config import check_text, packaged_config, read_config
from clipbench.models.towers import TextTower, vision_tower
from clipbench.models.weights import hub
from clipbench.models.weights.sources import Sources

NAMES = open_clip.list_models()
CONFIGS = {name: read_config(packaged_config(name)) for name in NAMES}
REFUSED = {name for name, config in CONFIGS.items() if "hf_model_name" in config["text_cfg"]}


def kind(config: Mapping[str, Any]) -> str:
    """What tells architectures apart: who builds the image tower, how it is pooled, how the text tower is read."""
    vision, text = config["vision_cfg"], config["text_cfg"]
    if trunk := vision.get("timm_model_name"):
        image = f"{timm.model_entrypoint(trunk).__module__} {vision.get('timm_pool')} {vision.get('timm_proj')}"
    else:
        image = f"{type(vision['layers'])} {vision.get('pool_type')} {vision.get('attentional_pool')}"
    words = {k: text.get(k) for k in ("pool_type", "no_causal_mask", "embed_cls", "proj_type", "proj_bias")}
    return f"{image} {words} {config.get('custom_text')} {'multimodal_cfg' in config}"


def smallest_of_each_kind() -> list[str]:
    """One name per kind of architecture: the kinds are some twenty, and the largest models take long even so."""
    found: dict[str, str] = {}
    for name in sorted(set(NAMES) - REFUSED, key=lambda name: (CONFIGS[name]["embed_dim"], image_size(name), name)):
        found.setdefault(kind(CONFIGS[name]), name)
    return sorted(found.values())


def test_every_name_takes_prompts_or_is_refused_before_anything_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (len(NAMES), len(REFUSED)) == (144, 10)
    monkeypatch.setattr("clipbench.models.image_text.load_model", None)
    for name, config in CONFIGS.items():
        assert image_size(name) == open_clip.get_model_config(name)["vision_cfg"].get("image_size", 224)
        if name in REFUSED:
            with pytest.raises(UserError, match=f"{name} cannot be used with prompts: its text tower is transformers'"):
                load_image_text(name, "random")
        else:
            check_text(name, config)


@pytest.mark.parametrize("name", smallest_of_each_kind())
def test_both_towers_of_every_kind_give_features_of_one_width(name: str) -> None:
    """Shapes, on the meta device: whatever the image tower is, and however the text is read."""
    config = CONFIGS[name]
    text, vision = {**config["text_cfg"], "layers": 1}, config["vision_cfg"]
    vision = {**vision, "layers": 1} if isinstance(vision.get("layers"), int) else vision
    context = text.get("context_length", 77)
    with torch.device("meta"):
        model = build({**config, "text_cfg": text, "vision_cfg": vision}, name)
        images = torch.zeros(2, 3, image_size(name), image_size(name))
        assert vision_tower(model.visual).encode(images).shape == (2, config["embed_dim"])
        tower = TextTower(getattr(model, "text", model))
        ids, ends = torch.zeros(3, context, dtype=torch.long), torch.zeros(3, dtype=torch.long)
        assert tower.encode(tower.embed(ids), ids, ends).shape == (3, config["embed_dim"])
    assert tower.output_width == config["embed_dim"]


TEXTS = {
    "last position": {"pool_type": "last", "no_causal_mask": True, "proj_bias": True, "norm_kwargs": {"eps": 1e-6}},
    "no projection": {"pool_type": "last", "no_causal_mask": True, "proj_type": "none", "width": 32},
    "end token": {"pool_type": "eos", "eos_id": 3},
    "not causal": {"no_causal_mask": True},
    "class token": {"embed_cls": True, "output_tokens": True, "context_length": 76},
    "first": {"pool_type": "first", "no_causal_mask": True},
}
PROMPTS = ["a photo of a cat.", "a photo of a dog that is very very old.", "cat"]


def tokeniser_folder(folder: Path) -> None:
    """A small tokeniser in transformers' form: words, an end token 3, padding 1."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = sorted({word for prompt in PROMPTS for word in prompt.replace(".", " .").split()})
    vocabulary = {word: i for i, word in enumerate(["<unk>", "<pad>", "<s>", "</s>", *words])}
    made = Tokenizer(models.WordLevel(vocabulary, "<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 3)])
    special = dict(zip(("unk_token", "pad_token", "eos_token"), ("<unk>", "<pad>", "</s>"), strict=True))
    PreTrainedTokenizerFast(tokenizer_object=made, **special).save_pretrained(folder)


def small(
    folder: Path, text: Mapping[str, Any], *, custom: bool = True, **more: Any
) -> tuple[Path, Path, dict[str, Any]]:
    """A config and random weights of it, with logit scale and bias that are no defaults."""
    from safetensors.torch import save_file

    hub_tokens = text.get("pool_type") in ("last", "eos", "first")
    config: dict[str, Any] = {
        "embed_dim": 32,
        "custom_text": custom,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "patch_size": 8, "head_width": 16},
        "text_cfg": {"context_length": 20, "width": 48, "heads": 2, "layers": 2, **text},
        **more,
    }
    if hub_tokens:
        config["text_cfg"]["hf_tokenizer_name"] = "nobody/tokeniser"
        tokeniser_folder(folder)
    if text.get("embed_cls"):
        config["multimodal_cfg"] = {"width": 32, "heads": 2, "layers": 1, "context_length": 76}
    torch.manual_seed(3)
    model = build(config, "small")
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    path, weights = folder / "small.json", folder / "model.safetensors"
    path.write_text(json.dumps(config))
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, weights)
    return path, weights, config


def loaded(path: Path, weights: Path) -> ImageText:
    return load_image_text("small@0", "sha256:0", Sources(config=path, weights=weights))


@pytest.mark.parametrize("word", TEXTS)
def test_prompts_are_read_as_open_clip_reads_them(word: str, tmp_path: Path) -> None:
    """Features and every gradient in float64, to 1e-9, with the tokens of the model's own tokeniser."""
    path, weights, config = small(tmp_path, TEXTS[word])
    made = loaded(path, weights)
    model: Any = made.module.double().requires_grad_(True)
    tokens = _tokens(config, tmp_path)
    due = model.text(tokens)
    due = due[0] if isinstance(due, tuple) else due
    found = made.encode_text(made.prompts(PROMPTS), replicas=2)
    assert found.shape == (2, 3, 32)
    mix = torch.randn(found.shape[1:], dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    trained = list(model.text.parameters())
    ours = torch.autograd.grad((found[1] * mix).sum(), trained, allow_unused=True)
    theirs = torch.autograd.grad((due * mix).sum(), trained, allow_unused=True)
    torch.testing.assert_close(found[0], due, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found[1], due, rtol=1e-9, atol=1e-9)
    assert [g is None for g in ours] == [g is None for g in theirs]
    for a, b in zip(ours, theirs, strict=True):
        if a is not None and b is not None:
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def _tokens(config: Mapping[str, Any], folder: Path) -> Tensor:
    text = config["text_cfg"]
    if "hf_tokenizer_name" in text:
        from open_clip.tokenizer import HFTokenizer

        found: Tensor = HFTokenizer(str(folder), context_length=text["context_length"])(PROMPTS)
        return found
    return open_clip.tokenize(PROMPTS, text["context_length"])


def test_a_prompt_that_is_too_long_is_refused_whatever_the_tokeniser(tmp_path: Path) -> None:
    path, weights, _ = small(tmp_path, TEXTS["last position"])
    made = loaded(path, weights)
    assert made.prompts(["cat " * 19]).ids.shape == (1, 20)
    with pytest.raises(UserError, match=r"'cat cat .*' does not fit into the 20 tokens of small@0"):
        made.prompts(["a cat", "cat " * 20])


def test_scale_and_bias_are_the_checkpoints(tmp_path: Path) -> None:
    path, weights, _ = small(tmp_path, TEXTS["last position"], init_logit_bias=-10)
    made = loaded(path, weights)
    model: Any = made.module
    assert made.logit_bias is not None
    assert float(made.logit_bias) == float(model.logit_bias.detach())
    assert float(made.logit_scale) == pytest.approx(float(model.logit_scale.detach().exp()))


def test_siglip_without_its_tokeniser_says_so_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The hub's client would try for minutes; nothing is built before."""
    monkeypatch.setattr(hub, "_reachable", lambda _: False)
    monkeypatch.setattr("clipbench.models.image_text.load_model", None)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        MissingWeightsError, match=r"the tokeniser timm/ViT-B-16-SigLIP of ViT-B-16-SigLIP could not be"
    ):
        load_image_text("ViT-B-16-SigLIP", "random")


@pytest.mark.parametrize(
    ("name", "mean"),
    [("ViT-B-16-SigLIP", 0.5), ("MobileCLIP-S1", 0.0), ("ViT-B-32", 0.48145466), ("ViT-L-14", 0.48145466)],
)
def test_mean_and_std_are_those_of_the_tags(name: str, mean: float) -> None:
    """Of all tags alike; ViT-L-14 has tags with another mean, and then CLIP's stands."""
    preprocessing = importlib.import_module("clipbench.models.preprocessing")
    assert preprocessing.mean_and_std(name, "random", None)[0][0] == mean


def test_mean_and_std_stated_beside_the_weights_are_taken(tmp_path: Path) -> None:
    path, weights, config = small(tmp_path, {})
    stated = {"model_cfg": config, "preprocess_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.5, 0.5]}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(stated))
    assert loaded(path, weights).mean == (0.1, 0.2, 0.3)
