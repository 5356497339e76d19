"""Split rules by name. Each is reproducible from the file list with Python's ``random`` alone.

Adding one: write a module with a :class:`Rule`, and add its line to ``RULES``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from clipbench.data.images import ImageSet, first_few
from clipbench.data.splits.domains import LEAVE_ONE_DOMAIN_OUT
from clipbench.data.splits.few_shot import CLIP_LORA, COOP, classes_in
from clipbench.data.splits.fraction import STRATIFIED_FRACTION
from clipbench.data.splits.official import OFFICIAL
from clipbench.data.splits.rule import Rule, Split
from clipbench.errors import UserError
from clipbench.registry import Protocol

__all__ = ["RULES", "Rule", "Split", "rule", "shortage", "split"]

RULES: Mapping[str, Rule] = {
    "stratified-fraction": STRATIFIED_FRACTION,
    "coop": COOP,
    "clip-lora": CLIP_LORA,
    "leave-one-domain-out": LEAVE_ONE_DOMAIN_OUT,
    "official": OFFICIAL,
}


def rule(name: str) -> Rule:
    """The rule of that name. Raises ``UserError`` that lists the names."""
    found = RULES.get(name)
    if found is None:
        raise UserError(f"the split rule {name!r} is not implemented; there is {', '.join(RULES)}.")
    return found


def split(images: ImageSet, protocol: Protocol, seed: int) -> Split:
    """Cut the images by the protocol's rule; with ``limit`` at most that many per class, domain and part remain.

    Raises ``UserError`` where the test part is empty, or the train part of a protocol that trains on it.
    """
    cut = rule(protocol.need("split_rule")).cut(images, protocol, 0 if protocol.split_draw == "once" else seed)
    if protocol.limit is not None:
        train, val, test = (_limited(part, images, protocol.limit) for part in (cut.train, cut.val, cut.test))
        # Where each synthetic image stands in one step only, as many are needed as there are steps.
        once = protocol.synthetic_draw == "per-step"
        synthetic = cut.synthetic if once else _limited(cut.synthetic, images, protocol.limit)
        cut = replace(cut, train=train, val=val, test=test, synthetic=synthetic)
    return replace(cut, digest=_digest(images, cut))


def shortage(images: ImageSet, rule_name: str, shots: int) -> str:
    """Which classes have fewer training images than shots, and what the rule does with them; empty where none has."""
    if not (what_happens := rule(rule_name).short_class):
        return ""
    counts = {images.classes[images.labels[members[0]]]: len(members) for members in classes_in(images, "train")}
    short = {name: count for name, count in counts.items() if count < shots}
    if not short:
        return ""
    if len(short) == 1:
        ((name, count),) = short.items()
        return f"{shots} shots: class {name} has only {count} training images; {what_happens}"
    which = first_few([f"{name} {count}" for name, count in short.items()])
    return f"{shots} shots: {len(short)} classes have only so many training images: {which}; {what_happens}"


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
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
