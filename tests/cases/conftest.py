"""Pictures of one's own, as small as can be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def my(tmp_path: Path) -> Path:
    """Two classes of eight small pictures."""
    for name, colour in (("cat", 60), ("dog", 190)):
        (tmp_path / "my" / name).mkdir(parents=True)
        for i in range(8):
            noise = np.random.default_rng(i).integers(-40, 40, (32, 32, 3))
            Image.fromarray((colour + noise).clip(0, 255).astype(np.uint8)).save(tmp_path / "my" / name / f"{i}.png")
    return tmp_path / "my"
