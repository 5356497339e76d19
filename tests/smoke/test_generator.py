"""The painted images: deterministic, distinct, independent of order and of global state."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from clipbench.smoke import SUBSETS
from clipbench.smoke.scenes import OVERHEAD, palettes
from clipbench.smoke.seeding import stream
from clipbench.smoke.style import Style

PLAIN = Style(palettes.TEMPERATE)
DIGEST = """
import hashlib
from clipbench.smoke import SUBSETS
digest = hashlib.sha256()
for subset in SUBSETS.values():
    for name in reversed(subset.classes):
        digest.update(hashlib.sha256(subset.paint(name, 3).tobytes()).digest())
print(digest.hexdigest())
"""


def _digest_in_a_new_process(hash_seed: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", DIGEST], env={"PYTHONHASHSEED": hash_seed}, check=True, capture_output=True, text=True
    )
    return result.stdout.strip()


def test_pixels_are_the_same_in_every_process():
    here = hashlib.sha256()
    for subset in SUBSETS.values():
        for name in reversed(subset.classes):
            here.update(hashlib.sha256(subset.paint(name, 3).tobytes()).digest())
    assert {_digest_in_a_new_process("1"), _digest_in_a_new_process("2")} == {here.hexdigest()}


def test_pixels_depend_neither_on_order_nor_on_global_state():
    subset = SUBSETS["ucm"]
    first = subset.paint("river", 0)
    np.random.seed(1)  # noqa: NPY002 - the point is that nobody listens to it
    subset.paint("runway", 5)
    assert np.array_equal(subset.paint("river", 0), first)


@pytest.mark.parametrize("kind", sorted(OVERHEAD.painters))
@pytest.mark.parametrize("zoom", [0.5, 2.0])
def test_every_scene_paints_at_any_zoom_and_leaves_no_hole(kind, zoom):
    image = OVERHEAD.paint(kind, Style(palettes.TEMPERATE, zoom=(zoom, zoom)), 48, "test", 0)
    assert image.shape == (48, 48, 3)
    assert image.dtype == np.uint8
    assert image.std() > 2
    assert (image.max(axis=2) == 0).mean() < 0.01  # black is what an unpainted canvas is


@pytest.mark.parametrize("dataset", SUBSETS)
def test_images_of_a_class_are_distinct(dataset):
    subset = SUBSETS[dataset]
    for name in subset.classes:
        images = {subset.paint(name, index).tobytes() for index in range(4)}
        assert len(images) == 4


def test_the_same_scene_looks_different_in_two_data_sets():
    ucm = np.stack([SUBSETS["ucm"].paint("river", index).mean(axis=(0, 1)) for index in range(12)])
    aid = np.stack([SUBSETS["aid"].paint("River", index).mean(axis=(0, 1)) for index in range(12)])
    assert np.abs(ucm.mean(axis=0) - aid.mean(axis=0)).max() > 8


def test_streams_are_named_not_numbered():
    assert stream("a", 1).integers(2**62) == stream("a", "1").integers(2**62)
    assert stream("a", 1).integers(2**62) != stream("a", 2).integers(2**62)
    assert stream("ab", "c").integers(2**62) != stream("a", "bc").integers(2**62)


def test_importing_the_generator_imports_no_torch():
    code = "import sys, clipbench.smoke, clipbench.models.tiny; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
