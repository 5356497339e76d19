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
from clipbench.models.clipseg.load import load_clipseg
from clipbench.models.clipseg.network import Segmenter
from clipbench.models.clipseg.training import free
from clipbench.models.sources import Sources

pytest.importorskip("transformers")

CONFIG: dict[str, Any] = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 48, "layers": 5, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 3},
}


def _with(**vision: Any) -> dict[str, Any]:
    return {**CONFIG, "vision_cfg": {**CONFIG["vision_cfg"], **vision}}


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


@pytest.mark.parametrize(
    "config",
    [
        _with(pool_type="avg"),
        _with(ls_init_value=0.1),
        {**CONFIG, "text_cfg": {**CONFIG["text_cfg"], "context_length": 32}},
    ],
)
def test_a_clip_of_another_build_is_refused(tmp_path: Path, config: dict[str, Any]) -> None:
    path = tmp_path / f"odd_{abs(hash(json.dumps(config)))}.json"
    path.write_text(json.dumps(config))
    with pytest.raises(UserError, match="no plain CLIP whose towers CLIPSeg could take"):
        load_clipseg("odd@0", "random", Sources(config=path))
