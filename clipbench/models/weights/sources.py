"""Files that stand behind a protocol's names: a config or weights of the user's own, identified by their digest."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from clipbench.data.images import first_few
from clipbench.errors import MissingWeightsError, UserError
from clipbench.models.weights.catalogue import WITHOUT_FILE, checkpoints

_IN_FOLDERS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.bin",
    "model.safetensors",
    "pytorch_model.bin",
)
"""Where a folder of the hub has its weights: open_clip's first, which lie beside transformers' in LAION's."""
_SHARD = re.compile(r"-\d{5}-of-\d{5}\.")
_FILE_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")


@dataclass(frozen=True)
class Sources:
    """Paths that are no part of the protocol (their digests are)."""

    config: Path | None = None
    weights: Path | None = None

    def state(self) -> tuple[object, ...]:
        """What tells whether the files are still those that were read: their paths, sizes and times."""
        files = [path for path in (self.config, self.weights) if path is not None and path.exists()]
        stats = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
        return (self, *stats)


def named_config(backbone: str | None) -> tuple[Path | None, str | None]:
    """The config file, and the protocol's name for it (``mini_clip@1a2b3c4d5e6f``); a plain name stays as it is."""
    if backbone is None or not backbone.endswith(".json"):
        return None, backbone
    path = _existing(Path(backbone), "--backbone")
    return path, f"{path.stem}@{file_digest(path)[:12]}"


def named_weights(weights: str | None) -> tuple[Path | None, str | None]:
    """The weights file, and the protocol's name for it (``sha256:...``); the name of a tag stays as it is.

    A folder of the hub stands for the file in it. A folder that is called like a tag (``openai``) is meant by
    ``./openai`` only, and one without weights in it (``openai/clip-vit-base-patch16``) does not hide a tag.
    """
    if weights is None or not _is_path(weights):
        return None, weights
    path = _existing(weights_file(Path(weights)), "--weights")
    return path, f"sha256:{file_digest(path)[:16]}"


def weights_file(path: Path) -> Path:
    """The weights in a folder of the hub; any other path as it is. Raises ``MissingWeightsError`` if it has none."""
    if not path.is_dir():
        return path
    if (found := _in_folder(path)) is not None:
        return found
    below = (file for depth in ("*", "*/*", "*/*/*") for file in path.glob(depth))
    there = sorted(file for file in below if file.suffix in _FILE_SUFFIXES and file.is_file())
    if whole := next((joined(file) for file in there if is_shard(file)), ""):
        raise MissingWeightsError(f"the folder {path} holds a model in several files. {whole}")
    if there:
        names = first_few([str(file.relative_to(path)) for file in there])
        raise MissingWeightsError(
            f"the folder {path} holds {names}: name the file that is meant, --weights {there[0]}."
        )
    raise MissingWeightsError(
        f"the folder {path} holds no weights: none of {', '.join(_IN_FOLDERS)} is in it, nor another file of weights."
    )


def is_shard(path: Path) -> bool:
    """Whether a file is named as one of several that hold a model together (``model-00001-of-00002.safetensors``)."""
    return _SHARD.search(path.name) is not None


def joined(shard: Path) -> str:
    """The command that makes one file of the shards of a model, in a sentence."""
    pattern = _SHARD.sub("-*-of-*.", str(shard))
    read = "load_file" if shard.suffix == ".safetensors" else "torch.load"
    code = (
        f"import glob, torch; from safetensors.torch import load_file, save_file; save_file({{k: v.contiguous() for f "
        f"in sorted(glob.glob({pattern!r})) for k, v in {read}(f).items()}}, 'whole.safetensors')"
    )
    return f'Make one file of them and pass that with --weights: python -c "{code}"'


def file_digest(path: Path) -> str:
    """SHA-256 of a file; a file that was read once and has not changed since is not read again."""
    known = path.stat()
    return _digest(path, known.st_size, known.st_mtime_ns)


def _is_path(weights: str) -> bool:
    path = Path(weights)
    if weights.endswith(_FILE_SUFFIXES) or not path.is_dir():
        return weights.endswith(_FILE_SUFFIXES) or path.exists()
    bare = "/" not in weights and os.sep not in weights
    tags = (*WITHOUT_FILE, *(entry.weights for entry in checkpoints()))
    return not bare or (weights not in tags and weights not in _open_clips_tags() and _in_folder(path) is not None)


def _open_clips_tags() -> set[str]:
    """Asked only where a folder bears the name that ``--weights`` gives."""
    import open_clip

    return {tag for _, tag in open_clip.list_pretrained()}


def _in_folder(folder: Path) -> Path | None:
    """The weights of a hub's folder, or the only file of weights in it."""
    named = next((folder / name for name in _IN_FOLDERS if (folder / name).is_file()), None)
    files = [file for file in folder.iterdir() if file.suffix in _FILE_SUFFIXES and file.is_file()]
    return named or (files[0] if len(files) == 1 and not is_shard(files[0]) else None)


def _existing(path: Path, option: str) -> Path:
    if not path.is_file():
        raise UserError(f"{option} {path}: there is no such file.")
    # Not resolved: the hub's cache links to files of other names, and what lies beside the link says more about it.
    return path.absolute()


@cache
def _digest(path: Path, size: int, modified: int) -> str:  # noqa: ARG001
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
