"""``data synthesise`` with a tiny random Stable Diffusion, built here: nothing is downloaded."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from clipbench.cli.main import main
from clipbench.data.catalogue import entry
from clipbench.data.digests import file_digest
from clipbench.data.synthetic import MANIFEST, folder_of
from clipbench.data.synthetic.manifest import read_manifest
from clipbench.data.synthetic.recipe import Recipe, negative


def words(tmp_path: Path, *more: str) -> list[str]:
    common = ["--model", str(tmp_path / "tiny"), "--data", str(tmp_path / "data"), "--device", "cpu"]
    return ["data", "synthesise", "pacs", *common, *more]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Stable Diffusion with random weights, images of 16 x 16, in the form of the hub's folders."""
    pytest.importorskip("diffusers", reason="diffusers is not installed: pip install 'clipbench[synthesis]'")
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    letters = [*map(chr, range(33, 127))]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77)
    text = CLIPTextConfig(
        hidden_size=16, intermediate_size=16, num_attention_heads=2, num_hidden_layers=1, vocab_size=len(tokens),
        bos_token_id=len(tokens) - 2, eos_token_id=len(tokens) - 1, pad_token_id=len(tokens) - 1,
    )  # fmt: skip
    unet = UNet2DConditionModel(
        block_out_channels=(8, 16), layers_per_block=1, sample_size=8, in_channels=4, out_channels=4, norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16, attention_head_dim=2,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=[8, 8], in_channels=3, out_channels=3, latent_channels=4, norm_num_groups=4,
        down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2,
    )  # fmt: skip
    scheduler = DDIMScheduler(clip_sample=False, steps_offset=1)
    pipeline = StableDiffusionPipeline(
        vae, CLIPTextModel(text), tokenizer, unet, scheduler, None, None, requires_safety_checker=False
    )
    pipeline.save_pretrained(folder / "tiny", safe_serialization=True)
    return folder / "tiny"


@pytest.fixture
def home(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the model, whose images take two steps each."""
    (tmp_path / "tiny").symlink_to(tiny)
    monkeypatch.setattr(Recipe.__init__, "__defaults__", (*Recipe.__init__.__defaults__[:3], 2))
    return tmp_path


def test_images_with_their_manifest(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words(home, "--images", "2", "--batch", "3")) == 0
    folder = folder_of(home / "data", "pacs", "closed-set")
    assert "8 images, 8 of them made now." in capsys.readouterr().out
    found = read_manifest(folder)
    assert found.generator == {"name": str(home / "tiny"), "guidance_scale": 15.0, "steps": 2}
    assert [image.domain for image in found.images] == sorted([*entry("pacs").domains] * 2)
    assert found.images[0].prompt == "art painting of an unknown object"
    assert found.images[0].negative_prompt == "dog, elephant, giraffe, guitar, horse, house, person"
    digests = [image.sha256 for image in found.images]
    assert digests == [file_digest(folder / image.file) for image in found.images]
    assert len(set(digests)) == 8
    assert len({image.seed for image in found.images}) == 8


def test_what_was_interrupted_goes_on_to_the_same_images(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words(home, "--images", "2")) == 0
    folder = folder_of(home / "data", "pacs", "closed-set")
    whole = read_manifest(folder)
    # As a kill leaves it: an image is there that the manifest does not yet name, one is torn, one has gone.
    values = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    values["images"] = values["images"][1:]
    (folder / MANIFEST).write_text(json.dumps(values), encoding="utf-8")
    (folder / "photo/000000.png").write_bytes(b"torn")
    (folder / "sketch/000001.png").unlink()
    capsys.readouterr()
    assert main(words(home, "--images", "2", "--batch", "1", "--json")) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["images"], said["made"]) == (8, 3)
    assert [image.seed for image in read_manifest(folder).images] == [image.seed for image in whole.images]
    assert main(words(home, "--images", "2")) == 0
    assert "0 of them made now" in capsys.readouterr().out


def test_a_folder_of_another_recipe_is_left_alone(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words(home, "--images", "1", "--label-space", "odg")) == 0
    folder = folder_of(home / "data", "pacs", "odg")
    assert read_manifest(folder).images[0].negative_prompt == "dog, elephant, giraffe, guitar, horse, house"
    before = (folder / MANIFEST).read_bytes()
    assert main(words(home, "--images", "1", "--label-space", "odg", "--seed", "7")) == 2
    assert "Name the same model and seed to go on, or move the folder away" in capsys.readouterr().err
    assert (folder / MANIFEST).read_bytes() == before


def test_without_diffusers_one_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    assert main(words(tmp_path, "--images", "1")) == 2
    assert "pip install 'clipbench[synthesis]'" in capsys.readouterr().err
    assert main(["data", "synthesise", "ucm"]) == 2
    assert "ucm has no domains" in capsys.readouterr().err


def test_the_recipe_is_odg_clips() -> None:
    recipe = Recipe()
    assert (recipe.guidance_scale, recipe.steps) == (15.0, 50)
    assert recipe.model.endswith("stable-diffusion-v1-5")
    assert [recipe.positive(name) for name in ("mnist_m", "art_painting")] == [
        "mnist m of an unknown object",
        "art painting of an unknown object",
    ]
    assert negative(entry("digits_dg"), "odg") == "0, 1, 2, 3, 4, 5, 6"
