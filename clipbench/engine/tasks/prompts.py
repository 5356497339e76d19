"""Which classes have a prompt, under which name, and the column of the logits that each stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from clipbench.data.images import ImageSet
from clipbench.data.splits.odg import class_split
from clipbench.errors import UserError
from clipbench.models.transfer import sent
from clipbench.registry import Protocol

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Prompts:
    """Names in a template, and the class index that each stands for among the ``width`` columns of the logits.

    The index after the last class means unknown. Classes without a prompt cannot be predicted. ``classes`` has one
    entry more than ``names`` where the method itself gives a column for the unknown, which ``width`` may leave out.
    """

    names: Sequence[str]
    template: str
    classes: Sequence[int]
    width: int

    @property
    def texts(self) -> list[str]:
        """The prompts themselves."""
        return [self.template.format(name) for name in self.names]

    @cached_property
    def same(self) -> bool:
        """Whether every column of the logits has its prompt, in order."""
        return list(self.classes) == list(range(self.width))

    def placed(self, logits: Tensor) -> Tensor:
        """Logits ``[R, B, P]`` of the prompts in their classes' columns ``[R, B, width]``, all else at -inf."""
        if self.same:
            return logits
        inside = [i for i, column in enumerate(self.classes) if column < self.width]
        empty = logits.new_full((*logits.shape[:2], self.width), -torch.inf)
        columns = torch.tensor([self.classes[i] for i in inside])
        return empty.index_copy(2, sent(columns, logits.device), logits[..., inside])

    def columns(self, truth: Tensor) -> Tensor:
        """The position of each class of ``truth`` (any shape) among the prompts."""
        if self.same:
            return truth
        position = torch.zeros(max(self.classes) + 1, dtype=torch.long)
        position[list(self.classes)] = torch.arange(len(self.classes))
        return sent(position, truth.device)[truth]


def check_told_apart(prompts: Prompts, tokens: Tensor, model: str) -> None:
    """Raise ``UserError`` for two classes of which the model's tokeniser makes the same ``tokens`` ``[C, L]``.

    Folders are compared as CLIP's tokeniser sees their names when they are listed; others, such as SigLIP's, drop more.
    """
    first_of: dict[tuple[int, ...], str] = {}
    for name, ids in zip(prompts.names, tokens.tolist(), strict=True):
        first = first_of.setdefault(tuple(ids), name)
        if first != name:
            raise UserError(
                f"the classes {first!r} and {name!r} are the same tokens to {model}, so that it could not tell them "
                f"apart. Rename one, or make one class of them."
            )


def prompts_of(images: ImageSet, protocol: Protocol, *, rejects: bool = False) -> Prompts:
    """One prompt per class; the template ``dataset`` is the data set's own.

    With ODG-CLIP's label spaces the classes that no source domain has get none; ``odg`` adds one that says unknown
    (ODG-CLIP pacs.py:329-334), unless the method ``rejects`` by itself; so do synthetic images of no known class, which
    train it. Raises ``UserError`` for a template without a place for the name.
    """
    # A linear head's protocol has no template.
    template = "" if protocol.template is None else protocol.template
    template = images.template if template == "dataset" else template
    if protocol.task == "image-text" and template.count("{}") != 1:
        raise UserError(f"the template {template!r} needs {{}} once, in the place of the class name.")
    count, odg = len(images.classes), protocol.label_space == "odg"
    classes = list(range(count))
    if protocol.label_space in ("odg", "odg-known"):
        known = class_split(images.dataset, images.classes).known
        classes = [label for label in classes if images.classes[label] in known]
    names = [images.prompt_names[label] for label in classes]
    unknown = odg or protocol.synthetic_draw is not None
    if unknown and not rejects:
        names = [*names, UNKNOWN]
    return Prompts(names, template, [*classes, count] if unknown or rejects else classes, count + odg)
