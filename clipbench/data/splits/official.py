"""Train, val and test as the data set's own lists have them."""

from __future__ import annotations

from clipbench.data.catalogue import Entry
from clipbench.data.images import ImageSet
from clipbench.data.splits.rule import Rule, Split, indices_of, limited_sum
from clipbench.errors import UserError
from clipbench.registry import Protocol


def _cut(images: ImageSet, _: Protocol, __: int) -> Split:
    train, val, test = (indices_of(images, (part,)) for part in ("train", "val", "test"))
    if not test:
        raise UserError(f"{images.root}: the test part has no image.")
    return Split(train, test, "", val)


def _sizes(entry: Entry, protocol: Protocol) -> tuple[int, int]:
    train, test = (limited_sum([entry.parts[part]], protocol.limit) for part in ("train", "test"))
    return train, test


OFFICIAL = Rule(_cut, _sizes)
