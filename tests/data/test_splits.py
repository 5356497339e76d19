"""Split rules: exact counts, reproducible with Python's random alone, one digest per split."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipbench.data.catalogue import entry
from clipbench.data.images import ImageSet
from clipbench.data.load import part_sizes
from clipbench.data.splits import Split, split
from clipbench.errors import UserError
from clipbench.registry import Protocol


def image_set(*sizes: int) -> ImageSet:
    files = [f"c{label}/c{label}_{i}.jpg" for label, size in enumerate(sizes) for i in range(size)]
    labels = [label for label, size in enumerate(sizes) for _ in range(size)]
    return ImageSet("made", Path("/made"), tuple(files), tuple(labels), [f"c{k}" for k in range(len(sizes))], True)


def rule(fraction: float, draw: str = "per-repetition", limit: int | None = None) -> Protocol:
    return Protocol(
        dataset="aid", split_rule="stratified-fraction", train_fraction=fraction, split_draw=draw, limit=limit
    )


SIZES = st.lists(st.integers(2, 60), min_size=1, max_size=6)
FRACTIONS = st.floats(0.05, 0.95)


@settings(deadline=None)
@given(SIZES, FRACTIONS, st.integers(0, 10**6))
def test_counts_are_exact_and_the_parts_make_up_the_whole(sizes: list[int], fraction: float, seed: int) -> None:
    images = image_set(*sizes)
    found = split(images, rule(fraction), seed)
    train, test = (Counter(images.labels[i] for i in part) for part in (found.train, found.test))
    for label, size in enumerate(sizes):
        assert train[label] == min(max(round(fraction * size), 1), size - 1)
        assert train[label] + test[label] == size
    assert sorted([*found.train, *found.test]) == list(range(len(images)))


@settings(deadline=None)
@given(SIZES, FRACTIONS, st.integers(0, 10**6))
def test_is_what_pythons_random_draws_class_by_class(sizes: list[int], fraction: float, seed: int) -> None:
    """The rule again, on file names, as a reader of the documentation would write it."""
    draw, train, test = random.Random(seed), [], []  # noqa: S311
    for label, size in enumerate(sizes):
        files = [f"c{label}/c{label}_{i}.jpg" for i in range(size)]
        chosen = draw.sample(files, min(max(round(fraction * size), 1), size - 1))
        train += [("train", file, label) for file in chosen]
        test += [("test", file, label) for file in files if file not in chosen]
    images = image_set(*sizes)
    found = split(images, rule(fraction), seed)
    assert [images.files[i] for i in found.train] == [file for _, file, _ in train]
    assert [images.files[i] for i in found.test] == [file for _, file, _ in test]
    lines = "\n".join(f"{part} {file} {label}" for part, file, label in [*train, *test])
    assert found.digest == hashlib.sha256(lines.encode()).hexdigest()


@settings(deadline=None)
@given(SIZES, FRACTIONS, st.integers(0, 10**6), st.integers(1, 8))
def test_a_limit_keeps_a_part_of_the_same_split(sizes: list[int], fraction: float, seed: int, limit: int) -> None:
    images = image_set(*sizes)
    whole, cut = split(images, rule(fraction), seed), split(images, rule(fraction, limit=limit), seed)
    for all_of_it, part in ((whole.train, cut.train), (whole.test, cut.test)):
        kept = set(part)
        assert [i for i in all_of_it if i in kept] == list(part)
        before, after = (Counter(images.labels[i] for i in x) for x in (all_of_it, part))
        assert after == {label: min(n, limit) for label, n in before.items()}


def test_a_frozen_split() -> None:
    """Records name splits by digest: this one may never change."""
    found = split(image_set(10, 7, 4), rule(0.3), 1)
    assert found.train == GOLDEN.train
    assert found.test == GOLDEN.test
    assert found.digest == GOLDEN.digest


GOLDEN = Split(
    [2, 1, 4, 10, 13, 20],
    [0, 3, 5, 6, 7, 8, 9, 11, 12, 14, 15, 16, 17, 18, 19],
    "04e0212981ae465e41dfe092310f843dabcf8de029ed5b2febe115da479d1329",
)


def test_seeds_differ_and_repeat() -> None:
    images = image_set(30, 30)
    digests = [split(images, rule(0.5), seed).digest for seed in (1, 2, 3, 1)]
    assert len(set(digests)) == 3
    assert digests[0] == digests[3]


def test_a_split_drawn_once_is_that_of_seed_zero_for_every_seed() -> None:
    images = image_set(30, 30)
    found = [split(images, rule(0.5, "once"), seed) for seed in (1, 2, 3)]
    assert found[0] == found[1] == found[2] == split(images, rule(0.5), 0)


def test_the_file_names_are_part_of_the_digest() -> None:
    images = image_set(5, 5)
    renamed = ImageSet("made", images.root, ["x/y.jpg", *images.files[1:]], images.labels, images.classes, True)
    one, other = split(images, rule(0.5), 1), split(renamed, rule(0.5), 1)
    assert (one.train, one.test) == (other.train, other.test)
    assert one.digest != other.digest


def test_a_class_of_one_image_cannot_be_split() -> None:
    with pytest.raises(UserError, match="c1 has one image"):
        split(image_set(3, 1), rule(0.5), 1)


def test_a_protocol_without_a_rule_is_refused() -> None:
    with pytest.raises(UserError, match="does not say split_rule"):
        split(image_set(3, 3), Protocol(), 1)


@pytest.mark.parametrize(
    ("dataset", "fraction", "train", "test"),
    [
        ("ucm", 0.8, 1680, 420),
        ("aid", 0.2, 2000, 8000),
        ("aid", 0.5, 5000, 5000),
        ("resisc45", 0.1, 3150, 28350),
        ("resisc45", 0.2, 6300, 25200),
        ("optimal31", 0.8, 1488, 372),
    ],
)
def test_the_papers_fractions_are_exact_in_every_class(dataset: str, fraction: float, train: int, test: int) -> None:
    classes = entry(dataset).classes
    images = image_set(*classes.values())
    found = split(images, rule(fraction), 1)
    assert (len(found.train), len(found.test)) == (train, test)
    counts = Counter(images.labels[i] for i in found.train)
    assert all(counts[k] == pytest.approx(fraction * n, abs=1e-9) for k, n in enumerate(classes.values()))
    protocol = Protocol(dataset=dataset, split_rule="stratified-fraction", train_fraction=fraction)
    assert part_sizes(protocol) == (train, test)


def test_part_sizes_are_those_of_the_split_under_a_limit() -> None:
    classes = entry("aid").classes
    for limit in (1, 50, 100, 10_000):
        found = split(image_set(*classes.values()), rule(0.2, limit=limit), 1)
        assert part_sizes(rule(0.2, limit=limit)) == (len(found.train), len(found.test))
