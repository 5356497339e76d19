"""Where a pass works: data, files behind names, device, and where checkpoints go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from clipbench.models.weights.sources import Sources


def _ignore(*_: object) -> None:
    """Nobody watches."""


@dataclass(frozen=True)
class Workplace:
    """What a pass needs that is no part of its protocol; ``advance`` and ``tell`` report progress."""

    data_root: Path
    device: torch.device
    checkpoints: Path
    sources: Sources = field(default_factory=Sources)
    own: Mapping[str, Path] = field(default_factory=dict)
    """Folders of the user's own data sets, by their names in protocols."""

    checkpoint_seconds: float = 600.0
    advance: Callable[[int], None] = _ignore
    tell: Callable[[str], None] = _ignore
