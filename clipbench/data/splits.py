"""Split rules by name. Each is reproducible from the file list with Python's ``random`` alone."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from clipbench.data.few_shot import clip_lora, coop
from clipbench.data.images import ImageSet
from clipbench.data.odg import class_split
from clipbench.errors import UserError
from clipbench.registry import Protocol


@dataclass(frozen=True)
class Split:
    """Indices into an :class:`ImageSet`; ``digest`` is the SHA-256 of the file lists with labels, val only if it is.

    ``known`` are the classes that training saw, where the test part holds others too (ODG-CLIP's class splits): the
    accuracy that such a protocol reports is over their images alone, and its H-score the harmonic mean of that and of
    the share of the other images that are told to be unknown. It is empty where every class is known.
    """

    train: Sequence[int]
    test: Sequence[int]
    digest: str
    val: Sequence[int] = ()
    known: Sequence[int] = ()


def split(images: ImageSet, protocol: Protocol, seed: int) -> Split:
    """Cut the images by the protocol's rule; with ``limit`` at most that many per class, domain and part remain."""
    rule = RULES.get(protocol.need("split_rule"))
    if rule is None:
        raise UserError(f"the split rule {protocol.split_rule!r} is not implemented; there is {', '.join(RULES)}.")
    cut = rule(images, protocol, 0 if protocol.split_draw == "once" else seed)
    if protocol.limit is not None:
        train, val, test = (_limited(part, images, protocol.limit) for part in (cut.train, cut.val, cut.test))
        cut = replace(cut, train=train, val=val, test=test)
    return replace(cut, digest=_digest(images, cut))


def stratified_fraction(images: ImageSet, protocol: Protocol, seed: int) -> Split:
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
    return Split(train, test, "")


def train_count(members: int, protocol: Protocol, *, limited: bool = True) -> int:
    """Training images of a class of that many."""
    count: int = min(max(round(protocol.need("train_fraction") * members), 1), members - 1)
    return min(count, protocol.limit) if limited and protocol.limit else count


def few_shot(
    draw: Callable[[ImageSet, int, int], tuple[list[int], list[int], list[int]]],
) -> Callable[[ImageSet, Protocol, int], Split]:
    """A rule that draws ``protocol.shots`` images per class; with no shots only the test part is left."""

    def rule(images: ImageSet, protocol: Protocol, seed: int) -> Split:
        train, val, test = draw(images, protocol.need("shots"), seed)
        if not test:
            raise UserError(f"{images.root}: the test part has no image.")
        return Split(train, test, "", val)

    return rule


def leave_one_domain_out(images: ImageSet, protocol: Protocol, _: int) -> Split:
    """Every domain but ``test_domain`` trains, that one tests; nothing is drawn, so all seeds share the split.

    ``train_part`` and ``test_part`` narrow the domains to their official lists or folders. With ODG-CLIP's label spaces
    each source domain keeps its own classes only; ``odg`` tests known and unknown classes of the held-out domain,
    ``odg-known`` the known ones of the same. Raises ``UserError`` for an unknown domain, or parts that are not there.
    """
    names = list(dict.fromkeys(images.domains))
    if protocol.test_domain not in names:
        raise UserError(f"{images.dataset} has no domain {protocol.test_domain!r}; it has {', '.join(names)}.")
    sources = [name for name in names if name != protocol.test_domain]
    trained = _parts_of(images, ("train",) if protocol.train_part == "train" else ())
    tested = _parts_of(images, images.tested_parts if protocol.test_part == "test" else ())
    seen = _classes_of_domains(images, protocol, sources)
    train = [i for i in trained if images.labels[i] in seen.sources.get(images.domains[i], frozenset())]
    test = [i for i in tested if images.domains[i] == protocol.test_domain and images.labels[i] in seen.target]
    return Split(train, test, "", known=seen.known)


def official(images: ImageSet, _: Protocol, __: int) -> Split:
    """Train, val and test as the data set's own lists have them."""
    train, val, test = (_parts_of(images, (part,)) for part in ("train", "val", "test"))
    return Split(train, test, "", val)


RULES: Mapping[str, Callable[[ImageSet, Protocol, int], Split]] = {
    "stratified-fraction": stratified_fraction,
    "coop": few_shot(coop),
    "clip-lora": few_shot(clip_lora),
    "leave-one-domain-out": leave_one_domain_out,
    "official": official,
}


@dataclass(frozen=True)
class _Seen:
    """Classes, by label: of each source domain, of the target domain, and those that are known (empty for all)."""

    sources: Mapping[str, frozenset[int]]
    target: frozenset[int]
    known: Sequence[int]


def _classes_of_domains(images: ImageSet, protocol: Protocol, sources: Sequence[str]) -> _Seen:
    everything = frozenset(range(len(images.classes)))
    if protocol.need("label_space") == "closed-set":
        return _Seen(dict.fromkeys(sources, everything), everything, ())
    cut = class_split(images.dataset, images.classes)
    labels = {name: label for label, name in enumerate(images.classes)}
    slots = [frozenset(labels[name] for name in names) for names in cut.sources]
    target = cut.target if protocol.label_space == "odg" else cut.target & cut.known
    known = sorted(labels[name] for name in cut.known)
    return _Seen(dict(zip(sources, slots, strict=True)), frozenset(labels[name] for name in target), known)


def _parts_of(images: ImageSet, parts: Sequence[str]) -> list[int]:
    """Images of those parts, of all for none. Raises ``UserError`` where the data set lies there without parts."""
    if not parts:
        return list(range(len(images)))
    if not images.parts:
        raise UserError(
            f"{images.root}: the protocol asks for the {' and '.join(parts)} part, and this copy of {images.dataset} "
            f"has none: it needs the official lists, or train and val folders."
        )
    return [index for index, part in enumerate(images.parts) if part in parts]


def _by_class(labels: Sequence[int]) -> list[list[int]]:
    members: dict[int, list[int]] = {}
    for index, label in enumerate(labels):
        members.setdefault(label, []).append(index)
    return [members[label] for label in sorted(members)]


def _limited(part: Sequence[int], images: ImageSet, limit: int) -> list[int]:
    kept: list[int] = []
    seen: dict[tuple[int, str], int] = {}
    for index in part:
        cell = images.labels[index], images.domains[index] if images.domains else ""
        seen[cell] = seen.get(cell, 0) + 1
        kept += [index] if seen[cell] <= limit else []
    return kept


def _digest(images: ImageSet, cut: Split) -> str:
    parts = (("train", cut.train), ("val", cut.val), ("test", cut.test))
    lines = [f"{part} {images.files[i]} {images.labels[i]}" for part, ids in parts for i in ids]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
