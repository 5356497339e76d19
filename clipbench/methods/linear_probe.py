"""The frozen tower under a linear head."""

from __future__ import annotations

from typing import ClassVar

from clipbench.methods.base import Method


class LinearProbe(Method):
    """Nothing in the model is trained; the head is."""

    seed_axis: ClassVar[bool] = True
