"""The towers of a CLIP as their work counts: operations of a sequence, bytes of a token. No PyTorch here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clipbench.audit.architecture import Tower, model_of_config, text_tower, vit
from clipbench.errors import UserError
from clipbench.models import family, image_size
from clipbench.models.model_config import model_config, side
from clipbench.registry import Protocol

_TIMM = re.compile(r"_(tiny|small|base|large)_patch(\d+)")
"""What stands in the names of timm's ViTs of the usual sizes, EVA-02's and the Perception Encoder's among them."""
_SIZES = {"tiny": (192, 12), "small": (384, 12), "base": (768, 12), "large": (1024, 24)}
"""Width and blocks."""
_NO_TEXT = Tower(0, 0, 1, 0, 0)
"""Beside an image tower alone."""
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

    def kept(self, *, weights: bool, adapters: float = 0.0) -> float:
        """Bytes of a token that the backward pass waits for.

        Per block: the inputs of both norms, queries, keys, values, attention's output, and the activation's inputs;
        where ``weights`` are trained, the inputs of their products too; and for every unit of the width, what
        ``adapters`` keep.
        """
        width, hidden = self.tower.width, self.tower.hidden
        maps = 6 * width + (2 if self.gated else 1) * hidden + (2 * width + hidden if weights else 0)
        blocks = self.tower.blocks - (1 if self.reads_one else 0)
        return float(blocks * (FLOAT * maps + adapters * width))

    @property
    def passing(self) -> float:
        """Bytes of a token in a forward pass without a gradient, where they are most: in the MLP."""
        return float(FLOAT * (2 * self.tower.width + (3 if self.gated else 2) * self.tower.hidden))


@dataclass(frozen=True)
class Towers:
    """Both towers of a CLIP.

    Attributes:
        vision: The image tower.
        text: The text tower; one without width beside an image tower of timm's.
        tokens: Of an image, class token included.
        parameters: Of both.
        prompt: Tokens of every prompt, where the text tower reads all to the end; 0 where prompts are cut.
    """

    vision: Stack
    text: Stack
    tokens: int
    parameters: int
    prompt: int = 0


def towers_of(protocol: Protocol, config: Path | None = None) -> Towers | None:
    """The towers of the protocol's backbone, or of a user's config file; None where their work is not known.

    Known are CLIPs of open_clip whose image tower is a plain ViT, its own or timm's, and timm's ViTs alone. Raises
    ``UserError`` for a configuration that cannot be read.
    """
    name = protocol.need("backbone")
    reads_one = protocol.need("task") != "linear-head" or protocol.pooling == "cls"
    if family(name) == "timm":
        return _of_timm(name, image_size(name), reads_one=reads_one)
    if family(name) not in ("open_clip", "tiny") or protocol.need("task") == "segmentation":
        return None
    found = model_config(name, config)
    image, joint, text = found["vision_cfg"], found["embed_dim"], found["text_cfg"]
    if "timm_model_name" in image:
        reads_one = reads_one and image.get("timm_pool") == "token"
        towers = _of_timm(image["timm_model_name"], side(found), reads_one=reads_one)
        return towers and _with_text(towers, text, joint)
    try:
        model = model_of_config(name, found)
    except UserError:
        return None
    gated = bool(found.get("quick_gelu"))
    vision = _stack(model.vision, image["patch_size"], side(found), joint, gated=gated, reads_one=reads_one)
    written = Stack(model.text, joint * model.text.width, gated)
    return Towers(vision, written, _tokens(image["patch_size"], side(found)), model.parameters)


def _of_timm(name: str, pixels: int, *, reads_one: bool) -> Towers | None:
    sizes = _TIMM.search(name)
    if sizes is None:
        return None
    tower, patch = vit(*_SIZES[sizes[1]], int(sizes[2])), int(sizes[2])
    vision = _stack(tower, patch, pixels, 0, gated=False, reads_one=reads_one)
    return Towers(vision, Stack(_NO_TEXT, 0, gated=False), _tokens(patch, pixels), tower.parameters)


def _with_text(towers: Towers, text: Mapping[str, Any], joint: int) -> Towers:
    tower = text_tower(text, joint)
    whole = bool(text.get("no_causal_mask"))
    stack = Stack(tower, joint * tower.width, gated=False, reads_one=not whole)
    total = towers.parameters + tower.parameters + tower.projection
    return Towers(towers.vision, stack, towers.tokens, total, text["context_length"] if whole else 0)


def _stack(tower: Tower, patch: int, pixels: int, joint: int, *, gated: bool, reads_one: bool) -> Stack:
    patches = _tokens(patch, pixels) - 1
    return Stack(tower, (3 * patch**2 * patches + joint) * tower.width, gated, reads_one)


def _tokens(patch: int, pixels: int) -> int:
    return int((pixels // patch) ** 2) + 1
