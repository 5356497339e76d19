"""ProGrad: CoOp whose steps never go against zero-shot CLIP (Zhu et al., ICCV 2023; BeierZhu/Prompt-align 1b76203)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from clipbench.errors import UserError
from clipbench.methods.coop import CONTEXT_TOKENS, PLACEHOLDER, CoOp, embedded_words, frozen_classes
from clipbench.methods.kgcoop import TEACHER
from clipbench.registry.field import Field


class ProGrad(CoOp):
    """What of the cross-entropy's gradient opposes the teacher's is taken out (prograd.py:280-293, trainer.py:311-350).

    The teacher is zero-shot CLIP with a prompt of its own. The words in front of the name in that prompt start the last
    context vectors, one each; the vectors before them start at zero (prograd.py:78-127).
    """

    fields: ClassVar[Sequence[Field]] = (
        CONTEXT_TOKENS,
        TEACHER,
        Field("projection", float, "ProGrad: share of the opposing part of the gradient that is taken out", low=0.0),
        Field("teacher_temperature", float, "ProGrad: temperature of teacher's and student's logits", above=0.0),
    )

    @cached_property
    def teacher(self) -> Tensor:
        """Frozen class features ``[C, D]``, normalised."""
        return frozen_classes(self.setting, self.setting.protocol.need("teacher_template"))

    def words(self) -> str:
        """Placeholders, then the words in front of the name in the teacher's prompt."""
        words = self.teacher_words()
        return " ".join([PLACEHOLDER] * (int(self.setting.protocol.need("context_tokens")) - len(words)) + words)

    def teacher_words(self) -> list[str]:
        """The words in front of the name in the teacher's prompt. Raises ``UserError`` where they are too many."""
        words = str(self.setting.protocol.need("teacher_template")).partition("{}")[0].split()
        count = int(self.setting.protocol.need("context_tokens"))
        if len(words) > count:
            raise UserError(
                f"the {len(words)} words in front of the name in teacher_template do not fit into context_tokens = "
                f"{count}; set context_tokens={len(words)} or more."
            )
        return words

    def first_context(self) -> Tensor:
        """Context ``[R, M, Dt]`` before training: zeros, and behind them one token embedding per word."""
        count, runs = int(self.setting.protocol.need("context_tokens")), len(self.setting.seeds)
        words = self.teacher_words()
        context = torch.zeros(count, self.setting.model.text_width)
        if words:
            context[-len(words) :] = embedded_words(self.setting, " ".join(words), len(words))
        return context.repeat(runs, 1, 1)

    def losses(self, features: Tensor, truth: Tensor) -> Tensor:
        """Cross-entropy, and the cross-entropy with the teacher's probabilities, ``[2, R]``."""
        logits = self.logits(features)
        temperature = float(self.setting.protocol.need("teacher_temperature"))
        with torch.no_grad():
            teacher = self.cosine(features, self.teacher.expand(len(logits), -1, -1)) / temperature
        soft = -(teacher.softmax(dim=-1) * (logits / temperature).log_softmax(dim=-1)).sum(dim=-1).mean(dim=-1)
        return torch.stack([self.loss(logits, truth), soft * temperature**2])

    def combine(self, gradients: Sequence[Sequence[Tensor]]) -> Sequence[Tensor]:
        """The first loss's gradients, each run's without its component against the second's."""
        strength = float(self.setting.protocol.need("projection"))
        return [_projected(a, b, strength) for a, b in zip(*gradients, strict=True)]


def _projected(wanted: Tensor, known: Tensor, strength: float) -> Tensor:
    """``a - s (a . u) u`` with ``u = b / |b|`` for those runs of ``[R, ...]`` where ``a . b < 0``, else ``a``."""
    a, b = wanted.flatten(1), known.flatten(1)
    unit = b / b.norm(dim=1, keepdim=True).clamp_min(torch.finfo(b.dtype).tiny)
    along = (a * unit).sum(dim=1, keepdim=True).clamp(max=0.0)
    left: Tensor = a - strength * along * unit
    return left.view_as(wanted)
