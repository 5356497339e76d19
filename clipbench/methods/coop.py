"""CoOp: context vectors in front of the class name are learned (Zhou et al., IJCV 2022; KaiyangZhou/CoOp ff61507)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from clipbench.errors import UserError
from clipbench.methods.base import Method, Setting
from clipbench.registry.field import Field

RANDOM = "random"
"""The word for a context that starts from a normal distribution."""
PLACEHOLDER = "X"
"""Any word of one token: context vectors take its position in the prompt."""
CONTEXT_TOKENS = Field("context_tokens", int, "learned context vectors", low=1, high=64)


class CoOp(Method):
    """One context for all classes: ``<start> [V]1 ... [V]M name . <end>``; the template is what follows the context.

    Words in front of the name give the first context vectors, one per word. Where the words are more tokens than words
    (a comma is a token), the last tokens stay as they are, between the context and the name (trainers/coop.py:72-81).
    """

    gradient_through: ClassVar[str] = "text"
    seed_axis: ClassVar[bool] = True
    fields: ClassVar[Sequence[Field]] = (
        CONTEXT_TOKENS,
        Field("context_init", str, "words that the context starts from, one vector each; random: normal vectors"),
    )

    def setup(self, setting: Setting) -> None:
        """Freeze the model; the context vectors are ``[R, M, Dt]``."""
        super().setup(setting)
        self._embeddings: Tensor | None = None
        self.context = nn.Parameter(self.first_context())

    def words(self) -> str:
        """What stands in front of the class name while prompts are tokenised; the context takes its first positions."""
        words = str(self.setting.protocol.need("context_init")).replace("_", " ")
        count = int(self.setting.protocol.need("context_tokens"))
        if words == RANDOM:
            return " ".join([PLACEHOLDER] * count)
        if len(words.split()) != count:
            raise UserError(
                f"context_init = {words!r} has {len(words.split())} words, but context_tokens is {count}: each word "
                f"starts one context vector. Set context_tokens={len(words.split())}, or context_init={RANDOM}."
            )
        return words

    def first_context(self) -> Tensor:
        """Context ``[R, M, Dt]`` before training: normal vectors of standard deviation 0.02, or the words'."""
        setting = self.setting
        count, runs = int(setting.protocol.need("context_tokens")), len(setting.seeds)
        if setting.protocol.need("context_init") != RANDOM:
            return embedded_words(setting, self.words(), count).repeat(runs, 1, 1)
        shape = count, setting.model.text_width
        return torch.stack(
            [torch.empty(shape).normal_(0.0, 0.02, generator=setting.stream("context", r)) for r in range(runs)]
        )

    def texts(self) -> list[str]:
        """Words or placeholders, name and what follows: ``a photo of a cat.``, ``X X X X cat.``."""
        return [f"{self.words()} {text}" for text in super().texts()]

    def encode_classes(self) -> Tensor:
        """Features ``[R, C, D]``, un-normalised, of the prompts with the context as it is."""
        features: Tensor = self.setting.model.encode_text(
            self.prompts(), self.embedded(self.context), replicas=len(self.context)
        )
        return features

    def embedded(self, context: Tensor) -> Tensor:
        """Embedded prompts ``[N, C, L, Dt]`` with each of the contexts ``[N, M, Dt]`` behind the start token."""
        if self._embeddings is None:
            self._embeddings = self.setting.model.embed(self.prompts()).detach()
        return with_context(self._embeddings, context[:, None])


def with_context(embeddings: Tensor, context: Tensor) -> Tensor:
    """Embeddings ``[N, C, L, Dt]``: those ``[C, L, Dt]`` given, contexts ``[N, C or 1, M, Dt]`` from position 1 on."""
    rows = embeddings.expand(len(context), -1, -1, -1)
    context = context.expand(-1, len(embeddings), -1, -1).to(embeddings.dtype)
    return torch.cat([rows[:, :, :1], context, rows[:, :, 1 + context.shape[2] :]], dim=2)


@torch.no_grad()
def embedded_words(setting: Setting, words: str, count: int) -> Tensor:
    """The first ``count`` token embeddings ``[count, Dt]`` behind the start token of words.

    Those of the end-of-text token and of the padding behind it follow where the words have fewer tokens.
    """
    # The placeholders only make the tokens of the words long enough.
    prompts = setting.model.prompts([words, " ".join([PLACEHOLDER] * (count + 1))])
    found: Tensor = setting.model.embed(prompts)[0, 1 : 1 + count].clone()
    return found


@torch.no_grad()
def frozen_classes(setting: Setting, template: str) -> Tensor:
    """Features ``[C, D]``, normalised, float32, that the model itself has of a template's prompts."""
    model = setting.model
    with torch.autocast(setting.device.type, enabled=False):
        features: Tensor = model.encode_text(model.prompts([template.format(name) for name in setting.classes]))[0]
    return nn.functional.normalize(features.float(), dim=-1)
