"""Folders of random pictures, as a user might have them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image


def pictures(root: Path, classes: Mapping[str, int], size: int = 24) -> Path:
    """So many PNG files in each folder below ``root``; every folder has pictures of its own."""
    for number, (name, count) in enumerate(classes.items()):
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            pixels = np.random.default_rng(100 * number + i).integers(0, 256, (size, size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    return root
