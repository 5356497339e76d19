"""Split rules by name. Each is reproducible from the sorted file list with Python's ``random`` alone."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from clipbench.data.images import ImageSet
from clipbench.errors import UserError
from clipbench.spec import Protocol


@dataclass(frozen=True)
class Split:
    """Indices into an :class:`ImageSet`; ``digest`` is the SHA-256 of the train and test file lists with labels."""

    train: Sequence[int]
    test: Sequence[int]
    digest: str


def split(images: ImageSet, protocol: Protocol, seed: int) -> Split:
    """Cut the images by the protocol's rule; with ``limit`` at most that many images per class and part remain."""
    rule = RULES.get(protocol.split_rule or "")
    if rule is None:
        raise UserError(f"the split rule {protocol.split_rule!r} is not implemented; there is {', '.join(RULES)}.")
    train, test = rule(images, protocol, 0 if protocol.split_draw == "once" else seed)
    if protocol.limit is not None:
        train, test = (_limited(part, images.labels, protocol.limit) for part in (train, test))
    return Split(train, test, _digest(images, train, test))


def stratified_fraction(images: ImageSet, protocol: Protocol, seed: int) -> tuple[list[int], list[int]]:
    """Of every class, ``round(fraction * n)`` images train (at least one, and one remains), the rest tests.

    Class by class, ``random.Random(seed).sample`` draws the training images from the class's sorted file list.
    """
    draw = random.Random(seed)  # noqa: S311 - a reproducible split, not a secret
    train: list[int] = []
    test: list[int] = []
    for members in _by_class(images.labels):
        if len(members) < 2:
            raise UserError(
                f"{images.root}: {images.classes[images.labels[members[0]]]} has one image; a split needs two."
            )
        chosen = draw.sample(members, train_count(len(members), protocol, limited=False))
        train += chosen
        test += sorted(set(members) - set(chosen))
    return train, test


def train_count(members: int, protocol: Protocol, *, limited: bool = True) -> int:
    """Training images of a class of that many."""
    count = min(max(round((protocol.train_fraction or 0.0) * members), 1), members - 1)
    return min(count, protocol.limit) if limited and protocol.limit else count


RULES: dict[str, Callable[[ImageSet, Protocol, int], tuple[list[int], list[int]]]] = {
    "stratified-fraction": stratified_fraction,
}


def _by_class(labels: Sequence[int]) -> list[list[int]]:
    members: dict[int, list[int]] = {}
    for index, label in enumerate(labels):
        members.setdefault(label, []).append(index)
    return [members[label] for label in sorted(members)]


def _limited(part: Sequence[int], labels: Sequence[int], limit: int) -> list[int]:
    kept: list[int] = []
    seen: dict[int, int] = {}
    for index in part:
        seen[labels[index]] = seen.get(labels[index], 0) + 1
        kept += [index] if seen[labels[index]] <= limit else []
    return kept


def _digest(images: ImageSet, train: Sequence[int], test: Sequence[int]) -> str:
    lines = [
        f"{part} {images.files[i]} {images.labels[i]}" for part, ids in (("train", train), ("test", test)) for i in ids
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
