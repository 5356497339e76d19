"""How CoOp and CLIP-LoRA draw the shots, to the letter: from the split file with Python's ``random`` alone.

[KaiyangZhou/Dassl.pytorch c61a1b5 dassl/data/datasets/base_dataset.py:194-202; KaiyangZhou/CoOp ff61507
datasets/oxford_pets.py:33-49; MaxZanella/CLIP-LoRA 358f0d7 datasets/utils.py:210-252, dtd.py:23-26,
imagenet.py:214-239]
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from clipbench.data.images import ImageSet
from clipbench.data.layouts.found import listed
from clipbench.errors import UserError

VAL_SHOTS = 4
"""Validation images per class at most."""

_SHORT = {
    "coop": "all of them train, each once, as in CoOp's code",
    "clip-lora": "they are drawn with repeats, as in CLIP-LoRA's code",
}
"""What becomes of a class with fewer training images than shots, by the name of the rule."""

Drawn = tuple[list[int], list[int], list[int]]
"""Indices of train, val and test."""


def coop(images: ImageSet, shots: int, seed: int) -> Drawn:
    """Train is drawn first, then val; a class with fewer images than shots stays whole. All of the test part tests."""
    draw = random.Random(seed)  # noqa: S311 - a reproducible split, not a secret
    train = [i for members in _classes(images, "train") for i in _as_is(draw, members, shots)]
    val = [i for members in _classes(images, "val") for i in _as_is(draw, members, min(shots, VAL_SHOTS))]
    return train, val, _part(images, "test")


def clip_lora(images: ImageSet, shots: int, seed: int) -> Drawn:
    """Val is drawn first, then train; a class with fewer images than shots is drawn from with replacement.

    A data set without a val part (ImageNet) gives both from its training images, drawn together, train first.
    """
    draw = random.Random(seed)  # noqa: S311 - a reproducible split, not a secret
    held = min(shots, VAL_SHOTS)
    if "val" in images.parts:
        val = [i for members in _classes(images, "val") for i in _repeated(draw, members, held)]
        train = [i for members in _classes(images, "train") for i in _repeated(draw, members, shots)]
    else:
        both = [_repeated(draw, members, shots + held) for members in _classes(images, "train")]
        train, val = [i for drawn in both for i in drawn[:shots]], [i for drawn in both for i in drawn[shots:]]
    return train, val, _part(images, "test")


def shortage(images: ImageSet, rule: str, shots: int) -> str:
    """Which classes have fewer training images than shots, and what the rule does with them; empty where none has."""
    found = {images.classes[images.labels[members[0]]]: len(members) for members in _classes(images, "train")}
    short = {name: count for name, count in found.items() if count < shots}
    if rule not in _SHORT or not short:
        return ""
    if len(short) == 1:
        ((name, count),) = short.items()
        return f"{shots} shots: class {name} has only {count} training images; {_SHORT[rule]}"
    which = listed([f"{name} {count}" for name, count in short.items()])
    return f"{shots} shots: {len(short)} classes have only so many training images: {which}; {_SHORT[rule]}"


def _as_is(draw: random.Random, members: Sequence[int], count: int) -> Sequence[int]:
    return draw.sample(members, count) if len(members) >= count else members


def _repeated(draw: random.Random, members: Sequence[int], count: int) -> Sequence[int]:
    return draw.sample(members, count) if len(members) >= count else draw.choices(members, k=count)


def _classes(images: ImageSet, part: str) -> Iterable[list[int]]:
    """The members of each class in that part, classes in the order in which they come first there."""
    members: dict[int, list[int]] = {}
    for index in _part(images, part):
        members.setdefault(images.labels[index], []).append(index)
    return members.values()


def _part(images: ImageSet, part: str) -> list[int]:
    if not images.parts:
        raise UserError(f"{images.root}: few shots are drawn from a train, val and test part, and it has no parts.")
    return [index for index, name in enumerate(images.parts) if name == part]
