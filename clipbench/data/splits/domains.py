"""One domain of a data set tests, the others train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clipbench.data.catalogue import Entry
from clipbench.data.images import ImageSet
from clipbench.data.splits.odg import class_split
from clipbench.data.splits.rule import Rule, Split, indices_of
from clipbench.errors import UserError
from clipbench.registry import Protocol


def _cut(images: ImageSet, protocol: Protocol, _: int) -> Split:
    """Nothing is drawn, so all seeds share the split.

    ``train_part`` and ``test_part`` narrow the domains to their official lists or folders. With ODG-CLIP's label spaces
    each source domain keeps its own classes only; ``odg`` tests known and unknown classes of the held-out domain,
    ``odg-known`` the known ones of the same. Raises ``UserError`` for an unknown domain, or parts that are not there.
    """
    names = list(dict.fromkeys(images.domains))
    if protocol.test_domain not in names:
        raise UserError(f"{images.dataset} has no domain {protocol.test_domain!r}; it has {', '.join(names)}.")
    sources = [name for name in names if name != protocol.test_domain]
    train_images = indices_of(images, ("train",) if protocol.train_part == "train" else ())
    test_images = indices_of(images, images.tested_parts if protocol.test_part == "test" else ())
    classes = _classes_of_domains(images, protocol, sources)
    train = [i for i in train_images if images.labels[i] in classes.sources.get(images.domains[i], frozenset())]
    test = [i for i in test_images if images.domains[i] == protocol.test_domain and images.labels[i] in classes.target]
    if not test:
        raise UserError(f"{images.root}: the held-out domain {protocol.test_domain} has no image to test on.")
    unknown = len(images.classes)
    synthetic = [i for i, label in enumerate(images.labels) if label == unknown and images.domains[i] in sources]
    return Split(train, test, "", known=classes.known, synthetic=synthetic)


@dataclass(frozen=True)
class _Classes:
    """Classes, by label: of each source domain, of the target domain, and those that are known (empty for all)."""

    sources: Mapping[str, frozenset[int]]
    target: frozenset[int]
    known: Sequence[int]


def _classes_of_domains(images: ImageSet, protocol: Protocol, sources: Sequence[str]) -> _Classes:
    everything = frozenset(range(len(images.classes)))
    if protocol.need("label_space") == "closed-set":
        return _Classes(dict.fromkeys(sources, everything), everything, ())
    cut = class_split(images.dataset, images.classes)
    labels = {name: label for label, name in enumerate(images.classes)}
    slots = [frozenset(labels[name] for name in names) for names in cut.sources]
    target = cut.target if protocol.label_space == "odg" else cut.target & cut.known
    known = sorted(labels[name] for name in cut.known)
    return _Classes(dict(zip(sources, slots, strict=True)), frozenset(labels[name] for name in target), known)


def _sizes(entry: Entry, protocol: Protocol) -> tuple[int, int]:
    """For the target ``each``, the sum over all of them."""
    if protocol.test_domain != "each":
        return _one_target(entry, protocol, protocol.need("test_domain"))
    sizes = [_one_target(entry, protocol, domain) for domain in entry.domains]
    return sum(train for train, _ in sizes), sum(test for _, test in sizes)


def _one_target(entry: Entry, protocol: Protocol, target: str) -> tuple[int, int]:
    source_classes, target_classes = _class_counts(entry, protocol)
    train = sum(_share(entry, protocol, name, source_classes) for name in entry.domains if name != target)
    return train, _share(entry, protocol, target, target_classes) if target in entry.domains else 0


def _class_counts(entry: Entry, protocol: Protocol) -> tuple[int, int]:
    """Classes of each source domain and of the target."""
    if protocol.need("label_space") == "closed-set":
        return entry.class_count, entry.class_count
    # Sorted names that stand for the classes: the split counts them and asks for no name.
    cut = class_split(entry.id, [f"{i:04d}" for i in range(entry.class_count)])
    target = cut.target if protocol.label_space == "odg" else cut.target & cut.known
    return len(cut.sources[0]), len(target)


def _share(entry: Entry, protocol: Protocol, domain: str, classes: int) -> int:
    """Images of so many classes of a domain, evenly shared, and cut by the limit."""
    images = round(entry.domains[domain] * classes / entry.class_count)
    return images if protocol.limit is None else min(images, protocol.limit * classes)


LEAVE_ONE_DOMAIN_OUT = Rule(_cut, _sizes)
