"""Parameter counts in closed form, from open_clip's config files: no PyTorch, no weights.

A block of width w with MLP ratio m has ``4 w^2 + 4 w`` parameters in its attention, ``2 h w + h + w`` in its MLP
(h = m w) and ``4 w`` in its two LayerNorms. The tests hold every formula against the models themselves.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from clipbench.errors import UserError
from clipbench.registry import Protocol


@dataclass(frozen=True)
class Tower:
    """A stack of transformer blocks: their width, MLP width and number, and the parameters around the blocks.

    ``projection`` is the matrix into the joint space, which a linear head on the tower does not use.
    """

    width: int
    hidden: int
    blocks: int
    around: int
    projection: int

    @property
    def parameters(self) -> int:
        """All parameters but the projection."""
        w, h = self.width, self.hidden
        return self.around + self.blocks * (4 * w * w + 4 * w + 2 * h * w + h + w + 4 * w)

    def adapted(self, targets: str) -> tuple[tuple[int, int], ...]:
        """(inputs, outputs) of every adapted matrix. Raises ``UserError`` for a placement that is no part of it."""
        square, up, down = (self.width,) * 2, (self.width, self.hidden), (self.hidden, self.width)
        placements = {
            "qv": [square] * 2,
            "qkv": [square] * 3,
            "qkvo": [square] * 4,
            "qkv+mlp": [*[square] * 3, up, down],
            "all-linear": [*[square] * 4, up, down],
        }
        if targets not in placements:
            raise UserError(f"no parameter count for the targets {targets!r}; there is {', '.join(placements)}")
        return tuple(placements[targets]) * self.blocks


@dataclass(frozen=True)
class Model:
    """A two-tower model, and for CLIPSeg its decoder, of which the up-convolution can be trained by itself."""

    vision: Tower
    text: Tower
    decoder: Tower | None = None
    up_convolution: int = 0

    @property
    def parameters(self) -> int:
        """Everything, logit scale included."""
        towers = sum(t.parameters + t.projection for t in (self.vision, self.text))
        return towers + 1 + (self.decoder.parameters if self.decoder else 0)

    def towers(self, which: str) -> tuple[Tower, ...]:
        """The adapted towers of the protocol's word: vision, text, both, all."""
        chosen = {"vision": (self.vision,), "text": (self.text,), "both": (self.vision, self.text)}
        if which == "all" and self.decoder is not None:
            return self.vision, self.text, self.decoder
        return chosen[which]


def adapter_parameters(towers: Sequence[Tower], targets: str, rank: int, *, magnitude: str | None) -> int:
    """LoRA adds ``r (in + out)`` per matrix, DoRA a magnitude per ``output`` or ``input`` (CLIP-DoRA sec. 3.3)."""
    matrices = [matrix for tower in towers for matrix in tower.adapted(targets)]
    return sum(rank * (i + o) + {"output": o, "input": i}.get(magnitude or "", 0) for i, o in matrices)


@cache
def clip(name: str) -> Model:
    """A CLIP model with a ViT tower by its open_clip name. Raises ``UserError`` where there is no such config."""
    return model_of_config(name, _config(name))


def model_of_config(name: str, config: Mapping[str, Any]) -> Model:
    """A CLIP model of an open_clip config. Raises ``UserError`` where its image tower is no plain ViT."""
    vision, text, joint = config["vision_cfg"], config["text_cfg"], config["embed_dim"]
    if not isinstance(vision.get("layers"), int) or "patch_size" not in vision:
        raise UserError(f"{name} has no plain ViT tower, so that its parameters have no closed form here")
    return Model(_vision(vision, joint), text_tower(text, joint))


def _vision(config: Mapping[str, Any], joint: int) -> Tower:
    """Patch embedding without bias, class token, positions, LayerNorm before and after the blocks."""
    w, patch = config["width"], config["patch_size"]
    positions = (config["image_size"] // patch) ** 2 + 1
    around = 3 * patch * patch * w + w + positions * w + 4 * w
    return Tower(w, int(w * config.get("mlp_ratio", 4.0)), config["layers"], around, w * joint)


def text_tower(config: Mapping[str, Any], joint: int) -> Tower:
    """The text tower of an open_clip config: token embedding, positions, the last LayerNorm around the blocks."""
    w = config["width"]
    around = (config["vocab_size"] + config["context_length"] + 2) * w
    return Tower(w, 4 * w, config["layers"], around, w * joint)


@cache
def clipseg() -> Model:
    """``CIDAS/clipseg-rd64-refined``: CLIP ViT-B/16 and a decoder of 3 blocks, 64 wide, with the refined head.

    Around the decoder's blocks: three reductions 768 to 64, two FiLM layers 512 to 64, and the head (a 3 x 3
    convolution and two transposed convolutions): the "transposed convolution responsible for the upscale" of CLIP-DoRA
    sec. 4.4.
    """
    model = clip("ViT-B-16-quickgelu")
    head = (9 * 64 * 64 + 64) + (16 * 64 * 32 + 32) + (16 * 32 + 1)
    around = 3 * (768 * 64 + 64) + 2 * (512 * 64 + 64) + head
    return Model(model.vision, model.text, Tower(64, 2048, 3, around, 0), head)


def vit(width: int, blocks: int, patch: int) -> Tower:
    """timm's ``vit_*_patch*_224`` without a head: patch embedding with bias, class token, positions, last LayerNorm."""
    positions = (224 // patch) ** 2 + 1
    around = 3 * patch * patch * width + width + width + positions * width + 2 * width
    return Tower(width, 4 * width, blocks, around, 0)


def model_of(backbone: str) -> Model:
    """The model of a protocol's backbone. Raises ``UserError`` where no closed form is known."""
    return clipseg() if backbone.startswith("clipseg") else clip(backbone)


def trainable_and_total(protocol: Protocol, classes: int) -> tuple[int, int]:
    """Trainable and all parameters of a run, adapters and linear head included, as a record counts them.

    Raises ``UserError`` where the model or the method has no closed form.
    """
    model = model_of(protocol.need("backbone"))
    if protocol.task == "linear-head":
        head = model.vision.width * classes + (classes if protocol.head_bias else 0)
        frozen = model.vision.parameters
    else:
        head, frozen = 0, model.parameters
    if protocol.method == "full" and protocol.encoder_gradient is False and model.decoder is not None:
        return model.decoder.parameters, frozen
    if protocol.method == "full":
        return frozen + head, frozen + head
    adapters = _adapters(protocol, model)
    also = {None: 0, "up-convolution": model.up_convolution}.get(protocol.also_trained)
    if also is None:
        raise UserError(f"no parameter count for {protocol.also_trained!r} trained beside the adapters")
    return adapters + head + also, frozen + adapters + head


def _adapters(protocol: Protocol, model: Model) -> int:
    if protocol.method not in ("lora", "dora"):
        raise UserError(f"no parameter count for the method {protocol.method!r}")
    towers = model.towers(protocol.need("towers"))
    magnitude = protocol.need("norm_axis") if protocol.method == "dora" else None
    return adapter_parameters(towers, protocol.need("targets"), protocol.need("rank"), magnitude=magnitude)


@cache
def _config(name: str) -> dict[str, Any]:
    """An open_clip model config; finding the package does not import it."""
    spec = importlib.util.find_spec("open_clip")
    path = Path(spec.origin).parent / "model_configs" / f"{name}.json" if spec and spec.origin else Path(name)
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise UserError(f"open_clip has no model config {name!r}, so its parameters cannot be counted") from None
    return config
