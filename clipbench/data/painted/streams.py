"""Random streams that depend on names alone: not on order, on other images or on numpy's global state."""

from __future__ import annotations

import hashlib

import numpy as np


def stream(*names: str | int) -> np.random.Generator:
    """The generator that belongs to `names`, the same in every process; 1 and "1" name the same stream."""
    digest = hashlib.sha256("\x1f".join(map(str, names)).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))
