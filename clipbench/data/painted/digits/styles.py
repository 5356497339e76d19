"""Four ways a digit reaches a data set: written by hand, on a colourful ground, on a house wall, printed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from clipbench.data.painted.digits.strokes import write_digit
from clipbench.data.painted.objects.parts import Points
from clipbench.data.painted.texture import fractal_noise

PaintDigit: TypeAlias = Callable[[int, Generator, int], NDArray[np.uint8]]
Ink: TypeAlias = NDArray[np.floating]

_SUPERSAMPLING = 3


def _ink(strokes: Sequence[Points], pixels: int, *, size: float, width: float, shift: Sequence[float]) -> Ink:
    """How much ink lies on every pixel, [pixels, pixels] from 0 to 1; size and width are shares of the picture."""
    edge = pixels * _SUPERSAMPLING
    picture = Image.new("L", (edge, edge))
    draw = ImageDraw.Draw(picture)
    radius = width * edge / 2
    for stroke in strokes:
        places = [(x, y) for x, y in ((stroke * size / 2 + 0.5 + np.asarray(shift)) * edge).tolist()]
        draw.line(places, fill=255, width=max(1, round(2 * radius)), joint="curve")
        for x, y in (places[0], places[-1]):
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return np.asarray(picture.resize((pixels, pixels), Image.Resampling.BOX), dtype=np.float32) / 255


def _blend(ground: NDArray[np.floating], ink: Ink, colour: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.asarray(ground + ink[..., None] * (colour - ground))


def _finish(rgb: NDArray[np.floating], rng: Generator, *, noise: float, blur: float = 0.0) -> NDArray[np.uint8]:
    picture = Image.fromarray(np.clip(rgb, 0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(blur))
    noisy = np.asarray(picture, dtype=float) + noise * rng.standard_normal(rgb.shape)
    return np.asarray(np.clip(noisy, 0, 255), dtype=np.uint8)


def _by_hand(digit: int, rng: Generator, pixels: int) -> Ink:
    strokes = write_digit(digit, rng, wobble=0.06, slant=0.1, tilt=0.04)
    place = rng.normal(0, 0.015, size=2).tolist()
    return _ink(strokes, pixels, size=rng.uniform(0.7, 0.8), width=rng.uniform(0.09, 0.13), shift=place)


def handwritten(digit: int, rng: Generator, pixels: int) -> NDArray[np.uint8]:
    """White pen on black, as in MNIST."""
    grey = 255 * _by_hand(digit, rng, pixels)
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def blended(digit: int, rng: Generator, pixels: int) -> NDArray[np.uint8]:
    """A handwritten digit that inverts a patch of colourful texture, as in MNIST-M."""
    texture = np.stack([fractal_noise(rng, pixels, rng.uniform(2, 5), 3) for _ in range(3)], axis=2)
    common = fractal_noise(rng, pixels, rng.uniform(3, 8), 2)[..., None]
    ground = np.clip(rng.uniform(30, 130, size=3) + 11 * texture + 8 * common, 0, 255)
    ink = _by_hand(digit, rng, pixels)
    return _finish(np.abs(ground - 255 * ink[..., None]), rng, noise=2.0)


def street_number(digit: int, rng: Generator, pixels: int) -> NDArray[np.uint8]:
    """One digit of a house number with its neighbours cut off, blurred, as in SVHN."""
    plate, paint = _two_tones(rng, 80, light_ink=0.8)
    ramp, (down, across) = np.linspace(-1, 1, pixels), rng.normal(0, 14, size=2)
    picture: NDArray[np.floating] = plate + (down * ramp[:, None] + across * ramp)[..., None]
    size, width = rng.uniform(0.7, 0.82), rng.uniform(0.1, 0.14)
    neighbours = [(-0.62, int(rng.integers(10))), (0.62, int(rng.integers(10)))]
    for x, number in [*(pair for pair in neighbours if rng.random() < 0.25), (0.0, digit)]:
        strokes = write_digit(number, rng, wobble=0.03, slant=0.06, tilt=0.06)
        place = (x + rng.normal() * 0.02, rng.normal() * 0.02)
        picture = _blend(picture, _ink(strokes, pixels, size=size, width=width, shift=place), paint)
    return _finish(picture, rng, noise=3.0, blur=rng.uniform(0.3, 0.7))


def _two_tones(rng: Generator, apart: float, light_ink: float) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """A ground and an ink, about `apart` or more apart in brightness; `light_ink` of the time the ink is lighter."""
    tones = rng.uniform(40, 90) + rng.normal(0, 20, size=3)
    dark, light = tones, tones + rng.uniform(apart, 1.8 * apart) + rng.normal(0, 12, size=3)
    ground, ink = (dark, light) if rng.random() < light_ink else (light, dark)
    return np.clip(ground, 0, 255), np.clip(ink, 0, 255)


def printed(digit: int, rng: Generator, pixels: int) -> NDArray[np.uint8]:
    """A straight digit in a loud colour on a loud ground, with stray bars and grain, as in SynthDigits."""
    ground, ink = (np.clip(tone + rng.normal(0, 30, size=3), 0, 255) for tone in _two_tones(rng, 110, light_ink=0.9))
    picture: NDArray[np.floating] = np.broadcast_to(ground, (pixels, pixels, 3))
    for _ in range(int(rng.poisson(0.3))):
        bar = [rng.uniform(-1.3, 1.3, size=(2, 2))]
        mask = _ink(bar, pixels, size=1.0, width=0.05, shift=(0, 0))
        picture = _blend(picture, mask, rng.uniform(0, 255, size=3))
    strokes = write_digit(digit, rng, wobble=0.0, slant=0.0, tilt=0.06)
    squeeze = np.array([rng.uniform(0.85, 1.1), 1.0])
    place = rng.normal(0, 0.02, size=2).tolist()
    shape = _ink(
        [s * squeeze for s in strokes], pixels, size=rng.uniform(0.7, 0.82), width=rng.uniform(0.09, 0.14), shift=place
    )
    return _finish(_blend(picture, shape, ink), rng, noise=5.0, blur=rng.uniform(0, 0.5))


STYLES: Mapping[str, PaintDigit] = {
    "mnist": handwritten,
    "mnist_m": blended,
    "svhn": street_number,
    "syn": printed,
}
"""Domain of Digits-DG in its genuine spelling -> function that paints one digit, uint8 [pixels, pixels, 3]."""
