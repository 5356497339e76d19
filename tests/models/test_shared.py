"""Jobs of one process share the reading of a model, and nothing else of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from clipbench.adapters import AdapterConfig, adapt
from clipbench.models import TINY, TINY_MAMBA, TINY_VIT, shared
from clipbench.models import clip as clips
from clipbench.models.image_text import load_image_text
from clipbench.models.load import load_backbone
from clipbench.models.weights import sources


@pytest.fixture(autouse=True)
def _nothing_kept() -> None:
    shared._models.clear()


def test_a_second_model_is_not_read_again_and_knows_nothing_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Methods put adapters into the first, train its weights and move it: the second is as it was pretrained."""
    read = list[str]()
    tiny = clips._tiny
    monkeypatch.setattr(clips, "_tiny", lambda weights: read.append(weights) or tiny(weights))
    one = load_image_text(TINY, "embedded")
    images, prompts = torch.randn(2, 3, 64, 64), one.prompts(["a cat"])
    with torch.no_grad():
        due = one.encode_image(images), one.encode_text(prompts)
        adapt(one.module, AdapterConfig("lora", 2, targets="qkvo", towers="both"))
        for parameter in one.module.parameters():
            parameter.mul_(1.5)
        other = load_image_text(TINY, "embedded")
        found = other.encode_image(images), other.encode_text(prompts)
    assert all(torch.equal(a, b) for a, b in zip(found, due, strict=True))
    assert other.weights_sha256 == one.weights_sha256
    assert other.vision.module is other.module.visual
    assert read == ["embedded"]


@pytest.mark.parametrize(("name", "weights"), [(TINY, "embedded"), (TINY_VIT, "random"), (TINY_MAMBA, "random")])
def test_towers_are_copied_with_what_they_are_made_of(name: str, weights: str) -> None:
    """The functions of a copy work on the copy's network."""
    one, other = (load_backbone(name, weights).pooled_by("token-mean") for _ in range(2))
    images = torch.randn(2, 3, one.image_size, one.image_size)
    with torch.no_grad():
        due = one.encode_image(images)
        for parameter in one.module.parameters():
            parameter.zero_()
        assert torch.equal(other.encode_image(images), due)
        assert not torch.equal(one.encode_image(images), due)


def test_one_model_is_kept_at_a_time() -> None:
    made = list[int]()

    def make(number: int) -> Any:
        made.append(number)
        return [number]

    for number in (1, 1, 2, 1):
        found = shared.copy_of(number, lambda number=number: make(number))
        assert found == [number]
        found.append(0)
    assert made == [1, 2, 1]
    assert len(shared._models) == 1


def test_a_file_is_hashed_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(b"one")
    first = sources.file_digest(path)
    with monkeypatch.context() as patch:
        patch.setattr(sources.hashlib, "file_digest", None)
        assert sources.file_digest(path) == first
    path.write_bytes(b"other")
    assert sources.file_digest(path) != first
