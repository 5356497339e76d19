"""The towers of a CLIP as their work counts: operations of a sequence, bytes of a token. No PyTorch here."""

from __future__ import annotations

from dataclasses import dataclass

from clipbench.audit.architecture import Tower, model_of_config
from clipbench.models import family
from clipbench.models.model_config import model_config, side
from clipbench.registry import Protocol

FLOAT = 4
"""Bytes of a number in float32."""


@dataclass(frozen=True)
class Stack:
    """A tower with what its work depends on.

    Attributes:
        tower: Width, MLP width, blocks.
        outside: Multiply-adds of a sequence in front of and behind the blocks.
        gated: The activation is QuickGELU, ``x * sigmoid(1.702 x)``, which keeps two maps of the MLP's width.
        reads_one: One token of each sequence is read, and the last block computes no more (see ``exact_cuts``).
    """

    tower: Tower
    outside: float
    gated: bool
    reads_one: bool = True

    def flops(self, tokens: float) -> float:
        """Operations of the forward pass of one sequence; a multiply-add counts as two."""
        width, hidden = self.tower.width, self.tower.hidden
        whole = tokens * (4 * width**2 + 2 * width * hidden) + 2 * tokens**2 * width
        one = 2 * (tokens + 1) * width**2 + 2 * width * hidden + 2 * tokens * width
        last = one if self.reads_one else whole
        return 2.0 * ((self.tower.blocks - 1) * whole + last + self.outside)

    def kept(self, *, weights: bool) -> float:
        """Bytes of a token that the backward pass waits for.

        Per block: the inputs of both norms, queries, keys, values, attention's output, and the activation's inputs;
        where ``weights`` are trained, the inputs of their products too.
        """
        width, hidden = self.tower.width, self.tower.hidden
        maps = 6 * width + (2 if self.gated else 1) * hidden + (2 * width + hidden if weights else 0)
        blocks = self.tower.blocks - (1 if self.reads_one else 0)
        return float(FLOAT * blocks * maps)

    @property
    def passing(self) -> float:
        """Bytes of a token in a forward pass without a gradient, where they are most: in the MLP."""
        return float(FLOAT * (2 * self.tower.width + (3 if self.gated else 2) * self.tower.hidden))


@dataclass(frozen=True)
class Towers:
    """Both towers of a CLIP; ``tokens`` of an image, class token included; all parameters."""

    vision: Stack
    text: Stack
    tokens: int
    parameters: int


def towers_of(protocol: Protocol) -> Towers | None:
    """The towers of the protocol's backbone; None where it is no CLIP of open_clip's, or is used for segmentation.

    Raises ``UserError`` where its image tower is no plain ViT.
    """
    name = protocol.need("backbone")
    if family(name) not in ("open_clip", "tiny") or protocol.need("task") == "segmentation":
        return None
    config = model_config(name)
    model = model_of_config(name, config)
    gated, joint = bool(config.get("quick_gelu")), config["embed_dim"]
    patch = config["vision_cfg"]["patch_size"]
    patches = (side(config) // patch) ** 2
    width = model.vision.width
    reads_one = protocol.need("task") != "linear-head" or protocol.pooling == "cls"
    vision = Stack(model.vision, 3 * patch**2 * patches * width + joint * width, gated, reads_one)
    return Towers(vision, Stack(model.text, joint * model.text.width, gated), patches + 1, model.parameters)
