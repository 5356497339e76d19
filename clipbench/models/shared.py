"""Pretrained models that several jobs of one process start from: read once, copied for each."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable
from typing import Any

_models: dict[Hashable, Any] = {}
"""The latest one: jobs come backbone by backbone, and two large models might not fit."""


def copy_of(key: Hashable, make: Callable[[], Any]) -> Any:
    """A copy of what ``make`` gives, for the caller to change; ``make`` is called again only for another ``key``."""
    if key not in _models:
        _models.clear()  # before the next model is read
        _models[key] = make()
    return copy.deepcopy(_models[key])
