"""Learned tokens in several blocks of both towers: what MaPLe and PromptSRC have in common.

In front of the first block of the text tower the learned tokens stand where the template's first words did; in front of
each later block, up to the depth, they take the place of what the block before made of them. The image tower gets its
tokens behind the patches, in front of the first norm, and they are replaced likewise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from clipbench.errors import UserError
from clipbench.methods.base import Method, Setting
from clipbench.registry.field import Field

_STD = 0.02
"""Of the draw of the deep tokens (CoOp's, and that of all that follow it)."""

CONTEXT_TOKENS = Field("context_tokens", int, "learned prompt tokens", low=1)
PROMPT_DEPTH = Field(
    "prompt_depth", int, "blocks of the text tower that learned tokens enter, from the first on", low=1
)
CONTEXT_DTYPE = Field(
    "context_dtype",
    str,
    "numbers that the first learned tokens (MaPLe: their projection too) are kept and updated in",
    words=("fp32", "fp16"),
)


class DeepPrompts(Method):
    """The text side.

    Attributes:
        context: Tokens of the first block, ``[R, T, Dt]``, which start as the template's first T.
        deep: Tokens of the later blocks, ``[R, J - 1, T, Dt]``.
    """

    embedded: Tensor
    gradient_through: ClassVar[str] = "both"
    seed_axis: ClassVar[bool] = True

    def setup(self, setting: Setting) -> None:
        """Start the context from the template's words, draw the deep tokens."""
        super().setup(setting)
        need, model, runs = setting.protocol.need, setting.model, len(setting.seeds)
        tokens, depth = need("context_tokens"), need("prompt_depth")
        _check(setting, tokens, depth)
        with torch.no_grad():
            embedded = model.embed(self.prompts())
        self.register_buffer("embedded", embedded, persistent=False)
        start = embedded[0, 1 : 1 + tokens].expand(runs, -1, -1)
        self.context = nn.Parameter(start.to(self.kept_in()).clone())
        self.deep = nn.Parameter(self.drawn("text", depth - 1, tokens, model.text_width))

    def kept_in(self) -> torch.dtype:
        """The type of the parameters that the official code keeps in half precision."""
        return {"fp32": torch.float32, "fp16": torch.float16}[self.setting.protocol.need("context_dtype")]

    def drawn(self, purpose: str, *shape: int) -> Tensor:
        """Tokens ``[R, ...]`` with a standard deviation of 0.02, from each run's stream."""
        setting = self.setting
        streams = [setting.stream(f"{purpose} prompts", run) for run in range(len(setting.seeds))]
        return torch.stack([_STD * torch.randn(shape, generator=stream) for stream in streams]).to(self.embedded.device)

    def encode_classes(self) -> Tensor:
        """Features ``[R, C, D]``, un-normalised, of the prompts around the learned tokens."""
        runs, tokens = self.context.shape[:2]
        rest = self.embedded.expand(runs, -1, -1, -1)
        context = self.context.to(rest.dtype).unsqueeze(1).expand(-1, rest.shape[1], -1, -1)
        embedded = torch.cat([rest[:, :, :1], context, rest[:, :, 1 + tokens :]], dim=2)
        later = {layer + 1: self.deep[:, layer] for layer in range(self.deep.shape[1])}
        features: Tensor = self.setting.model.encode_text(self.prompts(), embedded, later, replicas=runs)
        return features

    def image_tokens(self) -> Mapping[int, Tensor]:
        """Tokens ``[R, T, Dv]`` of the image tower by the block that they enter."""
        raise NotImplementedError

    def image_features(self, images: Tensor) -> Tensor:
        """Features ``[R*B, D]``, un-normalised, of images ``[R*B, 3, S, S]``, each with its run's tokens."""
        rows = len(images) // len(self.context)
        deep = {layer: tokens.repeat_interleave(rows, 0) for layer, tokens in self.image_tokens().items()}
        features: Tensor = self.setting.model.encode_image(images, deep)
        return features


def _check(setting: Setting, tokens: int, depth: int) -> None:
    """Raises ``UserError`` where the template, the towers or the precision do not go with the learned tokens."""
    model: Any = setting.model
    words = int(model.prompts([setting.template.partition("{}")[0]]).ends[0]) - 1
    if words < tokens:
        raise UserError(
            f"{setting.protocol.origin or 'this protocol'}: the template {setting.template!r} has {words} tokens in "
            f"front of the class name, and {tokens} are to be learned in their place (context_tokens)."
        )
    blocks = min(model.text_layers, model.image_layers) if model.image_layers else 0
    if not 1 <= depth <= blocks:
        raise UserError(
            f"{setting.protocol.origin or 'this protocol'}: tokens are to enter {depth} blocks (prompt_depth), and "
            f"{model.name} has {model.text_layers} in its text tower and {model.image_layers} plain ones for images."
        )
    if setting.protocol.need("context_dtype") == "fp16" and setting.protocol.need("precision").startswith("fp16"):
        raise UserError(
            f"{setting.protocol.origin or 'this protocol'}: context_dtype fp16 leaves no float32 copy for a loss scale "
            f"to act on; take it with precision fp32 or bf16."
        )
