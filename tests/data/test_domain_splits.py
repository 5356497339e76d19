"""Leave-one-domain-out in its label spaces, and the official parts: what trains, what is tested, what is known."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipbench.data.catalogue import entry
from clipbench.data.images import ImageSet
from clipbench.data.splits import split
from clipbench.data.splits.odg import class_split
from clipbench.errors import UserError
from clipbench.registry import Protocol

BENCHMARKS = ("pacs", "officehome", "digits_dg", "mini_domainnet")


def benchmark(dataset: str, parts: bool = True, per_cell: int = 2) -> ImageSet:
    """A made set with the benchmark's own domains and number of classes."""
    official = entry(dataset)
    classes = tuple(official.classes) or tuple(f"class_{i:03d}" for i in range(official.class_count))
    names = ("train", *official.tested_parts) if official.tested_parts else ("train", "val")
    rows = [
        (f"{domain}/{part}/{name}_{i}.jpg", label, part, domain)
        for domain in official.domains
        for part in names
        for label, name in enumerate(classes)
        for i in range(per_cell)
    ]
    files, labels, where, domains = (tuple(row[k] for row in rows) for k in range(4))
    return ImageSet(
        dataset,
        Path("/made"),
        files,
        labels,
        classes,
        True,
        parts=where if parts else (),
        domains=domains,
        tested_parts=tuple(official.tested_parts),
    )


def protocol(target: str | None, space: str = "closed-set", train: str = "all", test: str = "all") -> Protocol:
    return Protocol(
        split_rule="leave-one-domain-out", test_domain=target, label_space=space, train_part=train, test_part=test
    )


@pytest.mark.parametrize("dataset", BENCHMARKS)
def test_the_held_out_domain_is_tested_and_the_others_train(dataset: str) -> None:
    images = benchmark(dataset)
    for target in entry(dataset).domains:
        found = split(images, protocol(target, "closed-set"), 1)
        assert {images.domains[i] for i in found.test} == {target}
        assert sorted([*found.train, *found.test]) == list(range(len(images)))
        assert (found.val, found.known) == ((), ())
        assert split(images, protocol(target), 7) == found, "seeds change nothing, and closed-set is the default"
        lines = [f"train {images.files[i]} {images.labels[i]}" for i in found.train]
        lines += [f"test {images.files[i]} {images.labels[i]}" for i in found.test]
        assert found.digest == hashlib.sha256("\n".join(lines).encode()).hexdigest()


@pytest.mark.parametrize(
    ("dataset", "tested"),
    [("pacs", {"train", "val"}), ("officehome", {"val"}), ("digits_dg", {"val"}), ("mini_domainnet", {"test"})],
)
def test_the_official_parts_narrow_sources_and_target(dataset: str, tested: set[str]) -> None:
    images = benchmark(dataset)
    target = next(iter(entry(dataset).domains))
    found = split(images, protocol(target, train="train", test="test"), 1)
    assert {images.parts[i] for i in found.train} == {"train"}
    assert {images.parts[i] for i in found.test} == tested


@pytest.mark.parametrize("part", ["train", "test"])
def test_parts_that_are_not_there_are_refused(part: str) -> None:
    images = benchmark("digits_dg", parts=False)
    with pytest.raises(UserError, match="has no parts"):
        split(images, replace(protocol("svhn"), **{f"{part}_part": part}), 1)
    assert split(images, protocol("svhn"), 1).test


@pytest.mark.parametrize("target", ["video", None, "each"])
def test_an_unknown_domain_is_refused_with_the_known_ones(target: str | None) -> None:
    with pytest.raises(UserError, match=r"it has art_painting, cartoon, photo, sketch"):
        split(benchmark("pacs"), protocol(target), 1)


@settings(deadline=None)
@given(st.sampled_from(BENCHMARKS), st.integers(0, 3), st.integers(1, 3))
def test_a_limit_cuts_each_class_of_each_domain(dataset: str, target: int, limit: int) -> None:
    images = benchmark(dataset, per_cell=1)  # two parts: two images of each class and domain
    domain = list(entry(dataset).domains)[target]
    whole = split(images, protocol(domain), 1)
    cut = split(images, replace(protocol(domain), limit=limit), 1)
    assert len(cut.train) == len(whole.train) * min(limit, 2) // 2
    assert len(cut.test) == len(whole.test) * min(limit, 2) // 2


# ODG-CLIP's class splits

SIZES = {"pacs": (3, 6, 7), "officehome": (26, 54, 27), "digits_dg": (3, 7, 10), "mini_domainnet": (40, 90, 76)}


@pytest.mark.parametrize("dataset", BENCHMARKS)
@pytest.mark.parametrize("space", ["odg", "odg-known"])
def test_each_source_has_its_own_classes(dataset: str, space: str) -> None:
    images = benchmark(dataset)
    each, known, tested = SIZES[dataset]
    cut = class_split(dataset, images.classes)
    for target in entry(dataset).domains:
        found = split(images, protocol(target, space), 1)
        sources = [name for name in entry(dataset).domains if name != target]
        for slot, source in enumerate(sources):
            seen = {images.classes[images.labels[i]] for i in found.train if images.domains[i] == source}
            assert seen == cut.sources[slot]
            assert len(seen) == each
        assert {images.labels[i] for i in found.train} == set(found.known)
        assert len(found.known) == known
        shown = {images.labels[i] for i in found.test}
        assert len(shown) == (tested if space == "odg" else len(cut.target & cut.known))
        assert (shown <= set(found.known)) == (space == "odg-known")


@pytest.mark.parametrize("dataset", BENCHMARKS)
def test_the_class_splits_are_those_of_odg_clips_scripts(dataset: str, shared: Path) -> None:
    path = shared / "research/reference/odgclip_class_splits.json"
    if not path.is_file():
        pytest.skip(f"no transcript of the scripts: {path} does not exist")
    names = {"pacs": "PACS", "officehome": "OfficeHome", "digits_dg": "Digits-DG", "mini_domainnet": "Mini-DomainNet"}
    due = json.loads(path.read_text())[names[dataset]]
    classes = [f"{i:03d}" for i in range(due["classes"])]
    found = class_split(dataset, classes)
    assert [sorted(map(int, s)) for s in found.sources] == [sorted(due[f"source{i}"]) for i in (1, 2, 3)]
    assert sorted(map(int, found.target)) == sorted(due["target_classes"])
    assert len(found.known) == due["n_known"]


def test_the_split_goes_by_sorted_names_and_not_by_label() -> None:
    images = benchmark("pacs")
    turned = tuple(reversed(images.classes))
    other = replace(images, classes=turned, labels=tuple(6 - label for label in images.labels))
    for target in entry("pacs").domains:
        one, two = (split(x, protocol(target, "odg"), 1) for x in (images, other))
        assert (one.train, one.test) == (two.train, two.test)
        assert {images.classes[k] for k in one.known} == {turned[k] for k in two.known}


def test_a_set_without_class_split_is_refused() -> None:
    images = replace(benchmark("pacs"), dataset="vlcs")
    with pytest.raises(UserError, match="no class split of vlcs; it has pacs, officehome"):
        split(images, protocol("photo", "odg"), 1)
    fewer = replace(benchmark("pacs"), classes=("dog", "elephant"))
    with pytest.raises(UserError, match="is of 7 classes; here are 2"):
        split(fewer, protocol("photo", "odg"), 1)


# Official parts


def test_official_parts_are_taken_as_they_are() -> None:
    parts = ("train", "val", "test", "test", "train")
    files = tuple(f"{i}.png" for i in range(5))
    images = ImageSet("made", Path("/made"), files, (0,) * 5, ("polyp",), True, parts=parts)
    found = split(images, Protocol(split_rule="official"), 3)
    assert (found.train, found.val, found.test) == ([0, 4], [1], [2, 3])
    cut = split(images, Protocol(split_rule="official", limit=1), 3)
    assert (cut.train, cut.val, cut.test) == ([0], [1], [2])
    assert found.digest != cut.digest
