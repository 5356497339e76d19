"""Digits in the four styles of Digits-DG's domains."""

from __future__ import annotations

from clipbench.data.painted.digits.styles import STYLES

__all__ = ["STYLES"]
