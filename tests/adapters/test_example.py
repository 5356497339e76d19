"""The example in the README runs as it stands: a folder of images, training, save, load, merge."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import open_clip
import torch
from PIL import Image

EXAMPLE = Path(__file__).parents[2] / "examples" / "adapt_open_clip.py"
TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 16, "layers": 2, "width": 32, "head_width": 8, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


def test_the_example_learns_a_folder(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    for name, colour in (("red", (255, 0, 0)), ("dark_blue", (0, 0, 90))):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(4):
            Image.new("RGB", (24, 20), tuple(max(0, c - 9 * i) for c in colour)).save(
                tmp_path / "data" / name / f"{i}.png"
            )
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny-example", TINY)
    torch.manual_seed(0)
    options = [
        "--model",
        "tiny-example",
        "--pretrained",
        "",
        "--epochs",
        "12",
        "--lr",
        "0.02",
        "--out",
        str(tmp_path / "adapter"),
    ]
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), str(tmp_path / "data"), *options])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    printed = capsys.readouterr().out
    assert "| vision  | 0-1" in printed
    assert float(printed.rsplit(":", 1)[1]) == 1.0
    assert (tmp_path / "adapter.safetensors").exists()
