"""Handwritten digits from scikit-learn's 1,797 scans of 8 by 8 pixels (E. Alpaydin and C. Kaynak, 1998, CC BY 4.0)."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from clipbench.data.painted.rendering import Thing
from clipbench.data.painted.shapes import Shape, look

DOMAINS = ("mnist", "mnist_m", "svhn", "syn")


@cache
def scans(digit: int) -> NDArray[np.uint8]:
    """All scans of a digit, 174 or more, uint8 [n, 8, 8] from 0 to 255."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return np.asarray(images[labels == digit].reshape(-1, 8, 8) * 255 / 16, dtype=np.uint8)


def digit_thing(digit: int, number: int, rng: Generator, pixels: int) -> Thing:
    """Scan `number` of a digit, enlarged and a little turned, in light tones of its class's colours.

    The shape alone is more than a model of 1.7 MB learns in a smoke run.
    """
    scan = Image.fromarray(scans(digit)[number]).resize((pixels, pixels), Image.Resampling.BICUBIC)
    turned = scan.rotate(rng.normal(0, 6), Image.Resampling.BICUBIC, translate=tuple(rng.normal(0, 2, size=2).tolist()))
    ink = np.asarray(turned, dtype=np.float32) / 255
    seen = look(str(digit), "digits_dg")
    return Thing(Shape((ink - 0.45) * pixels / 8, ink), 0.3 + 0.7 * seen.body, 0.3 + 0.7 * seen.core)
