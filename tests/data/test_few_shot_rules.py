"""CoOp's and CLIP-LoRA's ways of drawing shots: against stored samples, a plain second writing, and frozen digests."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipbench.data.catalogue import entry
from clipbench.data.images import ImageSet
from clipbench.data.layouts.coop_split import read_split
from clipbench.data.official import find_images
from clipbench.data.splits import split
from clipbench.errors import UserError
from clipbench.registry import Protocol
from tests.data.data_trees import files_of, split_lists, touch, write_split

RULES = ("coop", "clip-lora")


def protocol(rule: str, shots: int, limit: int | None = None, draw: str = "per-repetition") -> Protocol:
    return Protocol(split_rule=rule, shots=shots, limit=limit, split_draw=draw)


def image_set(lists: dict[str, list[int]]) -> ImageSet:
    """Images of those labels in each part, in that order."""
    rows = [
        (f"{part}/c{label}_{i}.jpg", label, part) for part, labels in lists.items() for i, label in enumerate(labels)
    ]
    files, labels, parts = (tuple(row[k] for row in rows) for k in range(3))
    classes = tuple(f"c{label}" for label in range(max(labels) + 1))
    return ImageSet("made", Path("/made"), files, labels, classes, True, parts=parts)


def members(images: ImageSet, part: str) -> dict[int, list[int]]:
    """What a reader of the two codes would write: indices by label, in the order of the list."""
    found = defaultdict(list)
    for i, (label, where) in enumerate(zip(images.labels, images.parts, strict=True)):
        if where == part:
            found[label].append(i)
    return found


def drawn(images: ImageSet, part: str, count: int, *, repeat: bool) -> list[int]:
    """The same with the module-level generator that both codes use."""
    chosen: list[int] = []
    for items in members(images, part).values():
        if len(items) >= count:
            chosen += random.sample(items, count)
        else:
            chosen += random.choices(items, k=count) if repeat else items  # noqa: S311
    return chosen


@st.composite
def image_sets(draw: Any) -> ImageSet:
    """Any order of labels in any part; every class has an image to train and one to test."""
    classes = draw(st.integers(1, 5))
    labels = st.lists(st.integers(0, classes - 1), max_size=40)
    parts = {part: draw(st.permutations([*range(classes), *draw(labels)])) for part in ("train", "val", "test")}
    return image_set(parts)


@settings(deadline=None)
@given(image_sets(), st.sampled_from([1, 2, 4, 8, 16]), st.integers(0, 10**6))
def test_coop_draws_train_and_then_val(images: ImageSet, shots: int, seed: int) -> None:
    random.seed(seed)
    train = drawn(images, "train", shots, repeat=False)
    val = drawn(images, "val", min(shots, 4), repeat=False)
    found = split(images, protocol("coop", shots), seed)
    assert (found.train, found.val) == (train, val)
    assert found.test == [i for i, part in enumerate(images.parts) if part == "test"]


@settings(deadline=None)
@given(image_sets(), st.sampled_from([1, 2, 4, 8, 16]), st.integers(0, 10**6))
def test_clip_lora_draws_val_and_then_train(images: ImageSet, shots: int, seed: int) -> None:
    random.seed(seed)
    val = drawn(images, "val", min(shots, 4), repeat=True)
    train = drawn(images, "train", shots, repeat=True)
    found = split(images, protocol("clip-lora", shots), seed)
    assert (found.train, found.val) == (train, val)
    counts = Counter(images.labels[i] for i in found.train)
    assert counts == dict.fromkeys(set(images.labels), shots)


@settings(deadline=None)
@given(st.lists(st.integers(6, 30), min_size=1, max_size=5), st.sampled_from([1, 2]), st.integers(0, 10**6))
def test_imagenet_gives_train_and_val_from_one_draw(sizes: list[int], shots: int, seed: int) -> None:
    """CLIP-LoRA's imagenet.py: one sample of shots + min(4, shots) per class, its head trains, its tail validates."""
    labels = [label for label, size in enumerate(sizes) for _ in range(size)]
    images = image_set({"train": labels, "test": list(range(len(sizes)))})
    random.seed(seed)
    train, val = [], []
    for items in members(images, "train").values():
        sample = random.sample(items, shots + min(4, shots))
        train += sample[:shots]
        val += sample[shots:]
    found = split(images, protocol("clip-lora", shots), seed)
    assert (found.train, found.val) == (train, val)


@settings(deadline=None)
@given(image_sets(), st.sampled_from(RULES), st.sampled_from([1, 4, 16]), st.integers(0, 10**6), st.integers(1, 5))
def test_parts_are_kept_apart_and_a_limit_cuts_each(
    images: ImageSet, rule: str, shots: int, seed: int, limit: int
) -> None:
    whole, cut = (split(images, protocol(rule, shots, n), seed) for n in (None, limit))
    for part in ("train", "val", "test"):
        assert {images.parts[i] for i in getattr(whole, part)} == {part}
        kept = Counter(images.labels[i] for i in getattr(cut, part))
        before = Counter(images.labels[i] for i in getattr(whole, part))
        assert kept == {label: min(n, limit) for label, n in before.items()}


@pytest.mark.parametrize("rule", RULES)
def test_zero_shots_leave_the_test_part(rule: str) -> None:
    images = image_set({"train": [0, 1], "val": [0, 1], "test": [0, 1, 1]})
    found = split(images, protocol(rule, 0), 1)
    assert (list(found.train), list(found.val), list(found.test)) == ([], [], [4, 5, 6])
    lines = "\n".join(f"test {images.files[i]} {images.labels[i]}" for i in found.test)
    assert found.digest == hashlib.sha256(lines.encode()).hexdigest()


@pytest.mark.parametrize("rule", RULES)
def test_the_digest_is_that_of_the_sampled_list(rule: str) -> None:
    images = image_set({part: [0, 1, 2] * 9 for part in ("train", "val", "test")})
    found = split(images, protocol(rule, 2), 3)
    parts = (("train", found.train), ("val", found.val), ("test", found.test))
    lines = [f"{part} {images.files[i]} {images.labels[i]}" for part, ids in parts for i in ids]
    assert found.digest == hashlib.sha256("\n".join(lines).encode()).hexdigest()


def test_images_without_parts_are_refused() -> None:
    images = ImageSet("made", Path("/made"), ("a.jpg",), (0,), ("a",), True)
    with pytest.raises(UserError, match="no parts"):
        split(images, protocol("coop", 1), 1)


def test_one_draw_for_all_seeds_is_that_of_seed_zero() -> None:
    images = image_set({part: [0, 1] * 20 for part in ("train", "val", "test")})
    once = [split(images, protocol("clip-lora", 4, draw="once"), seed) for seed in (1, 2)]
    assert once[0] == once[1] == split(images, protocol("clip-lora", 4), 0)


# Frozen: a split file that the test builds itself, read by the reader and sampled by the rule

DIGESTS = {
    ("coop", 1, 1): "41832ba5fe15f0fe1330a9975e5de7ba81de7fa872352f5f1fa38e26770c8bb4",
    ("coop", 16, 3): "44556d24169a372a2f6f3942ba467853da2a9e7e571a99c8ead5bb3abb3458bf",
    ("clip-lora", 1, 1): "0d3bf3d7c4ed510ad320313c6e3e1eff3082f8b4be555b8fe65121488b133f7c",
    ("clip-lora", 4, 2): "0e25ab45ce590900928453122b7c73eca5baf2f6bfec1e5528f9536c1f935639",
    ("clip-lora", 16, 3): "e1afd3141a108f84a768b537e18d0cc6dda6b02776ddd8de89c869042135ac72",
}


@pytest.mark.parametrize(("rule", "shots", "seed"), DIGESTS)
def test_frozen_samples(rule: str, shots: int, seed: int, tmp_path: Path) -> None:
    """Records name samples by digest: these may never change."""
    names = entry("eurosat").layout_options["names"]
    lists = split_lists(names, train=20, val=6, test=5)
    touch(tmp_path / "eurosat/2750", files_of(lists))
    write_split(tmp_path / "eurosat" / entry("eurosat").layout_options["split_file"], lists)
    images = find_images(entry("eurosat"), tmp_path, partial=True)
    assert split(images, protocol(rule, shots), seed).digest == DIGESTS[rule, shots, seed]


# Stored samples of CoOp's own

STORED = {"caltech101": "caltech101", "eurosat": "eurosat"}


def stored(shared: Path, dataset: str) -> list[Path]:
    folder = shared / "data/splits/coop_fewshot_indices" / STORED[dataset]
    files = sorted(folder.glob("shot_*-seed_*.json")) if folder.is_dir() else []
    if not files:
        pytest.skip(f"no stored samples of CoOp's in {folder}")
    return files


@pytest.mark.parametrize("dataset", STORED)
def test_coops_stored_samples_are_drawn_again(dataset: str, shared: Path) -> None:
    samples = stored(shared, dataset)
    lists = read_split(shared / "data/splits/coop" / entry(dataset).layout_options["split_file"])
    rows = [(file, label, part) for part, items in lists.items() for file, label, _ in items]
    files, labels, parts = (tuple(row[k] for row in rows) for k in range(3))
    images = ImageSet(dataset, Path("/made"), files, labels, tuple(entry(dataset).classes), True, parts=parts)
    for sample in samples:
        shots, seed = (int(word.partition("_")[2]) for word in sample.stem.split("-"))
        cut = split(images, protocol("coop", shots), seed)
        content = json.loads(sample.read_text())
        for part in ("train", "val"):
            due = [(item["impath"], item["label"], item["classname"]) for item in content[part]["data"]]
            got = [(images.files[i], images.labels[i], images.classes[images.labels[i]]) for i in getattr(cut, part)]
            assert len(due) == len(got) > 0
            for (path_, *rest), (file, *same) in zip(due, got, strict=True):
                assert path_.endswith(f"/{file}")
                assert rest == same


@pytest.mark.parametrize("rule", RULES)
def test_the_whole_val_part_leaves_the_shots_as_they_are(rule: str) -> None:
    images = image_set({"train": [0] * 9 + [1] * 9, "val": [0] * 7 + [1] * 5, "test": [0, 1]})
    few, whole = (split(images, replace(protocol(rule, 2), val_part=part), 3) for part in ("few-shot", "all"))
    assert few.train == whole.train
    assert (len(few.val), list(whole.val)) == (4, list(range(18, 30)))
