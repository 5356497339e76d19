"""How many images a run trains and tests on, from the official counts of the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from clipbench.data.catalogue import Entry
from clipbench.data.layouts.rebuild import fraction_counts
from clipbench.data.odg import class_split
from clipbench.data.splits import train_count
from clipbench.errors import UserError
from clipbench.registry import Protocol


def official_sizes(entry: Entry, protocol: Protocol) -> tuple[int, int]:
    """Training and test images of one run. Raises ``UserError`` for a rule without code."""
    rule = _SIZES.get(protocol.need("split_rule"))
    if rule is None:
        raise UserError(f"the split rule {protocol.split_rule!r} is not implemented; there is {', '.join(_SIZES)}.")
    return rule(entry, protocol)


def _stratified(entry: Entry, protocol: Protocol) -> tuple[int, int]:
    train = sum(train_count(n, protocol) for n in entry.classes.values())
    rest = (n - train_count(n, protocol, limited=False) for n in entry.classes.values())
    return train, _cut(rest, protocol)


def _coop(entry: Entry, protocol: Protocol) -> tuple[int, int]:
    shots = protocol.need("shots")
    train = (min(n, shots) for n in _per_class(entry, "train"))
    return _cut(train, protocol), _cut(_per_class(entry, "test"), protocol)


def _clip_lora(entry: Entry, protocol: Protocol) -> tuple[int, int]:
    shots = protocol.need("shots")
    train = (shots for _ in _per_class(entry, "train"))
    return _cut(train, protocol), _cut(_per_class(entry, "test"), protocol)


def _leave_one_out(entry: Entry, protocol: Protocol) -> tuple[int, int]:
    """For the target ``each``, the sum over all of them."""
    if protocol.test_domain != "each":
        return _one_target(entry, protocol, protocol.need("test_domain"))
    sizes = [_one_target(entry, protocol, domain) for domain in entry.domains]
    return sum(train for train, _ in sizes), sum(test for _, test in sizes)


def _one_target(entry: Entry, protocol: Protocol, target: str) -> tuple[int, int]:
    sources = [name for name in entry.domains if name != target]
    seen, tested = _class_counts(entry, protocol)
    train = sum(_share(entry, protocol, name, seen) for name in sources)
    return train, _share(entry, protocol, target, tested) if target in entry.domains else 0


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


def _official(entry: Entry, protocol: Protocol) -> tuple[int, int]:
    return _cut([entry.parts["train"]], protocol), _cut([entry.parts["test"]], protocol)


def _per_class(entry: Entry, part: str) -> list[int]:
    """Images of each class in that part; an even share of the part where only its sum is known."""
    if entry.class_parts:
        return [parts[part] for parts in entry.class_parts.values()]
    if not entry.parts:
        return [_by_fractions(n)[part] for n in entry.classes.values()]
    each, rest = divmod(entry.parts[part], entry.class_count)
    return [each + (label < rest) for label in range(entry.class_count)]


def _by_fractions(members: int) -> dict[str, int]:
    return dict(zip(("train", "val", "test"), fraction_counts(members), strict=True))


def _cut(counts: Iterable[int], protocol: Protocol) -> int:
    return sum(counts) if protocol.limit is None else sum(min(n, protocol.limit) for n in counts)


_SIZES: Mapping[str, Callable[[Entry, Protocol], tuple[int, int]]] = {
    "stratified-fraction": _stratified,
    "coop": _coop,
    "clip-lora": _clip_lora,
    "leave-one-domain-out": _leave_one_out,
    "official": _official,
}
