"""Prompts: the protocol's template around the name of each class that there is a prompt for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clipbench.data.images import ImageSet
from clipbench.data.odg import class_split
from clipbench.errors import UserError
from clipbench.registry import Protocol

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Prompts:
    """Texts, and the class index that each stands for among the ``width`` columns of the logits.

    The index after the last class means unknown. Classes without a prompt cannot be predicted.
    """

    texts: Sequence[str]
    classes: Sequence[int]
    width: int

    @property
    def complete(self) -> bool:
        """Whether every column has its prompt, in order."""
        return list(self.classes) == list(range(self.width))


def prompts_of(images: ImageSet, protocol: Protocol) -> Prompts:
    """One prompt per class; the template ``dataset`` is the data set's own.

    With ODG-CLIP's label spaces the classes that no source domain has get none; ``odg`` adds one that says unknown
    (ODG-CLIP pacs.py:329-334). Raises ``UserError`` for a template without a place for the name.
    """
    template = images.template if protocol.template == "dataset" else protocol.template or ""
    if template.count("{}") != 1:
        raise UserError(f"the template {template!r} needs {{}} once, in the place of the class name.")
    count, odg = len(images.classes), protocol.label_space == "odg"
    classes = list(range(count))
    if protocol.label_space in ("odg", "odg-known"):
        known = class_split(images.dataset, images.classes).known
        classes = [label for label in classes if images.classes[label] in known]
    names = [images.prompt_names[label] for label in classes]
    if odg:
        names, classes = [*names, UNKNOWN], [*classes, count]
    return Prompts([template.format(name) for name in names], classes, count + odg)
