"""Models and weights as people have them: wrapped, of other libraries, in folders, damaged, or described wrongly."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from clipbench.errors import MissingWeightsError, UserError
from clipbench.models.clip import build, load_backbone, load_model
from clipbench.models.image_text import load_image_text
from clipbench.models.load import load_image_tower
from clipbench.models.weights.sources import Sources, named_config, named_weights
from tests.data.download.made import tarred, zipped

CONFIG: dict[str, Any] = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 32, "patch_size": 16, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return written(tmp_path / "small.json", CONFIG)


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {key: value.contiguous() for key, value in build(CONFIG, "small").state_dict().items()}


def written(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def saved(path: Path, content: Any) -> Path:
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".safetensors":
        save_file(content, path)
    else:
        torch.save(content, path)
    return path


def read(config: Path, weights: Path) -> dict[str, Tensor]:
    """What a model holds after loading that file, by the names that a command would give."""
    path, name = named_config(str(config))
    file, digest = named_weights(str(weights))
    assert name is not None
    assert digest is not None
    found: dict[str, Tensor] = load_model(name, digest, Sources(path, file)).state_dict()
    return found


def refusal(config: Path, weights: Path) -> str:
    with pytest.raises(MissingWeightsError) as error:
        read(config, weights)
    return str(error.value)


# b12: the folder of a repository of open_clip's, alone or with transformers' file beside it.


@pytest.mark.parametrize("name", ["open_clip_pytorch_model.bin", "open_clip_model.safetensors"])
@pytest.mark.parametrize("beside", [False, True])
def test_a_folder_of_open_clips_hub(
    config: Path, state: Mapping[str, Tensor], tmp_path: Path, name: str, beside: bool
) -> None:
    folder = tmp_path / "repository"
    saved(folder / name, dict(state))
    if beside:
        saved(folder / "model.safetensors", {"vision_model.post_layernorm.weight": torch.ones(3)})
    found = read(config, folder)
    assert all(torch.equal(found[key], value) for key, value in state.items())


def test_a_folder_without_weights_says_what_it_looked_for(tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    with pytest.raises(
        MissingWeightsError, match=r"hub holds no weights: none of open_clip_model.safetensors, .*bin is"
    ):
        named_weights(f"{tmp_path}/hub")


# b13: tensors of transformers (their numbers: tests/models/test_transformers_weights.py), and wrapped ones.

WRAPPED: Mapping[str, Callable[[Mapping[str, Tensor]], Any]] = {
    "model": lambda s: {"model": dict(s), "optimizer": {"lr": 0.1}, "epoch": 3},
    "state_dict": lambda s: {"state_dict": dict(s)},
    "model_state_dict": lambda s: {"model_state_dict": dict(s), "loss": 0.5},
    "twice": lambda s: {"model": {"state_dict": dict(s)}},
    "DistributedDataParallel": lambda s: {f"module.{k}": v for k, v in s.items()},
    "torch.compile": lambda s: {f"_orig_mod.{k}": v for k, v in s.items()},
    "compile in DDP": lambda s: {f"module._orig_mod.{k}": v for k, v in s.items()},
    "one compiled tower": lambda s: {k.replace("visual.", "visual._orig_mod."): v for k, v in s.items()},
    "activation checkpointing": lambda s: {
        k.replace("resblocks.0.", "resblocks.0._checkpoint_wrapped_module."): v for k, v in s.items()
    },
    "one key of any name": lambda s: {"clip_ema": dict(s), "epoch": 3},
    "a number beside the tensors": lambda s: {**s, "epoch": 3, "arch": "ViT"},
    "Lightning": lambda s: {
        "epoch": 3,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": {f"model.{k}": v for k, v in s.items()},
        "optimizer_states": [{"state": {}}],
        "hyper_parameters": {"lr": 1e-3},
    },
    "Lightning of a wrapper": lambda s: {"state_dict": {f"net.clip_model.{k}": v for k, v in s.items()}},
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_weights_in_wrappings(config: Path, state: Mapping[str, Tensor], tmp_path: Path, kind: str) -> None:
    found = read(config, saved(tmp_path / "w.pt", WRAPPED[kind](state)))
    assert all(torch.equal(found[key], value) for key, value in state.items())


def test_a_torch_file_with_the_suffix_of_another_format_is_read(
    config: Path, state: Mapping[str, Tensor], tmp_path: Path
) -> None:
    file = saved(tmp_path / "w.pt", dict(state)).rename(tmp_path / "w.safetensors")
    assert all(torch.equal(read(config, file)[key], value) for key, value in state.items())


def test_of_two_models_in_a_file_the_one_that_is_taken_is_said(
    config: Path, state: Mapping[str, Tensor], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    average = {key: value + 1 for key, value in state.items()}
    found = read(config, saved(tmp_path / "w.pt", {"model": dict(state), "model_ema": average}))
    assert torch.equal(found["visual.proj"], state["visual.proj"])
    assert "holds several models (model, model_ema); 'model' is taken" in caplog.text
    said = refusal(config, saved(tmp_path / "w2.pt", {"teacher": dict(state), "student": average}))
    assert "holds several models, under 'teacher', 'student'" in said


def shards(state: Mapping[str, Tensor], folder: Path) -> list[Path]:
    """The model in two files and an index, as transformers saves large ones."""
    names, half = list(state), len(state) // 2
    parts = [{k: state[k] for k in names[:half]}, {k: state[k] for k in names[half:]}]
    files = [saved(folder / f"model-0000{i}-of-00002.safetensors", part) for i, part in enumerate(parts, 1)]
    written(folder / "model.safetensors.index.json", {"weight_map": {}})
    return files


def test_a_model_in_several_files_comes_with_the_command_that_joins_them(
    config: Path, state: Mapping[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = shards(state, tmp_path / "hub")
    assert "is one of several that hold a model together" in refusal(config, first)
    with pytest.raises(MissingWeightsError, match="hub holds a model in several files") as error:
        named_weights(str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    exec(str(error.value).partition('python -c "')[2].removesuffix('"'), {})  # noqa: S102
    found = read(config, tmp_path / "whole.safetensors")
    assert all(torch.equal(found[key], value) for key, value in state.items())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"prompt_learner.ctx": torch.ones(4, 8)}, "learned prompts of CoOp's kind"),
        ({"base_model.model.visual.lora_A.weight": torch.ones(2, 2)}, "a low-rank adapter"),
        ({"class_embedding": torch.ones(32)}, "of the model's 62 tensors are missing"),
        ({"optimizer": {"state": {}}}, "no dictionary of tensors, but 'optimizer'"),
        ([torch.ones(3)], "no dictionary of tensors, but a list"),
    ],
)
def test_what_is_there_in_the_place_of_a_model_is_said(config: Path, tmp_path: Path, content: Any, said: str) -> None:
    assert said in refusal(config, saved(tmp_path / "w.pt", content))


def test_what_is_beside_the_model_in_a_wrapper_is_named(
    config: Path, state: Mapping[str, Tensor], tmp_path: Path
) -> None:
    content = {**{f"model.{k}": v for k, v in state.items()}, "criterion.margin": torch.ones(1)}
    assert "criterion.margin" in refusal(config, saved(tmp_path / "w.pt", content))


@pytest.mark.parametrize("custom", [True, False])
def test_text_towers_with_and_without_their_prefix(state: Mapping[str, Tensor], tmp_path: Path, custom: bool) -> None:
    """open_clip has two layouts of one architecture; a file of either fills both."""
    config = written(tmp_path / "small.json", {**CONFIG, "custom_text": custom})
    torch.manual_seed(0)
    other = build({**CONFIG, "custom_text": not custom}, "small").state_dict()
    found = read(config, saved(tmp_path / "w.safetensors", {k: v.contiguous() for k, v in other.items()}))
    mine = {key.removeprefix("text."): value for key, value in found.items()}
    assert all(torch.equal(mine[key], value) for key, value in state.items())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"GGUF\x03\x00\x00\x00", "a GGUF file"),
        (b"\x1f\x8b\x08\x00", "a gzip archive. Unpack"),
        (b'{"weight_map": {}}', "a JSON file"),
        (b"version https://git-lfs.github.com/spec/v1", "git-lfs pointer"),
        (b"", "empty"),
        (b"hello\n", "neither safetensors nor a torch file"),
        (tarred({"w.pt": b"x"}, "w"), "a tar archive. Unpack"),
        (zipped({"w.pt": b"x"}), "a zip archive of other files (w.pt). Unpack"),
        (zipped({"a.npy": b"x"}), "NumPy arrays"),
    ],
)
def test_a_file_of_another_kind_is_called_what_it_is(config: Path, tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    assert said in refusal(config, path)
    assert "weights_only" not in refusal(config, path)


# b11: a fine-tuned OpenAI model under a plain-GELU name; its logit scale says nothing.


@pytest.mark.parametrize("scale", [100.0, 99.5, 95.0])
def test_weights_without_a_stated_activation_are_warned_of(
    config: Path, state: Mapping[str, Tensor], tmp_path: Path, scale: float, caplog: pytest.LogCaptureFixture
) -> None:
    import open_clip

    for name in ("cases", "cases-quickgelu"):
        open_clip.add_model_config(written(tmp_path / f"{name}.json", {**CONFIG, "quick_gelu": name != "cases"}))
    path = saved(tmp_path / "w.safetensors", {**state, "logit_scale": torch.tensor(math.log(scale))})
    with caplog.at_level(logging.WARNING, "clipbench"):
        made = load_image_text("cases", f"sha256:{scale}", Sources(weights=path))
    assert "does not say which activation its weights were trained with" in caplog.text
    assert "use --backbone cases-quickgelu" in caplog.text
    assert made.note in caplog.text
    assert made.note


# b15: another resolution or text length.


def test_weights_of_another_resolution_are_refused_with_both_sizes(config: Path, tmp_path: Path) -> None:
    wide = build({**CONFIG, "vision_cfg": {**CONFIG["vision_cfg"], "image_size": 96}}, "wide").state_dict()
    said = refusal(config, saved(tmp_path / "w.safetensors", {k: v.contiguous() for k, v in wide.items()}))
    assert "was trained on images of 96 px, and small takes 64 px" in said
    assert "whole" not in said


def test_weights_of_another_text_length_are_refused_with_both(config: Path, tmp_path: Path) -> None:
    short = build({**CONFIG, "text_cfg": {**CONFIG["text_cfg"], "context_length": 32}}, "short").state_dict()
    said = refusal(config, saved(tmp_path / "w.safetensors", {k: v.contiguous() for k, v in short.items()}))
    assert "was made for 32 tokens, and that of small takes 77" in said


def test_weights_of_another_vocabulary_are_refused_with_both(config: Path, tmp_path: Path) -> None:
    other = build({**CONFIG, "text_cfg": {**CONFIG["text_cfg"], "vocab_size": 1000}}, "other").state_dict()
    said = refusal(config, saved(tmp_path / "w.pt", other))
    assert "has a vocabulary of 1,000 tokens, and that of small 49,408" in said


# b17: a folder that is called like a tag.


def test_a_folder_called_like_a_tag_does_not_hide_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "openai" / "clip-vit-base-patch16").mkdir(parents=True)
    assert named_weights("openai") == (None, "openai")
    (tmp_path / "openai" / "model.safetensors").write_bytes(b"weights")
    assert named_weights("openai") == (None, "openai")
    path, name = named_weights("./openai")
    assert path == tmp_path / "openai" / "model.safetensors"
    assert str(name).startswith("sha256:")
    (tmp_path / "laion2b_s34b_b79k").mkdir()  # a tag of open_clip's that no paper needs
    (tmp_path / "laion2b_s34b_b79k" / "model.safetensors").write_bytes(b"weights")
    assert named_weights("laion2b_s34b_b79k") == (None, "laion2b_s34b_b79k")
    (tmp_path / "mine").mkdir()
    assert named_weights("mine") == (None, "mine")
    (tmp_path / "mine" / "epoch_32.pt").write_bytes(b"weights")
    assert named_weights("mine")[0] == tmp_path / "mine" / "epoch_32.pt"
    (tmp_path / "mine" / "epoch_latest.pt").write_bytes(b"weights")
    with pytest.raises(MissingWeightsError, match=r"holds epoch_32\.pt, epoch_latest\.pt: name the file"):
        named_weights("./mine")
    (tmp_path / "mine" / "pytorch_model.bin").write_bytes(b"weights")
    assert named_weights("mine")[0] == tmp_path / "mine" / "pytorch_model.bin"


def test_a_link_of_the_hubs_cache_keeps_what_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "blobs" / "abc").write_bytes(b"weights")
    (tmp_path / "snapshot" / "model.safetensors").symlink_to(tmp_path / "blobs" / "abc")
    assert named_weights(str(tmp_path / "snapshot"))[0] == tmp_path / "snapshot" / "model.safetensors"


# Numbers that are no weights.


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.complex64, torch.int64, torch.uint8])
def test_tensors_of_other_types_are_refused_by_name(
    config: Path, state: Mapping[str, Tensor], tmp_path: Path, dtype: torch.dtype
) -> None:
    content = {**state, "visual.proj": state["visual.proj"].to(dtype)}
    said = refusal(config, saved(tmp_path / "w.pt", content))
    assert f"visual.proj holds {str(dtype).removeprefix('torch.')} numbers" in said


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e300])
def test_numbers_that_float32_does_not_hold_are_refused(
    config: Path, state: Mapping[str, Tensor], tmp_path: Path, value: float
) -> None:
    content = {**state, "visual.proj": torch.full_like(state["visual.proj"], value, dtype=torch.float64)}
    assert "hold NaN or infinity, visual.proj first" in refusal(config, saved(tmp_path / "w.pt", content))


def test_weights_whose_features_overflow_are_refused(config: Path, state: Mapping[str, Tensor], tmp_path: Path) -> None:
    large = {key: value * 1e30 if key.endswith("c_proj.weight") else value for key, value in state.items()}
    sources = Sources(config, saved(tmp_path / "w.safetensors", large))
    with pytest.raises(MissingWeightsError, match="the image and text features of the model overflow"):
        load_image_text("small@0", "sha256:large", sources)
    with pytest.raises(MissingWeightsError, match="the image features of the model overflow"):
        load_image_tower("small@0", "sha256:large", "patch-mean", sources)


# Model configurations that are malformed: one sentence each, and at once.


def changed(part: str, **values: Any) -> dict[str, Any]:
    return {**CONFIG, part: {**CONFIG[part], **values}} if part else {**CONFIG, **values}


MALFORMED: Mapping[str, Any] = {
    "no JSON": "{",
    "brackets": "[" * 100_000,
    "a list": [1, 2],
    "null": None,
    "no vision": {"embed_dim": 32, "text_cfg": {}},
    "vision is text": {**CONFIG, "vision_cfg": "ViT"},
    "no width of the joint space": {k: v for k, v in CONFIG.items() if k != "embed_dim"},
    "joint space of zero": changed("", embed_dim=0),
    "flag that is text": changed("", quick_gelu="yes"),
    "layers beyond reason": changed("vision_cfg", layers=10**6),
    "layers beyond reason in text": changed("text_cfg", layers=10**6),
    "fraction of layers": changed("text_cfg", layers=2.5),
    "no layers": changed("vision_cfg", layers=[]),
    "negative layers": changed("vision_cfg", layers=[1, -1, 1, 1]),
    "width as text": changed("vision_cfg", width="768"),
    "width as truth": changed("vision_cfg", width=True),
    "heads that do not divide": changed("text_cfg", heads=5),
    "head wider than the tower": changed("vision_cfg", head_width=64),
    "patch larger than the image": changed("vision_cfg", patch_size=128),
    "patch of zero": changed("vision_cfg", patch_size=0),
    "a million patches": changed("vision_cfg", patch_size=1, image_size=4096),
    "image of no size": changed("vision_cfg", image_size=math.inf),
    "image of three sides": changed("vision_cfg", image_size=[64, 64, 64]),
    "vocabulary beyond reason": changed("text_cfg", vocab_size=10**12),
    "context of NaN": changed("text_cfg", context_length=math.nan),
    "unknown key": changed("vision_cfg", depth=12),
    "unknown trunk": changed("vision_cfg", timm_model_name="vit_of_nobody"),
    "trunk that is a number": changed("vision_cfg", timm_model_name=12),
    "unknown pooling": changed("vision_cfg", pool_type="middle"),
    "wide beyond memory": changed("vision_cfg", width=16384, layers=256, head_width=64),
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_config_is_one_sentence(tmp_path: Path, kind: str) -> None:
    content, path = MALFORMED[kind], tmp_path / "mine.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    began = time.monotonic()
    for load in (load_image_text, load_backbone):
        with pytest.raises(UserError, match="mine") as error:
            load("mine@0", "random", Sources(config=path))
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 700
    assert time.monotonic() - began < 60


def test_a_vocabulary_too_small_for_the_tokens_is_said(tmp_path: Path) -> None:
    path = written(tmp_path / "small.json", changed("text_cfg", vocab_size=1000))
    made = load_image_text("small@0", "random", Sources(config=path))
    with pytest.raises(UserError, match="a vocabulary of 1000 tokens, and its tokeniser gives more"):
        made.prompts(["a cat"])


# b07: a timm image tower under CLIP's text tower.


@pytest.mark.parametrize("trunk", ["test_vit", "test_convnext", "test_resnet"])
def test_a_timm_image_tower_works(tmp_path: Path, trunk: str) -> None:
    vision = {"timm_model_name": trunk, "timm_pool": "", "timm_proj": "linear", "image_size": 160}
    path = written(tmp_path / "mine.json", {**CONFIG, "vision_cfg": vision})
    made = load_image_text("mine@0", "random", Sources(config=path))
    assert (made.image_size, made.width, made.image_layers) == (160, 32, 0)
    with torch.no_grad():
        images = torch.randn(2, 3, 160, 160)
        model: Any = made.module
        torch.testing.assert_close(made.encode_image(images), model.visual(images))
        assert made.encode_text(made.prompts(["a cat", "two dogs"])).shape == (1, 2, 32)
    with pytest.raises(UserError, match="mine@0 has no image tower that prompts could be put into"):
        made.encode_image(images, {1: torch.zeros(2, 2, 32)})
