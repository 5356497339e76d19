"""What a split rule is: how it cuts the images of a data set, and how many images of each part there will be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from clipbench.data.catalogue import Entry
from clipbench.data.images import ImageSet
from clipbench.errors import UserError
from clipbench.registry import Protocol


@dataclass(frozen=True)
class Split:
    """Indices into an :class:`ImageSet`; ``digest`` is the SHA-256 of the file lists with labels.

    ``known`` are the classes that training saw, where the test part holds others too (ODG-CLIP's class splits): the
    accuracy that such a protocol reports is over their images alone, and its H-score the harmonic mean of that and of
    the share of the other images that are recognised as unknown. It is empty where every class is known.
    ``synthetic`` are images of no class, of the source domains, that stand beside the training images; the digest
    leaves their paths out.
    """

    train: Sequence[int]
    test: Sequence[int]
    digest: str
    val: Sequence[int] = ()
    known: Sequence[int] = ()
    synthetic: Sequence[int] = ()


@dataclass(frozen=True)
class Rule:
    """One split rule.

    Attributes:
        cut: the split of the images for a seed; its digest is filled in by the caller.
        sizes: number of training and test images of one run, from the official counts of the catalogue.
        needs_parts: it draws from train, val and test parts, so that a data set without them is given some.
        short_class: what becomes of a class with fewer training images than shots, for messages.
    """

    cut: Callable[[ImageSet, Protocol, int], Split]
    sizes: Callable[[Entry, Protocol], tuple[int, int]]
    needs_parts: bool = False
    short_class: str = ""


def indices_of(images: ImageSet, parts: Sequence[str]) -> list[int]:
    """Images of those parts, of all for none. Raises ``UserError`` where this copy of the data set has no parts."""
    if not parts:
        return list(range(len(images)))
    if not images.parts:
        raise UserError(
            f"{images.root}: the protocol asks for the {' and '.join(parts)} part, and this copy of {images.dataset} "
            f"has no parts: it needs the official lists, or train and val folders."
        )
    return [index for index, part in enumerate(images.parts) if part in parts]


def limited_sum(counts: Iterable[int], limit: int | None) -> int:
    """Sum of the counts, each cut to the limit where there is one."""
    return sum(counts) if limit is None else sum(min(n, limit) for n in counts)
