"""The few-shot subsets on disk: genuine file names, split files and lists; parts that partition the images."""

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
from clipbench.data.painted import SUBSETS, write_subset
from clipbench.data.painted.fewshot import FEW_SHOT_SUBSETS

BY_NAME = {subset.dataset: subset for subset in FEW_SHOT_SUBSETS}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("few-shot")


def files(folder: Path, suffix: str) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob(f"*{suffix}")}


def test_caltech101_is_class_folders_and_a_split_file(root):
    folder = write_subset("caltech101", root)
    assert folder.name == "caltech-101"
    split = json.loads((folder / "split_zhou_Caltech101.json").read_text())
    assert list(split) == ["train", "val", "test"]
    listed = [triple for part in split.values() for triple in part]
    assert {f"101_ObjectCategories/{file}" for file, _, _ in listed} == files(folder, ".jpg")
    assert len(listed) == len({file for file, _, _ in listed})
    assert all(re.fullmatch(r"[A-Za-z_]+/image_\d{4}\.jpg", file) for file, _, _ in listed)
    names = {label: name for _, label, name in listed}
    assert [names[label] for label in range(len(names))] == list(SUBSETS["caltech101"].classes)
    # CoOp renames two of these folders
    folders = {name: file.split("/")[0] for file, _, name in listed}
    assert folders["face"] == "Faces"
    assert folders["motorbike"] == "Motorbikes"
    assert folders["stop_sign"] == "stop_sign"


def test_fgvc_aircraft_is_one_folder_and_a_list_per_part(root):
    folder = write_subset("fgvc_aircraft", root)
    variants = (folder / "variants.txt").read_text().splitlines()
    assert variants == sorted(variants) == list(SUBSETS["fgvc_aircraft"].classes)
    listed: list[str] = []
    for part, count in BY_NAME["fgvc_aircraft"].split.items():
        lines = [line.split(" ", 1) for line in (folder / f"images_variant_{part}.txt").read_text().splitlines()]
        assert Counter(name for _, name in lines) == dict.fromkeys(variants, count)
        listed += [number for number, _ in lines]
    assert all(re.fullmatch(r"\d{7}", number) for number in listed)
    assert len(listed) == len(set(listed))
    assert {f"images/{number}.jpg" for number in listed} == files(folder, ".jpg")


def test_imagenet_is_folders_of_wordnet_ids_and_class_names(root):
    folder = write_subset("imagenet", root)
    text = (folder / "classnames.txt").read_bytes().decode()
    assert text.endswith("\r\n")  # as CoOp's file has it
    names = dict(line.split(" ", 1) for line in text.splitlines())
    assert list(names) == sorted(names)
    assert list(names.values()) == list(SUBSETS["imagenet"].classes)
    patterns = {"train": r"images/train/(n\d{8})/\1_\d+\.JPEG", "val": r"images/val/n\d{8}/ILSVRC2012_val_\d{8}\.JPEG"}
    images = files(folder, ".JPEG")
    assert all(re.fullmatch(patterns[name.split("/")[1]], name) for name in images)
    assert Counter(name.split("/")[2] for name in images) == dict.fromkeys(names, 36)
    assert len({Path(name).name for name in images}) == len(images)


@pytest.mark.parametrize("dataset", BY_NAME)
def test_the_reader_of_the_real_data_reads_all_of_it(dataset, root):
    subset = BY_NAME[dataset]
    images = find_images(entry(dataset), write_subset(dataset, root).parent, official=False)
    assert images.complete
    assert tuple(images.classes) == subset.classes
    assert Counter(images.parts) == subset.parts
    for part, count in subset.split.items():
        labels = [label for label, its in zip(images.labels, images.parts, strict=True) if its == part]
        assert Counter(labels) == dict.fromkeys(range(len(subset.classes)), count)
    with Image.open(images.root / images.files[0]) as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (subset.pixels, subset.pixels))


@pytest.mark.parametrize("dataset", BY_NAME)
def test_there_is_enough_for_sixteen_shots_and_a_fair_test(dataset):
    split = BY_NAME[dataset].split
    assert split["train"] >= 16
    assert split.get("val", 4) >= 4
    assert 12 <= split["test"] <= 20


def test_class_names_of_caltech101_are_official():
    assert set(SUBSETS["caltech101"].classes) <= set(entry("caltech101").classes)


@pytest.mark.parametrize("dataset", BY_NAME)
def test_an_image_does_not_depend_on_its_part_or_on_others(dataset):
    subset = BY_NAME[dataset]
    name = subset.classes[-1]
    first = subset.paint(name, 2)
    subset.paint(subset.classes[0], 0)
    assert np.array_equal(subset.paint(name, 2), first)
    assert first.shape == (subset.pixels, subset.pixels, 3)
    assert first.dtype == np.uint8
