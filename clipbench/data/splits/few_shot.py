"""How CoOp and CLIP-LoRA draw the shots, to the letter: from the split file with Python's ``random`` alone.

[KaiyangZhou/Dassl.pytorch c61a1b5 dassl/data/datasets/base_dataset.py:194-202; KaiyangZhou/CoOp ff61507
datasets/oxford_pets.py:33-49; MaxZanella/CLIP-LoRA 358f0d7 datasets/utils.py:210-252, dtd.py:23-26,
imagenet.py:214-239]
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence

from clipbench.data.catalogue import Entry
from clipbench.data.images import ImageSet
from clipbench.data.layouts.rebuild import fraction_counts
from clipbench.data.splits.rule import Rule, Split, limited_sum
from clipbench.errors import UserError
from clipbench.registry import Protocol

VAL_SHOTS = 4
"""Validation images per class at most."""


def _coop(images: ImageSet, protocol: Protocol, seed: int) -> Split:
    """Train is drawn first, then val; a class with fewer images than shots stays whole. All of the test part tests."""
    shots, draw = protocol.need("shots"), random.Random(seed)  # noqa: S311 - a reproducible split, not a secret
    train = [i for members in classes_in(images, "train") for i in _without_repeats(draw, members, shots)]
    val = [i for members in classes_in(images, "val") for i in _without_repeats(draw, members, min(shots, VAL_SHOTS))]
    return _checked(images, protocol, train, val)


def _clip_lora(images: ImageSet, protocol: Protocol, seed: int) -> Split:
    """Val is drawn first, then train; a class with fewer images than shots is drawn from with replacement.

    A data set without a val part (ImageNet) gives both from its training images, drawn together, train first.
    """
    shots, draw = protocol.need("shots"), random.Random(seed)  # noqa: S311 - a reproducible split, not a secret
    val_shots = min(shots, VAL_SHOTS)
    if "val" in images.parts:
        val = [i for members in classes_in(images, "val") for i in _with_repeats(draw, members, val_shots)]
        train = [i for members in classes_in(images, "train") for i in _with_repeats(draw, members, shots)]
    else:
        both = [_with_repeats(draw, members, shots + val_shots) for members in classes_in(images, "train")]
        train, val = [i for drawn in both for i in drawn[:shots]], [i for drawn in both for i in drawn[shots:]]
    return _checked(images, protocol, train, val)


def classes_in(images: ImageSet, part: str) -> Iterable[list[int]]:
    """The images of each class in that part, classes in the order in which they come first there."""
    members: dict[int, list[int]] = {}
    for index in _part(images, part):
        members.setdefault(images.labels[index], []).append(index)
    return members.values()


def _checked(images: ImageSet, protocol: Protocol, train: list[int], val: list[int]) -> Split:
    shots, test = protocol.need("shots"), _part(images, "test")
    if protocol.val_part == "all":
        val = _part(images, "val")
    if not test:
        raise UserError(f"{images.root}: the test part has no image.")
    if shots and not train:
        raise UserError(f"{images.root}: the train part has no image to draw {shots} shots per class from.")
    return Split(train, test, "", val)


def _without_repeats(draw: random.Random, members: Sequence[int], count: int) -> Sequence[int]:
    return draw.sample(members, count) if len(members) >= count else members


def _with_repeats(draw: random.Random, members: Sequence[int], count: int) -> Sequence[int]:
    return draw.sample(members, count) if len(members) >= count else draw.choices(members, k=count)


def _part(images: ImageSet, part: str) -> list[int]:
    if not images.parts:
        raise UserError(f"{images.root}: few shots are drawn from a train, val and test part, and it has no parts.")
    return [index for index, name in enumerate(images.parts) if name == part]


def _sizes(most_of_a_class: Callable[[int, int], int]) -> Callable[[Entry, Protocol], tuple[int, int]]:
    """Sizes, given how many images a class of ``n`` training images gives for so many shots."""

    def sizes(entry: Entry, protocol: Protocol) -> tuple[int, int]:
        train = (most_of_a_class(n, protocol.need("shots")) for n in _per_class(entry, "train"))
        return limited_sum(train, protocol.limit), limited_sum(_per_class(entry, "test"), protocol.limit)

    return sizes


def _per_class(entry: Entry, part: str) -> list[int]:
    """Images of each class in that part; an even share of the part where only its sum is known."""
    if entry.class_parts:
        return [parts[part] for parts in entry.class_parts.values()]
    if not entry.parts:
        position = ("train", "val", "test").index(part)
        return [fraction_counts(n)[position] for n in entry.classes.values()]
    each, rest = divmod(entry.parts[part], entry.class_count)
    return [each + (label < rest) for label in range(entry.class_count)]


COOP = Rule(_coop, _sizes(min), True, "all of them train, each once, as in CoOp's code")
CLIP_LORA = Rule(
    _clip_lora, _sizes(lambda _, shots: shots), True, "they are drawn with repeats, as in CLIP-LoRA's code"
)
