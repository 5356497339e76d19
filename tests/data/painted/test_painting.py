"""The pictures: the same every time, classes that can be told apart, domains that differ, lesions with masks."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from clipbench.data.painted import SUBSETS
from clipbench.data.painted.digits import scans
from clipbench.data.painted.lesions import MELANOMA, POLYP, Case, prompts
from clipbench.data.painted.shapes import look
from clipbench.data.painted.streams import stream

LESIONS = [name for name, subset in SUBSETS.items() if subset.kinds]
DIGEST = """
import hashlib
from clipbench.data.painted import SUBSETS
digest = hashlib.sha256()
for name in sorted(SUBSETS):
    subset = SUBSETS[name]
    for domain in subset.domains or ("",):
        digest.update(b"" if subset.kinds else subset.paint(subset.classes[-1], 3, domain).tobytes())
    for kind in subset.kinds:
        digest.update(subset.case(kind, 3).picture.tobytes())
print(digest.hexdigest())
"""


def test_pixels_are_the_same_in_every_process():
    runs = [
        subprocess.run(
            [sys.executable, "-c", DIGEST], env={"PYTHONHASHSEED": seed}, check=True, capture_output=True, text=True
        )
        for seed in ("1", "2")
    ]
    assert runs[0].stdout == runs[1].stdout
    assert len(runs[0].stdout.strip()) == len(hashlib.sha256().hexdigest())


def test_pixels_depend_neither_on_order_nor_on_global_state():
    subset = SUBSETS["ucm"]
    first = subset.paint("river", 0)
    np.random.seed(1)  # noqa: NPY002 - the point is that nobody listens to it
    subset.paint("runway", 5)
    assert np.array_equal(subset.paint("river", 0), first)


def test_importing_the_painter_imports_no_torch():
    code = "import sys, clipbench.data.painted, clipbench.models.tiny; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("dataset", ["ucm", "dtd", "officehome", "digits_dg"])
def test_images_are_distinct_and_of_one_size(dataset):
    subset = SUBSETS[dataset]
    images = [
        subset.paint(name, index, domain)
        for domain in subset.domains or ("",)
        for name in subset.classes[:4]
        for index in range(2)
    ]
    assert {(image.shape, image.dtype.name) for image in images} == {((64, 64, 3), "uint8")}
    assert len({image.tobytes() for image in images}) == len(images)
    assert min(image.std() for image in images) > 5


@pytest.mark.parametrize("dataset", ["aid", "caltech101", "fgvc_aircraft", "dtd", "pacs"])
def test_classes_are_told_apart_by_their_colours(dataset):
    subset, domain = SUBSETS[dataset], "photo" if dataset == "pacs" else ""

    def histogram(name: str, index: int) -> np.ndarray:
        red, green, blue = np.moveaxis(subset.paint(name, index, domain).astype(int) // 64, 2, 0)
        return np.sqrt(np.bincount((16 * red + 4 * green + blue).ravel(), minlength=64) / 64**2)

    seen, fresh = (np.array([[histogram(c, i) for i in part] for c in subset.classes]) for part in (range(6), (6, 7)))
    nearest = ((fresh[:, :, None] - seen.mean(axis=1)) ** 2).sum(axis=3).argmin(axis=2)
    right = (nearest == np.arange(len(subset.classes))[:, None]).mean()
    assert right > 3 / len(subset.classes)  # three times what guessing gets


def test_a_class_has_one_outline_everywhere_and_a_shade_in_each_data_set():
    one, other = look("river", "ucm"), look("river", "aid")
    assert one.count == other.count
    assert np.array_equal(one.outline.harmonics, other.outline.harmonics)
    assert 0 < np.abs(one.body - other.body).max() < 0.6
    assert not np.array_equal(one.outline.harmonics, look("lake", "ucm").outline.harmonics)


def test_classes_of_one_kind_have_similar_outlines():
    def spread(kind: str) -> float:
        return float(np.std([look(name, "x", kind).outline.harmonics for name in "abcdefgh"], axis=0).mean())

    assert spread("flower") < 0.5 * spread("")


def test_sketches_are_paler_than_other_pictures():
    def brightness(domain: str) -> float:
        return float(np.mean([SUBSETS["pacs"].paint(name, 0, domain) for name in SUBSETS["pacs"].classes]))

    assert brightness("sketch") > 1.1 * max(brightness(domain) for domain in ("photo", "cartoon", "art_painting"))


def test_every_digit_has_scans_enough_for_all_domains_and_pretraining():
    subset = SUBSETS["digits_dg"]
    assert min(len(scans(digit)) for digit in range(10)) >= subset.images_per_class * len(subset.domains) + 70


def test_outlines_are_closed_curves_of_the_radius_asked_for():
    shape = look("river").outline.at(64, (0.5, 0.5), 0.3, turn=0.0)
    inside = shape.distance > 0
    assert 0.02 < inside.mean() < 0.8
    assert shape.depth.max() <= 1
    assert np.array_equal(inside, shape.depth > 0)
    turned = look("river").outline.at(64, (0.5, 0.5), 0.3, turn=np.pi / 2)
    assert (np.rot90(turned.distance) - shape.distance == pytest.approx(0, abs=1e-2)) or (
        np.rot90(turned.distance, -1) - shape.distance == pytest.approx(0, abs=1e-2)
    )


@pytest.mark.parametrize("dataset", LESIONS)
def test_masks_are_neither_empty_nor_full_and_fit_their_picture(dataset):
    subset = SUBSETS[dataset]
    for kind in subset.kinds:
        for index in range(12):
            case = subset.case(kind, index)
            assert len(case.masks) == 0 if kind == "normal" else 1 <= len(case.masks) <= 2
            assert all(0.005 < mask.mean() < 0.5 for mask in case.masks)
            if len(case.masks) == 2:
                assert not (case.masks[0] & case.masks[1]).any()
            if case.masks:  # a lesion can be seen
                picture = case.picture.astype(float)
                assert np.abs(picture[case.mask].mean(axis=0) - picture[~case.mask].mean(axis=0)).max() > 8


def disc(y: float, x: float, height: float, width: float) -> np.ndarray:
    rows, columns = np.mgrid[:80, :96]
    return ((rows - y) / height) ** 2 + ((columns - x) / width) ** 2 < 1


def test_prompts_grow_by_one_fact_each_and_the_facts_are_true():
    said = prompts(Case(np.zeros((80, 96, 3), np.uint8), [disc(15, 16, 9, 9), disc(65, 80, 4, 9)], "yellow"), POLYP)
    assert list(said) == [f"p{number}" for number in range(10)]
    assert said["p5"] == "two small yellow round polyp"
    assert said["p6"] == "two small yellow round polyp, located in top left, bottom right of the image"
    for shorter, longer in (("p0", "p1"), ("p1", "p2"), ("p2", "p3"), ("p3", "p4"), ("p4", "p5")):
        assert str(said[longer]).endswith(str(said[shorter]))
    assert all(text.startswith(str(said["p5"])) for text in said["p8"])
    one = prompts(Case(np.zeros((80, 96, 3), np.uint8), [disc(40, 48, 20, 44)], "brown"), MELANOMA)
    assert one["p6"] == "one large brown oval skin melanoma, located in center of the image"


def test_a_picture_without_a_lesion_says_so():
    subset = SUBSETS["busi"]
    said = prompts(subset.case("normal", 0), subset.kinds["normal"])
    assert {said[f"p{number}"] for number in range(1, 7)} == {"no tumor"}


def test_streams_are_named_not_numbered():
    assert stream("a", 1).integers(2**62) == stream("a", "1").integers(2**62)
    assert stream("a", 1).integers(2**62) != stream("a", 2).integers(2**62)
    assert stream("ab", "c").integers(2**62) != stream("a", "bc").integers(2**62)
