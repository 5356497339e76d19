"""A fraction of every class trains, the rest tests."""

from __future__ import annotations

import random
from collections.abc import Sequence

from clipbench.data.catalogue import Entry
from clipbench.data.images import ImageSet
from clipbench.data.splits.rule import Rule, Split, limited_sum
from clipbench.errors import UserError
from clipbench.registry import Protocol


def train_count(members: int, fraction: float) -> int:
    """Training images of a class of that many: at least one, and one remains for the test."""
    return min(max(round(fraction * members), 1), members - 1)


def _cut(images: ImageSet, protocol: Protocol, seed: int) -> Split:
    """Class by class, ``random.Random(seed).sample`` draws the training images from the class's sorted file list."""
    draw = random.Random(seed)  # noqa: S311 - a reproducible split, not a secret
    train: list[int] = []
    test: list[int] = []
    for members in _by_class(images.labels):
        if len(members) < 2:
            raise UserError(
                f"{images.root}: {images.classes[images.labels[members[0]]]} has one image; a split needs two."
            )
        chosen = draw.sample(members, train_count(len(members), protocol.need("train_fraction")))
        train += chosen
        test += sorted(set(members) - set(chosen))
    return Split(train, test, "")


def _sizes(entry: Entry, protocol: Protocol) -> tuple[int, int]:
    train = [train_count(n, protocol.need("train_fraction")) for n in entry.classes.values()]
    test = [n - trained for n, trained in zip(entry.classes.values(), train, strict=True)]
    return limited_sum(train, protocol.limit), limited_sum(test, protocol.limit)


def _by_class(labels: Sequence[int]) -> list[list[int]]:
    members: dict[int, list[int]] = {}
    for index, label in enumerate(labels):
        members.setdefault(label, []).append(index)
    return [members[label] for label in sorted(members)]


STRATIFIED_FRACTION = Rule(_cut, _sizes)
