"""KgCoOp: CoOp whose class features stay near those of fixed prompts (Yao et al., CVPR 2023; htyao89/KgCoOp)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from clipbench.methods.coop import CoOp, frozen_classes
from clipbench.registry.field import Field

TEACHER = Field("teacher_template", str, "prompt of the frozen class features that training looks to", holds="{}")


class KgCoOp(CoOp):
    """Cross-entropy, and ``W (1 - cos)`` of learned and frozen class features (trainers/kgcoop.py:223-243, 309-311)."""

    fields: ClassVar[Sequence[Field]] = (
        *CoOp.fields,
        TEACHER,
        Field("knowledge_weight", float, "KgCoOp: weight W of the distance from the frozen class features", low=0.0),
    )

    @cached_property
    def teacher(self) -> Tensor:
        """Frozen class features ``[C, D]``, normalised."""
        return frozen_classes(self.setting, self.setting.protocol.need("teacher_template"))

    def losses(self, features: Tensor, truth: Tensor) -> Tensor:
        """Loss ``[R]``; the test looks at the logits alone."""
        weight = float(self.setting.protocol.need("knowledge_weight"))
        classes = self.class_features()
        return self.loss(self.cosine(features, classes), truth) + weight * self.distance(classes)

    def distance(self, classes: Tensor) -> Tensor:
        """``1 - cos`` of class features ``[R, C, D]`` and the frozen ones, mean over classes, ``[R]``."""
        return 1.0 - functional.cosine_similarity(classes.float(), self.teacher, dim=-1, eps=1e-7).mean(dim=-1)
