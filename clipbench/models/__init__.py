"""Backbones: open_clip models by name or config file, and the embedded tiny model."""

from __future__ import annotations

TINY = "clipbench-tiny"
"""The embedded model: a genuine open_clip CLIP of a few hundred kilobytes, for smoke runs."""

_ELSEWHERE = ("vit_", "mambavision")
"""timm's and MambaVision's names, which other modules will serve."""


def family(backbone: str) -> str | None:
    """Which module serves that backbone; None where none does yet."""
    if backbone == TINY:
        return "tiny"
    return None if backbone.startswith(_ELSEWHERE) else "open_clip"
