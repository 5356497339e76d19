"""TaskRes (Yu et al., CVPR 2023): a residual on each class's text feature, ``t + alpha x``.

``t`` is the text tower's output as it comes: its length decides what ``alpha`` means; over several templates it is the
plain mean [geekyutao/TaskRes 5195359 trainers/taskres.py:91-101, 118-142, 198-217]. The official code leaves
underscores in class names (``class_names = "with-underscores"``).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from clipbench.methods.base import Method, Setting
from clipbench.methods.templates import mean_text_features, templates_of
from clipbench.registry.field import Field


class TaskRes(Method):
    """Trained is ``residual`` ``[R, C, D]``, which starts at zero."""

    base: Tensor
    seed_axis: ClassVar[bool] = True
    fields: ClassVar[tuple[Field, ...]] = (
        Field("residual_alpha", float, "factor on the trained residual", low=0.0),
        Field(
            "residual_templates", str, "templates of the features under the residual: 'one', a list's name, or texts"
        ),
        Field(
            "residual_base",
            str,
            "features under the residual: the text tower's, or those of a projection tuned beforehand",
            words=("regular", "enhanced"),
            runs=("regular",),
            why_not="the tuned projections of TaskRes' enhanced base were published for ResNet-50 only",
        ),
    )

    def setup(self, setting: Setting) -> None:
        """Encode the prompts once; the residual is zero."""
        super().setup(setting)
        templates = templates_of(setting.protocol.need("residual_templates"), setting.template)
        base = mean_text_features(setting.model, setting.classes, templates, normalised=False)
        self.register_buffer("base", base, persistent=False)
        self.residual = nn.Parameter(torch.zeros(len(setting.seeds), *base.shape, device=base.device))

    def class_features(self) -> Tensor:
        """``t + alpha x``, ``[R, C, D]``."""
        alpha: float = self.setting.protocol.need("residual_alpha")
        return self.base + alpha * self.residual
