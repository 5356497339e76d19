"""Every image of a data set opened and compared: the unreadable ones, and those that are there more than once."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from clipbench.data.decode import load_rgb
from clipbench.data.images import ImageSet, first_few
from clipbench.errors import UserError

Result = TypeVar("Result")
Step = Callable[[int], None]
"""Told of each image that is done."""


@dataclass(frozen=True)
class Copies:
    """Images with the same bytes: ``shared`` between train and test or between domains, ``repeated`` within one."""

    shared: Sequence[Sequence[str]]
    repeated: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Opened:
    """A sentence for each image that does not open, and how often each size (width, height) occurs."""

    unreadable: Sequence[str]
    sizes: Mapping[tuple[int, int], int]


def empty_files(found: ImageSet) -> list[str]:
    """Images and masks of zero bytes."""
    return [name for name in _all_files(found) if (found.root / name).stat().st_size == 0]


def opened(found: ImageSet, step: Step) -> Opened:
    """Decode every image, in the data set's order."""

    def one(name: str) -> tuple[str, tuple[int, int] | None]:
        try:
            return "", load_rgb(found.root / name).size
        except UserError as error:
            return str(error), None

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        looked = [_stepped(step, result) for result in pool.map(one, found.files)]
    sizes = Counter(size for _, size in looked if size is not None)
    return Opened([said for said, _ in looked if said], sizes)


def copies(found: ImageSet, step: Step) -> Copies:
    """Groups of images whose files are equal byte by byte."""
    groups: dict[bytes, list[int]] = {}
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for index, digest in enumerate(pool.map(lambda name: _digest(found.root / name), found.files)):
            groups.setdefault(_stepped(step, digest), []).append(index)
    several = [ids for ids in groups.values() if len(ids) > 1]
    shared = [ids for ids in several if len({_side(found, index) for index in ids}) > 1]
    repeated = [ids for ids in several if ids not in shared]
    return Copies([_named(found, ids) for ids in shared], [_named(found, ids) for ids in repeated])


def in_words(groups: Sequence[Sequence[str]]) -> str:
    """The first few groups: ``a.jpg = b.jpg, c.jpg = d.jpg and 3 more``."""
    return first_few([" = ".join(group) for group in groups], 3)


def _all_files(found: ImageSet) -> Iterator[str]:
    yield from found.files
    for masks in found.masks:
        yield from masks


def _stepped(step: Step, result: Result) -> Result:
    """The result of one more image, told in the thread that asks: those of the pool would count over one another."""
    step(1)
    return result


def _digest(path: Path) -> bytes:
    """Of the content, or of the name where the file cannot be read: ``opened`` says that, and it is no copy."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return bytes(path)


def _side(found: ImageSet, index: int) -> tuple[str, bool]:
    """What must not share images with what: domains with one another, and the test part with the rest."""
    domain = found.domains[index] if found.domains else ""
    return domain, bool(found.parts) and found.parts[index] == "test"


def _named(found: ImageSet, ids: Sequence[int]) -> list[str]:
    return [f"{found.files[i]} ({found.parts[i]})" if found.parts else found.files[i] for i in ids]
