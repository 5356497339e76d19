"""Files that stand behind a protocol's names: a config or weights of the user's own, identified by their digest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from clipbench.errors import MissingWeightsError, UserError

_IN_FOLDERS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.bin",
    "model.safetensors",
    "pytorch_model.bin",
)
"""Where a folder of the hub has its weights: open_clip's first, which lie beside transformers' in LAION's."""
_FILE_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")


@dataclass(frozen=True)
class Sources:
    """Paths that are no part of the protocol (their digests are)."""

    config: Path | None = None
    weights: Path | None = None


def named_config(backbone: str | None) -> tuple[Path | None, str | None]:
    """The config file, and the protocol's name for it (``mini_clip@1a2b3c4d5e6f``); a plain name stays as it is."""
    if backbone is None or not backbone.endswith(".json"):
        return None, backbone
    path = _existing(backbone, "--backbone")
    return path, f"{path.stem}@{_digest(path)[:12]}"


def named_weights(weights: str | None) -> tuple[Path | None, str | None]:
    """The weights file, and the protocol's name for it (``sha256:...``); a plain name stays as it is.

    A Hugging Face folder stands for the file in it.
    """
    if weights is None or not (weights.endswith(_FILE_SUFFIXES) or Path(weights).exists()):
        return None, weights
    path = _existing(str(weights_file(Path(weights))), "--weights")
    return path, f"sha256:{_digest(path)[:16]}"


def weights_file(path: Path) -> Path:
    """The weights in a Hugging Face folder; any other path as it is. Raises ``MissingWeightsError`` if it has none."""
    if not path.is_dir():
        return path
    found = next((path / name for name in _IN_FOLDERS if (path / name).is_file()), None)
    if found is None:
        raise MissingWeightsError(f"the folder {path} holds no weights: neither {' nor '.join(_IN_FOLDERS)} is in it.")
    return found


def _existing(name: str, option: str) -> Path:
    path = Path(name)
    if not path.is_file():
        raise UserError(f"{option} {name}: there is no such file.")
    return path.resolve()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
