"""The sizes that the catalogue foretells are those of the splits; an estimate is close where counts are not known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipbench.data.catalogue import Entry, entry
from clipbench.data.images import ImageSet
from clipbench.data.load import image_set, part_sizes
from clipbench.data.splits import split
from clipbench.errors import UserError
from clipbench.registry import Protocol

EXACT = ("caltech101", "dtd", "eurosat", "flowers102", "oxford_pets", "stanford_cars", "ucf101", "food101", "sun397")


def made(official: Entry) -> ImageSet:
    """Images in the official numbers, without a file."""
    even: Mapping[str, Mapping[str, int]] = {
        f"c{i}": {part: n // official.class_count for part, n in official.parts.items()}
        for i in range(official.class_count)
    }
    counts = official.class_parts or even
    rows = [
        (f"{part}/{label}/{i}", label, part)
        for part in ("train", "val", "test")
        for label, parts in enumerate(counts.values())
        for i in range(parts[part])
    ]
    files, labels, parts = (tuple(row[k] for row in rows) for k in range(3))
    return ImageSet(official.id, Path("/made"), files, labels, tuple(counts), True, parts=parts)


@pytest.mark.parametrize("dataset", EXACT)
@pytest.mark.parametrize("rule", ["coop", "clip-lora"])
def test_few_shot_sizes_are_exact(dataset: str, rule: str) -> None:
    images = made(entry(dataset))
    for shots, limit in ((0, None), (1, None), (16, None), (16, 3), (4, 50)):
        protocol = Protocol(dataset=dataset, split_rule=rule, shots=shots, limit=limit)
        found = split(images, protocol, 1)
        assert part_sizes(protocol) == (len(found.train), len(found.test))


def test_the_papers_test_sets_have_their_sizes() -> None:
    sizes = {"imagenet": 50_000, "fgvc_aircraft": 3_333, "stanford_cars": 8_041, "flowers102": 2_463}
    for dataset, test in sizes.items():
        for shots in (1, 16):
            protocol = Protocol(dataset=dataset, split_rule="clip-lora", shots=shots)
            assert part_sizes(protocol) == (shots * entry(dataset).class_count, test)


def test_few_shots_of_class_folders_follow_their_cut() -> None:
    protocol = Protocol(profile="smoke", dataset="ucm", split_rule="clip-lora", shots=4)
    found = split(image_set(protocol, Path()), protocol, 1)
    assert part_sizes(protocol) == (len(found.train), len(found.test))


@pytest.mark.parametrize("target", ["photo", "each"])
@pytest.mark.parametrize("space", ["closed-set", "odg", "odg-known"])
def test_a_generated_benchmark_is_counted_itself(target: str, space: str) -> None:
    from clipbench.data.painted import SUBSETS

    if "pacs" not in SUBSETS:
        pytest.skip("there is no subset of pacs yet")
    protocol = Protocol(
        profile="smoke", dataset="pacs", split_rule="leave-one-domain-out", test_domain=target, label_space=space
    )
    images = image_set(protocol, Path())
    targets = entry("pacs").domains if target == "each" else [target]
    cuts = [split(images, replace(protocol, test_domain=t), 1) for t in targets]
    assert part_sizes(protocol) == (sum(len(c.train) for c in cuts), sum(len(c.test) for c in cuts))


@pytest.mark.parametrize(
    ("dataset", "target", "train", "test"),
    [("pacs", "photo", 8_320, 1_670), ("officehome", "art", 13_161, 2_427), ("digits_dg", "svhn", 18_000, 6_000)],
)
def test_leaving_a_domain_out_is_exact_over_all_classes(dataset: str, target: str, train: int, test: int) -> None:
    protocol = Protocol(
        dataset=dataset, split_rule="leave-one-domain-out", label_space="closed-set", test_domain=target
    )
    assert part_sizes(protocol) == (train, test)


def test_each_target_is_the_sum_over_targets() -> None:
    targets = ["each", *entry("pacs").domains]
    pacs = Protocol(dataset="pacs", split_rule="leave-one-domain-out", label_space="closed-set")
    sizes = [part_sizes(replace(pacs, test_domain=target)) for target in targets]
    assert sizes[0] == (sum(train for train, _ in sizes[1:]), sum(test for _, test in sizes[1:])) == (29_970, 9_990)


@settings(deadline=None)
@given(st.sampled_from(["pacs", "digits_dg", "officehome", "mini_domainnet"]), st.sampled_from(["odg", "odg-known"]))
def test_class_splits_take_their_share(dataset: str, space: str) -> None:
    protocol = Protocol(
        dataset=dataset,
        split_rule="leave-one-domain-out",
        test_domain=next(iter(entry(dataset).domains)),
        label_space=space,
    )
    train, test = part_sizes(protocol)
    whole = part_sizes(replace(protocol, label_space="closed-set"))
    assert 0 < train < whole[0]
    assert 0 < test <= whole[1]


@pytest.mark.parametrize(("dataset", "sizes"), [("kvasir", (800, 100)), ("isic2016", (810, 379)), ("busi", (624, 78))])
def test_official_parts_are_exact(dataset: str, sizes: tuple[int, int]) -> None:
    assert part_sizes(Protocol(dataset=dataset, split_rule="official")) == sizes
    assert part_sizes(Protocol(dataset=dataset, split_rule="official", limit=7)) == (7, 7)


def test_a_protocol_without_a_rule_is_refused() -> None:
    with pytest.raises(UserError, match="does not say split_rule"):
        part_sizes(Protocol(dataset="dtd"))
