"""The Hub, by a client that keeps repositories in folders."""

# ruff: noqa: ARG002
from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clipbench.adapters import AdapterConfig, AdapterError, adapt
from clipbench.adapters.hub import Card, from_pretrained, push_to_hub
from tests.adapters.models import images, perturb, relative

CARD = Card("ViT-B-16-quickgelu, openai", "DTD, 4 shots", {"accuracy (%)": 61.25}, record="a1b2c3")


class _Hub:
    """What the code uses of ``huggingface_hub.HfApi``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> None:
        (self.folder / repo_id).mkdir(parents=True, exist_ok=exist_ok)

    def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str) -> Any:
        shutil.copytree(folder_path, self.folder / repo_id, dirs_exist_ok=True)
        return SimpleNamespace(commit_url=f"https://hub.example/{repo_id}/commit/1")

    def snapshot_download(self, repo_id: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        if not (self.folder / repo_id).is_dir():
            raise OSError(f"404: {repo_id}")
        return str(self.folder / repo_id)


@pytest.mark.parametrize("kind", ["clipbench", "peft"])
def test_there_and_back(tiny: Callable[[], Any], tmp_path: Path, kind: Any) -> None:
    hub, model, x = _Hub(tmp_path), adapt(tiny(), AdapterConfig("dora", rank=2, towers="vision")), images(2)
    expected = perturb(model).encode_image(x)
    assert push_to_hub(model, "me/dtd", CARD, format=kind, api=hub) == "https://hub.example/me/dtd/commit/1"
    assert relative(from_pretrained(tiny(), "me/dtd", api=hub).encode_image(x), expected) < 1e-6  # type: ignore[operator]
    again = from_pretrained(tiny(), str(tmp_path / "me" / "dtd"))
    assert relative(again.encode_image(x), expected) < 1e-6  # type: ignore[operator]
    card = (tmp_path / "me" / "dtd" / "README.md").read_text()
    for words in ("ViT-B-16-quickgelu, openai", "DTD, 4 shots", "| accuracy (%) | 61.25 |", "a1b2c3", "dora, rank 2"):
        assert words in card


def test_what_the_hub_refuses_is_one_sentence(tiny: Callable[[], Any], tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="me/none cannot be had from the Hub"):
        from_pretrained(tiny(), "me/none", api=_Hub(tmp_path))

    class Refusing(_Hub):
        def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> None:
            raise OSError("403 Forbidden")

    with pytest.raises(AdapterError, match="was not written: 403"):
        push_to_hub(adapt(tiny(), AdapterConfig()), "me/dtd", CARD, api=Refusing(tmp_path))
    (tmp_path / "me" / "empty").mkdir(parents=True)
    with pytest.raises(AdapterError, match="there is no"):
        from_pretrained(tiny(), "me/empty", api=_Hub(tmp_path))
