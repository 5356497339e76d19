"""Channel mean and standard deviation of the images that a vision-language model was trained on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clipbench.models.image_tower import CLIP_MEAN, CLIP_STD

MeanStd = tuple[tuple[float, ...], tuple[float, ...]]


def mean_and_std(name: str, tag: str, path: Path | None) -> MeanStd:
    """As stated by a file beside the weights, by open_clip for the tag, or for all tags of the architecture alike.

    Where nobody states them they are CLIP's.
    """
    return _beside(path) or _of_tags(name, tag) or (CLIP_MEAN, CLIP_STD)


def _beside(path: Path | None) -> MeanStd | None:
    """Of open_clip's ``open_clip_config.json``, or transformers' ``preprocessor_config.json``."""
    if path is None:
        return None
    stated = _read(path.parent / "open_clip_config.json").get("preprocess_cfg")
    if isinstance(stated, dict) and (found := _pair(stated.get("mean"), stated.get("std"))):
        return found
    other = _read(path.parent / "preprocessor_config.json")
    return _pair(other.get("image_mean"), other.get("image_std"))


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _of_tags(name: str, tag: str) -> MeanStd | None:
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(name)
    stated = [open_clip.get_pretrained_cfg(name, t) for t in ([tag] if tag in tags else tags)]
    found = {_pair(s.get("mean", CLIP_MEAN), s.get("std", CLIP_STD)) for s in stated}
    return found.pop() if len(found) == 1 else None


def _pair(mean: Any, std: Any) -> MeanStd | None:
    if not (_channels(mean) and _channels(std) and all(value > 0 for value in std)):
        return None
    return tuple(map(float, mean)), tuple(map(float, std))


def _channels(values: Any) -> bool:
    return isinstance(values, Sequence) and len(values) == 3 and all(type(v) in (int, float) for v in values)
