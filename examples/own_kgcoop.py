"""One of clipbench's methods with another distance: `clipbench run fewshot --method own_kgcoop:SquaredKgCoOp`."""

from __future__ import annotations

from typing import ClassVar

from own_coop import TRAINING
from torch import Tensor
from torch.nn import functional

from clipbench.methods.kgcoop import KgCoOp


class SquaredKgCoOp(KgCoOp):
    """The distance of KgCoOp's paper: the squared Euclidean one of unit vectors, twice that of its code."""

    label = "KgCoOp, squared distance"
    protocol: ClassVar = {
        "template": "{}.",
        "context_tokens": 4,
        "context_init": "a photo of a",
        "teacher_template": "a photo of a {}.",
        "knowledge_weight": 8.0,
        **TRAINING,
    }

    def distance(self, classes: Tensor) -> Tensor:
        """Mean over classes, ``[R]``, of features ``[R, C, D]``."""
        return (functional.normalize(classes.float(), dim=-1) - self.teacher).square().sum(dim=-1).mean(dim=-1)
