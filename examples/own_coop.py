"""CoOp as a method of one's own: `clipbench run fewshot --dataset-dir MY_IMAGES --method own_coop:OwnCoOp`.

Run the command in this file's folder, or put that folder on PYTHONPATH. `own_kgcoop.py` changes one of clipbench's.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from clipbench.methods.base import Method, Setting
from clipbench.registry.field import Field

SGD = {"optimiser": "sgd", "lr": 2e-3, "momentum": 0.9, "dampening": 0.0, "nesterov": False, "weight_decay": 5e-4}
WARM_UP = {"warmup_epochs": 1, "warmup_lr": 1e-5, "warmup_shape": "constant"}
SCHEDULE = {"schedule": "cosine", "schedule_step": "epoch", "lr_min": 0.0, **WARM_UP}
LENGTH = {"epochs": 50, "steps_per_shot": {"unset": "its training is counted in epochs"}}
TRAINING = {**SGD, **SCHEDULE, **LENGTH}
"""CoOp's at one shot, in place of the training of the row that the method stands behind."""


class OwnCoOp(Method):
    """Vectors in front of every class name are learned; the rest of CLIP stays as it is."""

    label = "Own CoOp"
    seed_axis = True  # several seeds share one pass: the first axis of every parameter is the seed
    fields = (Field("vectors", int, "learned vectors in front of the class name", low=1),)
    protocol: ClassVar = {"vectors": 4, "template": "{}.", **TRAINING}

    def setup(self, setting: Setting) -> None:
        """Vectors ``[R, M, Dt]``, each seed's from its own stream of random numbers."""
        super().setup(setting)
        shape = setting.protocol.need("vectors"), setting.model.text_width
        streams = [setting.stream("vectors", run) for run in range(len(setting.seeds))]
        self.vectors = nn.Parameter(torch.stack([0.02 * torch.randn(shape, generator=g) for g in streams]))

    def texts(self) -> list[str]:
        """Prompts in which a word of one token keeps the position of each vector."""
        return [" ".join(["X"] * self.vectors.shape[1] + [text]) for text in super().texts()]

    def encode_classes(self) -> Tensor:
        """Features ``[R, C, D]`` of the prompts, with the vectors behind the start token."""
        words = self.setting.model.embed(self.prompts())  # [C, L, Dt]
        runs, count, _ = self.vectors.shape
        learned = self.vectors[:, None].expand(-1, len(words), -1, -1)
        rows = words.expand(runs, -1, -1, -1)
        embedded = torch.cat([rows[:, :, :1], learned, rows[:, :, 1 + count :]], dim=2)
        features: Tensor = self.setting.model.encode_text(self.prompts(), embedded, replicas=runs)
        return features
