"""Weights of the user's own: what is refused, in one paragraph, and OpenAI's told apart from others."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
open_clip = pytest.importorskip("open_clip")
from safetensors.torch import save_file  # noqa: E402
from torch import nn  # noqa: E402

from clipbench.errors import MissingWeightsError  # noqa: E402
from clipbench.models.clip import load_backbone  # noqa: E402
from clipbench.models.weights import openai as module  # noqa: E402
from clipbench.models.weights.catalogue import checkpoints, openai_digests  # noqa: E402
from clipbench.models.weights.files import load_file_into  # noqa: E402
from clipbench.models.weights.sources import Sources  # noqa: E402

VISION = {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16}
TEXT = {"context_length": 8, "vocab_size": 50, "width": 32, "heads": 2, "layers": 1}
CONFIG: dict[str, Any] = {"embed_dim": 16, "vision_cfg": VISION, "text_cfg": TEXT}


@pytest.fixture(scope="module", autouse=True)
def _architectures(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A small CLIP that open_clip knows in both activations."""
    folder = tmp_path_factory.mktemp("configs")
    for name, more in (("acq-small", {}), ("acq-small-quickgelu", {"quick_gelu": True})):
        (folder / f"{name}.json").write_text(json.dumps(CONFIG | more))
        open_clip.add_model_config(folder / f"{name}.json")


def tensors(scale: float = 2.5) -> dict[str, Any]:
    torch.manual_seed(3)
    found = {name: value.contiguous() for name, value in open_clip.create_model("acq-small").state_dict().items()}
    return found | {"logit_scale": torch.tensor(scale)}


def saved(path: Path, values: Mapping[str, Any]) -> Path:
    if path.suffix == ".safetensors":
        save_file(dict(values), path)
    else:
        torch.save(dict(values), path)
    return path


def loaded(path: Path, name: str = "acq-small") -> Any:
    return load_backbone(name, "sha256:0", Sources(weights=path)).module


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".bin"])
def test_a_whole_file_loads(tmp_path: Path, suffix: str) -> None:
    due = tensors()
    found = loaded(saved(tmp_path / f"w{suffix}", due))
    torch.testing.assert_close(found.conv1.weight.detach(), due["visual.conv1.weight"])


def refused(path: Path, name: str = "acq-small") -> str:
    with pytest.raises(MissingWeightsError) as error:
        loaded(path, name)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_a_cut_file_is_one_paragraph(tmp_path: Path, suffix: str, share: float) -> None:
    path = saved(tmp_path / f"w{suffix}", tensors())
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert "does not hold a acq-small" in refused(path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>Sign in</html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "is a git-lfs pointer"),
        (b"hello world" * 100, "does not hold a acq-small"),
    ],
    ids=["empty", "page", "pointer", "text"],
)
def test_what_is_no_file_of_weights_says_what_it_is(tmp_path: Path, suffix: str, content: bytes, said: str) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    assert said in refused(path)
    with pytest.raises(MissingWeightsError, match=said.partition(" a acq")[0]):
        load_file_into(nn.Linear(2, 2), path, "linear")


def test_a_pickle_with_code_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return Path.touch, (Path(tmp_path / "ran"),)  # type: ignore[return-value]

    path = tmp_path / "w.pt"
    torch.save({"a": Evil()}, path)
    assert "neither safetensors nor a torch file that holds tensors only" in refused(path)
    assert not (tmp_path / "ran").exists()


def test_another_architecture_names_what_differs(tmp_path: Path) -> None:
    values = tensors()
    assert "visual.proj" in refused(saved(tmp_path / "a.safetensors", values | {"visual.proj": torch.zeros(64, 8)}))
    del values["visual.proj"]
    assert "visual.proj" in refused(saved(tmp_path / "b.safetensors", values))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    values = tensors()
    values["visual.proj"][0, 0] = value
    assert "hold NaN or infinity, visual.proj first" in refused(saved(tmp_path / "w.safetensors", values))


# OpenAI's weights


def as_openai(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The catalogue holds this file as one of OpenAI's."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    known = {digest: replace(checkpoints()[0], name="OpenAI CLIP acq-small", original_sha256=digest)}
    monkeypatch.setattr(module, "openai_digests", lambda: known)
    return path


def script(path: Path) -> Path:
    """A TorchScript archive whose parameters are those of a CLIP, with OpenAI's three numbers."""

    class Bare(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    def add(root: nn.Module, name: str, value: torch.Tensor) -> None:
        *folders, last = name.split(".")
        for folder in folders:
            if folder not in root._modules:
                root.add_module(folder, Bare())
            root = root._modules[folder]  # type: ignore[assignment]
        root.register_buffer(last, value)

    whole = Bare()
    for name, value in tensors(math.log(100.0)).items():
        add(whole, name, value)
    for number in module.NUMBERS:
        whole.register_buffer(number, torch.tensor(7))
    torch.jit.script(whole).save(str(path))
    return path


def test_openais_archive_loads_with_quickgelu_and_is_refused_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = as_openai(script(tmp_path / "ViT.pt"), monkeypatch)
    found = loaded(path, "acq-small-quickgelu")
    torch.testing.assert_close(found.conv1.weight.detach(), tensors()["visual.conv1.weight"])
    told = refused(path)
    assert "trained with QuickGELU (it is the original file of OpenAI CLIP acq-small)" in told
    assert "Use --backbone acq-small-quickgelu." in told


def test_an_archive_with_code_of_unknown_hands_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("opened"))
    assert "none of OpenAI's by its sha256" in refused(script(tmp_path / "ViT.pt"), "acq-small-quickgelu")


def test_a_state_dictionary_with_openais_numbers_needs_quickgelu(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pt", tensors() | {number: torch.tensor(7) for number in module.NUMBERS})
    loaded(path, "acq-small-quickgelu")
    assert "as only OpenAI's own files do" in refused(path)


@pytest.mark.parametrize("quick", [True, False])
def test_the_hubs_config_beside_the_file_is_believed(tmp_path: Path, quick: bool) -> None:
    path = saved(tmp_path / "open_clip_model.safetensors", tensors())
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": CONFIG | {"quick_gelu": quick}}))
    right, wrong = ("acq-small-quickgelu", "acq-small")[:: 1 if quick else -1]
    loaded(path, right)
    assert f"Use --backbone {right}." in refused(path, wrong)


@pytest.mark.parametrize(
    ("name", "scale", "warned"),
    [("acq-small", 100.0, True), ("acq-small", 70.0, True), ("acq-small-quickgelu", 100.0, False)],
)
def test_weights_that_may_be_openais_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, scale: float, warned: bool
) -> None:
    path = saved(tmp_path / "w.safetensors", tensors(math.log(scale)))
    with caplog.at_level(logging.WARNING, "clipbench"):
        loaded(path, name)
    assert ("use --backbone acq-small-quickgelu" in caplog.text) == warned


def test_the_digests_are_those_in_open_clips_addresses() -> None:
    for entry in checkpoints():
        if entry.original:
            url = open_clip.get_pretrained_cfg(entry.backbone, entry.weights)["url"]
            assert entry.original == url
            assert entry.original_sha256 in url
    assert len(openai_digests()) == 3
