"""CLIP as it is: the class whose prompt is nearest to the image (CLIP-DoRA sec. 3.1, eq. 1)."""

from __future__ import annotations

from typing import ClassVar

from clipbench.methods.base import Method


class ZeroShot(Method):
    """Nothing is trained."""

    seed_axis: ClassVar[bool] = True
