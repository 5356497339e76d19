"""The tiny embedded model: a genuine open_clip CLIP of 1.7 MB, for the smoke profile and the tests.

It was trained by `tools/pretrain_tiny.py` on generated image-text pairs; the command, the seed and
the versions that made the committed weights are in `clipbench-tiny.provenance.json`. Importing this package does not
import torch.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from clipbench.errors import UserError

if TYPE_CHECKING:
    import torch
    from open_clip import CLIP

NAME = "clipbench-tiny"
_HERE = Path(__file__).parent


def tiny_config_path() -> Path:
    """The open_clip model configuration; its stem is the model's name."""
    return _HERE / f"{NAME}.json"


def tiny_weights_path(folder: Path = _HERE) -> Path:
    """The weights: safetensors in half precision, token embeddings of trained tokens only."""
    return folder / f"{NAME}.safetensors"


def tiny_provenance_path(folder: Path = _HERE) -> Path:
    """The JSON that says how the weights were made, and their SHA-256."""
    return folder / f"{NAME}.provenance.json"


def tiny_weights_digest(folder: Path = _HERE) -> str:
    """The SHA-256 of the weights file, verified against its provenance.

    Raises:
        UserError: when a file is missing, torn or altered.
    """
    try:
        found = hashlib.sha256(tiny_weights_path(folder).read_bytes()).hexdigest()
        expected = json.loads(tiny_provenance_path(folder).read_text(encoding="utf-8"))["sha256"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"The tiny model in {folder} is incomplete ({error}). {_REMEDY}") from error
    if found != expected:
        raise UserError(
            f"The weights of the tiny model, {tiny_weights_path(folder)}, are torn or altered: their SHA-256 is "
            f"{found}, and it should be {expected}. {_REMEDY}"
        )
    return found


_REMEDY = "Reinstall clipbench, or make the model anew with `python tools/pretrain_tiny.py --out DIR`."


def load_tiny(device: str | torch.device = "cpu", folder: Path = _HERE) -> CLIP:
    """The tiny CLIP with both towers, in evaluation mode and float32.

    Args:
        device: where to put it.
        folder: where the weights and their provenance lie; the package's own by default.

    Returns:
        An `open_clip.CLIP` for images [B, 3, 64, 64] normalised as OpenAI's CLIP does, and CLIP's tokens [B, <= 77].

    Raises:
        UserError: when the weights are missing, torn or altered.
    """
    tiny_weights_digest(folder)
    import torch

    from clipbench.models.tiny.weights import load_weights, new_model

    with torch.random.fork_rng(devices=[]):  # every drawn weight is overwritten: nobody else's stream should notice
        model = new_model()
    load_weights(model, tiny_weights_path(folder))
    return model.to(device).eval()
