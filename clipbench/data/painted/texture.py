"""Noise fields: what makes grass, water and sand look like more than one flat colour."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def fractal_noise(rng: np.random.Generator, pixels: int, cells: float, octaves: int) -> NDArray[np.float32]:
    """Smooth noise [pixels, pixels] of mean 0 and standard deviation 1.

    Args:
        rng: random stream.
        pixels: edge length.
        cells: number of independent bumps along one edge in the coarsest octave.
        octaves: number of layers; each has twice the bumps and half the height of the one before.
    """
    total = np.zeros((pixels, pixels), dtype=np.float32)
    for octave in range(octaves):
        total += 0.5**octave * _smooth(rng, pixels, cells * 2**octave)
    spread = float(total.std())
    return np.asarray((total - total.mean()) / (spread or 1.0), dtype=np.float32)


def _smooth(rng: np.random.Generator, pixels: int, cells: float) -> NDArray[np.float32]:
    edge = int(np.clip(np.ceil(cells), 1, pixels)) + 1
    grid = Image.fromarray(rng.standard_normal((edge, edge), dtype=np.float32))
    return np.asarray(grid.resize((pixels, pixels), Image.Resampling.BICUBIC))


def smooth_curve(rng: np.random.Generator, at: NDArray[np.float32], wavelength: float) -> NDArray[np.float32]:
    """A random smooth function of one variable, of order 1, evaluated `at` any array of places."""
    waves = 2 * np.pi / (wavelength * rng.uniform(0.6, 1.8, size=3))
    phases = rng.uniform(0, 2 * np.pi, size=3)
    heights = rng.normal(size=3) * np.array([0.7, 0.45, 0.25])
    total = sum(h * np.sin(w * at + p) for h, w, p in zip(heights, waves, phases, strict=True))
    return np.asarray(total, dtype=np.float32)
