"""Drawings and styles: every object in every style, filling its square, with its own outline."""

from __future__ import annotations

import numpy as np
import pytest

from clipbench.data.painted.looks.cartoon import Cartoon
from clipbench.data.painted.looks.motifs import AIRCRAFT, MOTIFS
from clipbench.data.painted.looks.painting import Painting
from clipbench.data.painted.looks.palettes import NATURAL, Paints
from clipbench.data.painted.looks.photo import Photo
from clipbench.data.painted.looks.sketch import Sketch
from clipbench.data.painted.looks.surroundings import SURFACES, anywhere, surround
from clipbench.data.painted.objects import OBJECTS, draw
from clipbench.data.painted.objects.parts import Part, curve, ellipse, fitted, limb, rectangle
from clipbench.data.painted.seeding import stream

EVERY = {**MOTIFS, **AIRCRAFT}
SEED = int(np.random.default_rng().integers(2**32))


def test_every_object_has_a_motif():
    assert set(EVERY) == set(OBJECTS)
    assert {name for motif in EVERY.values() for scene in motif.scenes for name in scene} <= set(SURFACES)


@pytest.mark.parametrize("kind", OBJECTS)
def test_an_object_fills_its_square_with_known_materials(kind):
    parts = draw(kind, np.random.default_rng(SEED))
    points = np.vstack([part.outline for part in parts])
    assert np.abs(points).max() == pytest.approx(1)
    assert points.min(axis=0) == pytest.approx(-points.max(axis=0))
    assert {part.material for part in parts} <= set(NATURAL), SEED


@pytest.mark.parametrize("look", [Photo(), Painting(), Cartoon(), Sketch()], ids=lambda look: type(look).__name__)
@pytest.mark.parametrize("kind", OBJECTS)
def test_every_object_can_be_shown_in_every_style(kind, look):
    pictures = []
    for _ in range(2):
        rng = stream("test", kind, SEED)
        pictures.append(look.show(EVERY[kind], draw(kind, rng), rng, 40))
    assert np.array_equal(*pictures)
    assert pictures[0].shape == (40, 40, 3)
    assert pictures[0].dtype == np.uint8
    assert pictures[0].std() > 3, SEED


def test_sketches_are_grey_on_white_and_cartoons_are_not():
    rng = stream("test", SEED)
    sketch = Sketch().show(MOTIFS["horse"], draw("horse", rng), rng, 64).astype(int)
    assert np.ptp(sketch, axis=2).max() == 0
    assert np.median(sketch) > 240
    cartoon = Cartoon(plain=0.0).show(MOTIFS["horse"], draw("horse", rng), rng, 64).astype(int)
    assert np.ptp(cartoon, axis=2).max() > 30


def test_a_material_keeps_its_colour_within_a_picture():
    paints = Paints(NATURAL, np.random.default_rng(SEED))
    assert np.array_equal(paints["fur"], paints["fur"])
    assert ((paints["fur"] >= 0) & (paints["fur"] <= 255)).all()


@pytest.mark.parametrize("name", SURFACES)
def test_a_surface_covers_the_picture(name):
    rng = np.random.default_rng(SEED)
    assert surround(rng, 50, (name, anywhere(rng)[1])).shape == (50, 50, 3)


def test_shapes_are_what_they_say():
    assert np.linalg.norm(ellipse(1, 2, 3, 3) - (1, 2), axis=1) == pytest.approx(np.full(28, 3))
    line = np.array([(0.0, 0.0), (1.0, 0.0), (2.0, 0.0)])
    assert limb(line, 0.5)[:, 1] == pytest.approx([0.25] * 3 + [-0.25] * 3)
    through = curve(line, steps=4)
    assert np.abs(through[:, 1]).max() == pytest.approx(0)
    assert through[[0, -1]] == pytest.approx(line[[0, -1]])


def test_fitting_keeps_the_proportions():
    (part,) = fitted([Part(rectangle(2, 2, 6, 4), "wall")])
    assert part.outline == pytest.approx(rectangle(-1, -0.5, 1, 0.5))
