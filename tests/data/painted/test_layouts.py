"""Every data set of the catalogue has a subset on disk in its genuine layout, which the genuine reader reads whole."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipbench.data import catalogue
from clipbench.data.masks import load_mask
from clipbench.data.official import find_images
from clipbench.data.painted import SUBSETS, Subset, write_subset
from clipbench.data.splits.odg import class_split


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Iterator[Path]:
    """Where subsets are written, with one picture for all: what is tested here is where they lie."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Subset, "paint", lambda *_: np.zeros((64, 64, 3), np.uint8))
        yield tmp_path_factory.mktemp("subsets")


def test_every_data_set_of_the_catalogue_has_a_subset():
    assert set(SUBSETS) == set(catalogue.known())


@pytest.mark.parametrize("dataset", SUBSETS)
def test_the_reader_of_the_real_data_reads_all_of_it(dataset, root):
    subset = SUBSETS[dataset]
    entry, folder = subset.entry, write_subset(dataset, root)
    if entry.layout == "class-folders":  # this reader takes the classes from the catalogue
        entry = replace(entry, classes=dict.fromkeys(subset.classes, subset.images_per_class))
    images = find_images(entry, folder.parent, official=False)
    assert images.complete
    assert tuple(images.classes) == tuple(subset.classes)
    each = len(subset.domains or [""]) * len(subset.kinds or [""])
    parts = {part: each * count * len(subset.classes) for part, count in subset.split.items() if part}
    assert Counter(images.parts) == parts
    assert Counter(images.labels) == dict.fromkeys(range(len(subset.classes)), each * subset.images_per_class)
    assert Counter(images.domains) == {name: len(images) // len(subset.domains) for name in subset.domains}
    with Image.open(images.root / images.files[0]) as image:
        form = {".tif": "TIFF", ".png": "PNG"}.get(Path(images.files[0]).suffix, "JPEG")
        assert (image.format, image.mode, image.size) == (form, "RGB", (64, 64))


def test_odg_clip_s_class_splits_apply_to_all_sets_with_domains():
    sets = [name for name, subset in SUBSETS.items() if subset.domains]
    assert len(sets) == 4
    assert all(class_split(name, SUBSETS[name].classes).known for name in sets)


def test_there_is_enough_for_sixteen_shots_and_a_fair_test():
    for subset in (subset for subset in SUBSETS.values() if subset.entry.family == "few-shot"):
        assert subset.split["train"] >= 16
        assert subset.split["test"] >= 12


def test_every_number_of_a_class_is_in_one_part():
    subset = SUBSETS["sun397"]
    members = subset.members("castle")
    assert sorted(number for numbers in members.values() for number in numbers) == list(range(subset.images_per_class))
    assert {part: len(numbers) for part, numbers in members.items()} == dict(subset.split)


def test_class_names_are_official_where_the_catalogue_knows_them():
    for subset in SUBSETS.values():
        assert not subset.entry.classes or set(subset.classes) <= set(subset.entry.classes)
        assert len(set(subset.classes)) == len(subset.classes)


def test_the_official_test_lists_of_pacs_hold_the_whole_domain(root):
    splits = write_subset("pacs", root) / "splits"
    lists = {
        part: (splits / f"sketch_{part}_kfold.txt").read_text().splitlines() for part in ("train", "crossval", "test")
    }
    assert sorted(lists["test"]) == sorted(lists["train"] + lists["crossval"])
    assert lists["test"][0].split(" ")[1] == "1"  # labels count from 1


def test_masks_are_read_with_their_pictures(root):
    folder = write_subset("busi", root)
    images = find_images(SUBSETS["busi"].entry, folder.parent, official=False)
    assert max(map(len, images.masks)) == 2
    for file, masks in zip(images.files, images.masks, strict=True):
        mask = load_mask([images.root / name for name in masks], 64, images.root / file)
        assert mask.any() == ("normal" not in file)
    kvasir = write_subset("kvasir", root)
    item = json.loads((kvasir / "anns" / "test.json").read_text())[0]
    with Image.open(kvasir / "masks" / item["mask_name"]) as mask:
        assert len(set(np.asarray(mask.convert("L")).ravel().tolist())) > 2  # JPEG: a reader must threshold
