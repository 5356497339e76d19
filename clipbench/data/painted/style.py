"""What makes two data sets of the same scenes look different: palette, scale, light, sensor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from clipbench.data.painted.canvas import Palette
from clipbench.data.painted.texture import fractal_noise


@dataclass(frozen=True)
class Style:
    """How a family's scenes are seen. Ranges are (low, high) and drawn uniformly per image.

    Attributes:
        palette: material name -> colours it may have.
        zoom: size of things relative to the picture.
        free_rotation: any angle; otherwise quarter turns only.
        jitter: spread of a material's brightness, as a fraction.
        clutter: mean number of things in the picture that do not belong to its class.
        gains: the sensor's red, green and blue gains.
        contrast: 1 keeps the scene's contrast.
        light: brightness, as a factor.
        haze: share of the picture lost in whitish air.
        relief: strength of slow brightness changes over the picture (cloud shadows, slopes).
        noise: standard deviation of the sensor noise in grey levels.
        blur: radius of the optics' blur in pixels of the finished image.
    """

    palette: Palette
    zoom: tuple[float, float] = (0.8, 1.2)
    free_rotation: bool = True
    jitter: float = 0.08
    clutter: float = 0.0
    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)
    contrast: tuple[float, float] = (1.0, 1.0)
    light: tuple[float, float] = (1.0, 1.0)
    haze: tuple[float, float] = (0.0, 0.0)
    relief: float = 0.0
    noise: float = 0.0
    blur: tuple[float, float] = (0.0, 0.0)

    def develop(self, scene: Image.Image, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Turn a painted scene into what the sensor delivers: uint8 [height, width, 3], same size as `scene`."""
        radius = rng.uniform(*self.blur)
        sharp = scene.filter(ImageFilter.GaussianBlur(radius)) if radius > 0 else scene
        rgb = np.asarray(sharp, dtype=np.float32)
        mean = rgb.mean()
        rgb = (rgb - mean) * rng.uniform(*self.contrast) + mean
        rgb = rgb * (np.array(self.gains) * rng.uniform(*self.light))
        rgb = rgb * (1 + self.relief * fractal_noise(rng, scene.width, 2, 2)[..., None])
        haze = rng.uniform(*self.haze)
        rgb = rgb * (1 - haze) + np.array([200.0, 208.0, 215.0]) * haze
        rgb = rgb + self.noise * rng.standard_normal(rgb.shape, dtype=np.float32)
        return np.asarray(np.clip(rgb, 0, 255), dtype=np.uint8)
