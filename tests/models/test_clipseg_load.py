"""Loading CLIPSeg: random draws, files and folders, and one paragraph for everything that can be wrong."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from clipbench.errors import MissingWeightsError, UserError
from clipbench.models.clipseg.configs import ARCHITECTURES, SMALL_CLIPSEG, TINY_CLIPSEG
from clipbench.models.clipseg.load import build, load_clipseg
from clipbench.models.weights.sources import Sources, named_weights

HUB = "CIDAS/clipseg-rd64-refined"


@pytest.fixture
def transformers() -> Any:
    return pytest.importorskip("transformers")


@pytest.fixture
def tensors(transformers: Any) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in load_clipseg(TINY_CLIPSEG, "random", seed=5).module.state_dict().items()}


@pytest.mark.parametrize("name", [TINY_CLIPSEG, SMALL_CLIPSEG])
def test_random_models(transformers: Any, name: str) -> None:
    """The seed decides, torch's own generator is left alone, and a fresh map is near one half everywhere."""
    before = torch.get_rng_state()
    first, again, other = (load_clipseg(name, "random", seed=seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert first.weights_sha256 == again.weights_sha256 != other.weights_sha256
    pixels = torch.randn(2, 3, first.image_size, first.image_size)
    ids = torch.tensor([[49406, 33980, 49407]] * 2)
    with torch.no_grad():
        logits = first.module(pixel_values=pixels, input_ids=ids).logits
    assert logits.shape == (2, first.image_size, first.image_size)
    assert logits.abs().max() < 5


def test_rd64_has_the_shape_of_its_checkpoint(transformers: Any) -> None:
    with torch.device("meta"):
        model: Any = build(ARCHITECTURES["clipseg-rd64-refined"].sizes)
    assert sum(p.numel() for p in model.parameters()) == 150_747_746
    assert model.clip.vision_model.embeddings.position_embedding.weight.shape == (197, 768)
    assert model.extract_layers in ([3, 6, 9], (3, 6, 9))


@pytest.mark.parametrize("prefix", ["", "module.", "net.clipseg."])
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_file(tensors: dict[str, torch.Tensor], tmp_path: Path, prefix: str, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    named = {prefix + key: value for key, value in tensors.items()}
    save_file(named, path) if suffix == ".safetensors" else torch.save({"state_dict": named, "epoch": 3}, path)
    loaded = load_clipseg(TINY_CLIPSEG, "sha256:0", Sources(weights=path))
    assert loaded.weights == "sha256:0"
    for key, value in loaded.module.state_dict().items():
        assert torch.equal(value, tensors[key]), key


def test_a_folder_and_the_buffers_of_old_checkpoints(tensors: dict[str, torch.Tensor], tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match="holds no weights"):
        load_clipseg(TINY_CLIPSEG, "x", Sources(weights=tmp_path))
    old = dict(tensors)
    for tower, length in (("text", 77), ("vision", 17)):
        old[f"clip.{tower}_model.embeddings.position_ids"] = torch.arange(length).expand(1, -1).clone()
    torch.save(old, tmp_path / "pytorch_model.bin")
    assert named_weights(str(tmp_path)) == named_weights(str(tmp_path / "pytorch_model.bin"))
    loaded = load_clipseg(TINY_CLIPSEG, "x", Sources(weights=tmp_path))
    assert torch.equal(loaded.module.state_dict()["clip.logit_scale"], tensors["clip.logit_scale"])
    assert all(torch.equal(v, tensors[k]) for k, v in loaded.module.state_dict().items())


def test_a_file_that_does_not_fit(tensors: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(tensors, path)
    with pytest.raises(MissingWeightsError, match=SMALL_CLIPSEG):
        load_clipseg(SMALL_CLIPSEG, "x", Sources(weights=path))
    path.write_bytes(b"no tensors")
    with pytest.raises(MissingWeightsError, match="does not hold"):
        load_clipseg(TINY_CLIPSEG, "x", Sources(weights=path))


def test_no_network(transformers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(_: str) -> None:
        raise OSError("We couldn't connect to the hub.\nMore lines.")

    monkeypatch.setattr(transformers.CLIPSegForImageSegmentation, "from_pretrained", offline)
    with pytest.raises(MissingWeightsError, match=r"could not be fetched .*couldn't connect.* --weights FILE"):
        load_clipseg("clipseg-rd64-refined", HUB)


def test_from_the_hub(transformers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def fetched(name: str) -> Any:
        asked.append(name)
        return load_clipseg(TINY_CLIPSEG, "random", seed=9).module.half()

    monkeypatch.setattr(transformers.CLIPSegForImageSegmentation, "from_pretrained", fetched)
    loaded = load_clipseg("clipseg-rd64-refined", HUB)
    assert asked == [HUB]
    assert (loaded.image_size, loaded.patch) == (352, 16)
    assert {p.dtype for p in loaded.module.parameters()} == {torch.float32}


def test_names_and_tags_that_do_not_exist(transformers: Any) -> None:
    with pytest.raises(UserError, match="Did you mean clipseg-rd64-refined"):
        load_clipseg("clipseg-rd64", "random")
    with pytest.raises(MissingWeightsError, match="random weights only"):
        load_clipseg(TINY_CLIPSEG, "openai")
    with pytest.raises(MissingWeightsError, match="the hub's CIDAS/clipseg-rd64-refined"):
        load_clipseg("clipseg-rd64-refined", "openai")


def test_without_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match=r"pip install 'clipbench\[segmentation\]'"):
        load_clipseg(TINY_CLIPSEG, "random")


def test_sizes_and_normalisation(transformers: Any) -> None:
    loaded = load_clipseg(TINY_CLIPSEG, "random")
    loaded.check_size(352)
    with pytest.raises(UserError, match="multiple of 16 px, not 100; try 96"):
        loaded.check_size(100)
    assert loaded.normalisation("backbone") == loaded.normalisation("imagenet") != loaded.normalisation("clip")
