"""Kvasir-SEG and BUSI on disk: genuine files, masks that fit, annotations in medvlsm's form, prompts that are true."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipbench.data.catalogue import entry
from clipbench.data.official import find_images
from clipbench.data.painted import write_subset
from clipbench.data.painted.lesions.annotations import joined, polyp_prompts, tumour_prompts
from clipbench.data.painted.lesions.pictures import Case, polyp, ultrasound
from clipbench.data.painted.lesions.shapes import Frame, bounding_box, place_words, shape_word, size_word
from clipbench.data.painted.segmentation import BUSI, KVASIR, SEGMENTATION_SUBSETS

BY_NAME = {subset.dataset: subset for subset in SEGMENTATION_SUBSETS}
KEYS = {"bbox", "cat", "segment_id", "img_name", "mask_name", "sentences", "prompts", "sentences_num"}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("segmentation")


def annotations(folder: Path) -> dict[str, list[dict]]:
    return {part: json.loads((folder / "anns" / f"{part}.json").read_text()) for part in ("train", "val", "test")}


def disc(height: int, width: int, y: float, x: float, ry: float, rx: float) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return ((rows - y) / ry) ** 2 + ((columns - x) / rx) ** 2 < 1


@pytest.mark.parametrize("dataset", BY_NAME)
def test_annotations_have_medvlsm_s_form(dataset, root):
    parts = annotations(write_subset(dataset, root))
    assert {part: len(items) for part, items in parts.items()} == BY_NAME[dataset].parts
    prompts = 10 if dataset == "kvasir" else 7
    for item in [item for items in parts.values() for item in items]:
        assert item.keys() == KEYS
        assert list(item["prompts"]) == [f"p{number}" for number in range(prompts)]
        assert item["prompts"]["p0"] == ""
        assert item["img_name"].startswith(item["segment_id"])
        assert len(item["bbox"]) == 4
        texts = [text if isinstance(text, list) else [text] for text in item["prompts"].values()]
        assert all(isinstance(sentence, str) for text in texts for sentence in text)


def test_kvasir_keeps_lossy_masks_beside_images_of_many_sizes(root):
    folder = write_subset("kvasir", root)
    assert folder.name == "kvasir_polyp"
    images = sorted(path.name for path in (folder / "images").iterdir())
    assert images == sorted(path.name for path in (folder / "masks").iterdir())
    assert all(re.fullmatch(r"cju[0-9a-f]{22}\.jpg", name) for name in images)
    sizes, levels = set(), set()
    for name in images:
        with Image.open(folder / "images" / name) as image, Image.open(folder / "masks" / name) as mask:
            assert image.size == mask.size
            assert (image.format, mask.format, mask.mode) == ("JPEG", "JPEG", "RGB")
            sizes.add(image.size)
            levels |= set(np.asarray(mask.convert("L")).ravel().tolist())
    assert len(sizes) > 10
    assert len(levels) > 10  # neither 0 nor 255: a reader must threshold
    assert not levels & set(range(100, 150))  # but not just anywhere


def test_kvasir_s_boxes_are_those_of_the_masks(root):
    folder = write_subset("kvasir", root)
    for item in annotations(folder)["test"]:
        with Image.open(folder / "masks" / item["mask_name"]) as mask:
            inside = np.asarray(mask.convert("L")) > 127
        assert np.abs(np.array(item["bbox"]) - bounding_box(inside)).max() <= 1  # JPEG may move the rim by a pixel


def test_busi_has_folders_of_kinds_and_masks_beside_the_images(root):
    folder = write_subset("busi", root) / "Dataset_BUSI_with_GT"
    assert sorted(path.name for path in folder.iterdir()) == ["benign", "malignant", "normal"]
    extra = 0
    for kind, count in BUSI.kinds.items():
        names = {path.name for path in (folder / kind).iterdir()}
        assert {f"{kind} ({number}){mask}.png" for number in range(1, count + 1) for mask in ("", "_mask")} <= names
        for name in (name for name in names if "_mask" in name):
            with Image.open(folder / kind / name) as mask:
                assert mask.mode == ("RGB" if kind == "normal" else "1")
                assert np.asarray(mask).any() == (kind != "normal")
            extra += name.endswith("_mask_1.png")
    assert extra >= 1


def test_busi_s_annotations_name_every_image_in_medvlsm_s_way(root):
    names = [item["img_name"] for items in annotations(write_subset("busi", root)).values() for item in items]
    expected = [f"{number}_{kind}.png" for kind, count in BUSI.kinds.items() for number in range(1, count + 1)]
    assert sorted(names) == sorted(expected)
    for items in annotations(write_subset("busi", root)).values():
        kinds = Counter(item["segment_id"].split("_")[1] for item in items)
        assert set(kinds) == {"benign", "malignant", "normal"}


@pytest.mark.parametrize("dataset", BY_NAME)
def test_the_reader_of_the_real_data_reads_all_of_it(dataset, root):
    subset = BY_NAME[dataset]
    images = find_images(entry(dataset), write_subset(dataset, root).parent, official=False)
    assert images.complete
    assert tuple(images.classes) == subset.classes
    assert Counter(images.parts) == subset.parts
    assert all(images.masks)
    assert max(len(masks) for masks in images.masks) == (2 if dataset == "busi" else 1)
    assert all((images.root / mask).is_file() for masks in images.masks for mask in masks)
    assert {len(prompts) for prompts in images.prompts} == {10 if dataset == "kvasir" else 7}


@pytest.mark.parametrize("kind", ["polyp", "benign", "malignant", "normal"])
def test_a_picture_and_its_masks_fit_together(kind):
    rng = np.random.default_rng()
    for _ in range(10):
        frame = Frame(int(rng.integers(60, 100)), int(rng.integers(60, 100)))
        case = polyp(rng, frame) if kind == "polyp" else ultrasound(rng, frame, kind)
        assert case.picture.shape == (frame.height, frame.width, 3)
        assert case.picture.dtype == np.uint8
        assert len(case.masks) == 0 if kind == "normal" else 1 <= len(case.masks) <= 2
        for mask in case.masks:
            assert mask.shape == (frame.height, frame.width)
            assert 0.005 < mask.mean() < 0.5
        if len(case.masks) == 2:
            assert not (case.masks[0] & case.masks[1]).any()


def test_tumours_are_darker_than_the_tissue_around_them():
    inside, outside = [], []
    for number in range(1, 11):
        case = BUSI.case("benign", number)
        grey, mask = case.picture[..., 0], joined(case)
        inside.append(grey[mask].mean())
        outside.append(grey[~mask].mean())
    assert np.mean(inside) < 0.7 * np.mean(outside)


def test_prompts_grow_by_one_fact_each_and_the_facts_are_true():
    left, right = disc(80, 96, 15, 16, 9, 9), disc(80, 96, 65, 80, 6, 12)
    case = Case(np.zeros((80, 96, 3), np.uint8), [left, right], "yellow")
    prompts = polyp_prompts(case)
    assert prompts["p5"] == "two small yellow round polyp"
    assert prompts["p6"] == "two small yellow round polyp, located in top left, bottom right of the image"
    for shorter, longer in (("p1", "p2"), ("p2", "p3"), ("p3", "p4"), ("p4", "p5")):
        assert str(prompts[longer]).endswith(str(prompts[shorter]))
    assert all(text.startswith(str(prompts["p5"])) for text in prompts["p8"])
    tumours = tumour_prompts(case, "malignant")
    assert tumours["p2"][0] == "Malignant tumors in a breast ultrasound image."
    assert tumours["p6"] == [
        "Two small round malignant tumors at the top left, bottom right in a breast ultrasound image.",
        "Two small round irregular-shaped tumors at the top left, bottom right in a breast ultrasound image.",
    ]
    nothing = tumour_prompts(Case(case.picture, []), "normal")
    assert len({nothing[f"p{number}"] for number in range(1, 7)}) == 1


def test_words_describe_masks():
    assert shape_word(disc(80, 80, 40, 40, 10, 10)) == "round"
    assert shape_word(disc(80, 80, 40, 40, 8, 16)) == "oval"
    assert [size_word([disc(80, 80, 40, 40, r, r)]) for r in (5, 14, 30)] == ["small", "medium", "large"]
    assert place_words([disc(90, 90, 45, 45, 9, 9), disc(90, 90, 80, 45, 5, 5)]) == "center, bottom"
    assert bounding_box(disc(80, 90, 40, 30, 10.5, 5.5)) == [24, 29, 36, 51]
    assert bounding_box(np.zeros((80, 90), bool)) == [90, 80, 0, 0]


def test_kvasir_cases_are_the_same_every_time():
    assert np.array_equal(KVASIR.case(3).picture, KVASIR.case(3).picture)
