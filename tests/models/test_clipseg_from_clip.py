"""CLIPSeg on the towers of a CLIP: the towers give what open_clip gives, the decoder trains, and misfits are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from clipbench.errors import UserError
from clipbench.models.clip import load_model
from clipbench.models.clipseg import load
from clipbench.models.clipseg.load import load_clipseg
from clipbench.models.clipseg.network import Segmenter
from clipbench.models.clipseg.training import free
from clipbench.models.weights.sources import Sources

pytest.importorskip("transformers")

CONFIG: dict[str, Any] = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 48, "layers": 5, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 3},
}


def _with(**vision: Any) -> dict[str, Any]:
    return {**CONFIG, "vision_cfg": {**CONFIG["vision_cfg"], **vision}}


def _text(**text: Any) -> dict[str, Any]:
    return {**CONFIG, "text_cfg": {**CONFIG["text_cfg"], **text}}


def _sources(tmp_path: Path, config: dict[str, Any]) -> Sources:
    """A config file and a file of weights, as a user has them."""
    name = f"clip_{abs(hash(json.dumps(config)))}"
    path = tmp_path / f"{name}.json"
    path.write_text(json.dumps(config))
    model = load_model(f"{name}@0", "random", Sources(config=path), seed=3)
    with torch.no_grad():
        for parameter in model.parameters():  # what is drawn as ones or zeros would hide a mix-up
            parameter.add_(torch.randn_like(parameter) * 0.05)
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    return Sources(config=path, weights=tmp_path / "weights.safetensors")


CONFIGS = {
    "gelu": CONFIG,
    "quickgelu": {**CONFIG, "quick_gelu": True},
    "no norm before": _with(no_ln_pre=True),
    "patch of 8": _with(patch_size=8, image_size=32),
    "another eps": _with(norm_kwargs={"eps": 1e-2}),
    "another eps of the text": _text(norm_kwargs={"eps": 1e-2}),
    "tanh": {**_with(act_kwargs={"approximate": "tanh"}), "text_cfg": _text(act_kwargs={})["text_cfg"]},
    "tanh in the text": _text(act_kwargs={"approximate": "tanh"}),
    "four blocks": _with(layers=4),
    "end token named": _text(pool_type="eos", eos_id=49407),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_the_towers_give_what_open_clip_gives(tmp_path: Path, case: str) -> None:
    """Image and text features of random inputs, to 1e-5."""
    sources = _sources(tmp_path, CONFIGS[case])
    plain = load_model("clip@0", "sha256:0", sources).eval()
    found = load_clipseg("clip@0", "sha256:0", sources)
    model: Any = found.module
    assert found.image_size == CONFIGS[case]["vision_cfg"]["image_size"]
    images = torch.randn(2, 3, found.image_size, found.image_size)
    tokens = open_clip.SimpleTokenizer(context_length=77)(["a polyp", "one large tumour in the breast"])
    with torch.no_grad():
        vision = model.clip.vision_model(images, interpolate_pos_encoding=True).pooler_output
        torch.testing.assert_close(
            model.clip.visual_projection(vision), plain.encode_image(images), rtol=1e-5, atol=1e-5
        )
        text = model.clip.text_projection(model.clip.text_model(tokens).pooler_output)
        torch.testing.assert_close(text, plain.encode_text(tokens), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", CONFIGS)
def test_a_map_of_the_images_size_whose_decoder_learns(tmp_path: Path, case: str) -> None:
    found = load_clipseg("clip@0", "sha256:0", _sources(tmp_path, CONFIGS[case]))
    free(found.module, encoder_gradient=False)
    network, side = Segmenter(found.module, encoder_gradient=False), found.image_size
    images, ids = torch.randn(3, 3, side, side), torch.tensor([[49406, 33980, 49407]] * 3)
    optimizer, losses = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=1e-2), []
    truth = (images.mean(1) > 0).float()
    for _ in range(15):
        logits = network(images, ids)
        assert logits.shape == (3, side, side)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_the_blocks_that_are_read_are_those_of_rd64() -> None:
    found: Any = load_clipseg("ViT-B-16-quickgelu", "random")
    assert found.module.extract_layers in ([3, 6, 9], (3, 6, 9))
    assert sum(p.numel() for p in found.module.parameters()) == 150_747_746  # rd64 itself
    assert found.module.config.vision_config.hidden_act == "quick_gelu"
    assert found.normalisation("backbone") == (
        (0.48145466, 0.4578275, 0.40821073),
        (0.26862954, 0.26130258, 0.27577711),
    )


ODD = "no plain CLIP whose towers CLIPSeg could take: "
BUILDS: dict[str, tuple[dict[str, Any], str]] = {
    "pool_type of the image": (_with(pool_type="avg"), "it needs open_clip's own ViT, read at its class token"),
    "context": (_text(context_length=32), "it needs .* a text tower for CLIP's 49408 tokens"),
    "LayerScale": (_with(ls_init_value=0.1), "its blocks scale their outputs"),
    "LayerScale of the text": (_text(ls_init_value=0.1), "its blocks scale their outputs"),
    "three blocks": (_with(layers=3), "its ViT has 3 blocks, .* it needs 4"),
    "two blocks": (_with(layers=2), "its ViT has 2 blocks"),
    "rectangle": (_with(image_size=[48, 64]), "its images of 64 x 48 px are no squares"),
    "further parts": (_with(qk_norm=True), "it has '.*', which they have not"),
    "parts that lack": (_text(proj_type="none"), ".*Missing key"),
    "no_causal_mask": (_text(no_causal_mask=True), ".* other text features by"),
    "pool_type last": (_text(pool_type="last"), ".* other text features by"),
    "pool_type first": (_text(pool_type="first"), ".* other text features by"),
    "pool_type eos": (_text(pool_type="eos"), ".* other text features by"),
}


@pytest.mark.parametrize("case", BUILDS)
def test_a_clip_of_another_build_is_refused(tmp_path: Path, case: str) -> None:
    """In one paragraph, whether its parts tell or only its numbers."""
    config, said = BUILDS[case]
    with pytest.raises(UserError, match=ODD + said) as error:
        load_clipseg("odd@0", "random", Sources(config=_sources(tmp_path, config).config))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600


@pytest.mark.parametrize("part", ["visual.transformer.resblocks.3.ln_2", "ln_final"])
def test_towers_that_differ_in_one_norm_are_refused_by_their_numbers(
    monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    clip = load_model("clipbench-tiny", "embedded")
    clip.get_submodule(part).eps = 1e-1
    monkeypatch.setattr(load, "load_model", lambda *_, **__: clip)
    kind = "image" if part.startswith("visual") else "text"
    with pytest.raises(UserError, match=ODD + rf"with the same weights .* other {kind} features by [\d.e-]+% "):
        load_clipseg("clipbench-tiny", "embedded")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_a_clip_of_any_precision_passes(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype) -> None:
    clip = load_model("clipbench-tiny", "embedded").to(dtype)
    monkeypatch.setattr(load, "load_model", lambda *_, **__: clip)
    found = load_clipseg("clipbench-tiny", "embedded")
    assert {p.dtype for p in found.module.parameters()} == {torch.float32}
