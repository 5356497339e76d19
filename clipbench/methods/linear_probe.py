"""The frozen tower under a linear head."""

from __future__ import annotations

from typing import ClassVar

from clipbench.methods.base import Method


class LinearProbe(Method):
    """Nothing in the model is trained; the task's head is."""

    replicable: ClassVar[bool] = True
    frozen: ClassVar[bool] = True
