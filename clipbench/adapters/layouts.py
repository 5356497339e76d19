"""Where the matrices of a transformer block are, model family by model family: one visible table.

A new family is a new row. A target is ``path`` (a linear layer inside the block, adapted whole), ``path[i/n]`` (the
i-th of n equal parts of a fused linear layer), or ``path{mha}`` (a part of an ``nn.MultiheadAttention``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from clipbench.adapters.config import TARGETS, AdapterConfig
from clipbench.errors import UserError

_FUSED_MHA = dict.fromkeys("qkvo", "attn{mha}")
_OPEN_CLIP = {**_FUSED_MHA, "fc1": "mlp.c_fc", "fc2": "mlp.c_proj"}
_HF = {
    "q": "self_attn.q_proj", "k": "self_attn.k_proj", "v": "self_attn.v_proj", "o": "self_attn.out_proj",
    "fc1": "mlp.fc1", "fc2": "mlp.fc2",
}  # fmt: skip
_MLP = {"fc1": "mlp.fc1", "fc2": "mlp.fc2"}


def _fused(path: str, out: str) -> dict[str, str]:
    return {**{name: f"{path}[{i}/3]" for i, name in enumerate("qkv")}, "o": out}


@dataclass(frozen=True)
class Layout:
    """One row of the table.

    Attributes:
        name: What `summary` and messages call it.
        tower: ``vision``, ``text`` or ``decoder``.
        blocks: Regular expression that matches the whole name of a block.
        targets: Target name to place inside the block.
        sign: A module or parameter that the model must have; empty for none.
    """

    name: str
    tower: str
    blocks: str
    targets: dict[str, str]
    sign: str = ""


LAYOUTS = (
    Layout("open_clip", "vision", r"visual\.transformer\.resblocks\.\d+", _OPEN_CLIP),
    Layout("open_clip", "vision", r"transformer\.resblocks\.\d+", _OPEN_CLIP, sign="conv1"),
    Layout("open_clip", "text", r"(text\.)?transformer\.resblocks\.\d+", _OPEN_CLIP, sign="positional_embedding"),
    Layout("open_clip", "text", r"(text\.)?transformer\.resblocks\.\d+", _OPEN_CLIP, sign="visual"),
    Layout("timm", "vision", r"(visual\.trunk\.)?blocks\.\d+", {**_fused("attn.qkv", "attn.proj"), **_MLP}),
    Layout("hf", "vision", r"(.+\.)?vision_model\.encoder\.layers\.\d+", _HF),
    Layout("hf", "text", r"(.+\.)?text_model\.encoder\.layers\.\d+", _HF),
    Layout("hf", "decoder", r"decoder\.layers\.\d+", _HF),
    Layout("hf", "vision", r"encoder\.layers\.\d+", _HF, sign="embeddings.patch_embedding"),
    Layout("hf", "text", r"encoder\.layers\.\d+", _HF, sign="embeddings.token_embedding"),
    Layout(
        "mambavision",
        "vision",
        r"(model\.)?levels\.\d+\.blocks\.\d+",
        {**_fused("mixer.qkv", "mixer.proj"), "in_proj": "mixer.in_proj", "out_proj": "mixer.out_proj", **_MLP},
    ),
)
"""The first row that matches a block, and whose sign the model has, decides."""


@dataclass(frozen=True)
class Place:
    """One module to replace.

    Attributes:
        path: Name of the module in the model.
        tower: The tower it belongs to; ``pattern`` for a match of `AdapterConfig.patterns`.
        layer: Index of its block in the tower; None for a match of a pattern.
        block: Name of its block; its own name for a match of a pattern.
        parts: Target name to (index, count): which of `count` equal parts of the output rows it holds.
    """

    path: str
    tower: str
    layer: int | None
    block: str
    parts: dict[str, tuple[int, int]]


def find_places(model: nn.Module, config: AdapterConfig) -> list[Place]:
    """The modules that `config` adapts, in the model's own order.

    Raises:
        UserError: Nothing matches, or a match cannot be adapted.
    """
    places: dict[str, Place] = {}
    for tower, layer, block, layout in _blocks(model):
        if tower in config.tower_names and config.has_layer(layer):
            for place in _places_in_block(model, config, tower, layer, block, layout):
                places.setdefault(place.path, place)
    for path in _pattern_matches(model, config):
        places.setdefault(path, Place(path, "pattern", None, path, {"linear": (0, 1)}))
    if not places:
        raise UserError(_nothing_found(model, config))
    order = {name: i for i, (name, _) in enumerate(model.named_modules())}
    return sorted(places.values(), key=lambda place: order[place.path])


def _blocks(model: nn.Module) -> Iterator[tuple[str, int, str, Layout]]:
    """Tower, index in the tower, name and layout of every block."""
    signs = {name for name, _ in model.named_modules()} | {name for name, _ in model.named_parameters()}
    layouts = [layout for layout in LAYOUTS if not layout.sign or layout.sign in signs]
    counts: dict[str, int] = {}
    for name, _ in model.named_modules():
        layout = next((row for row in layouts if re.fullmatch(row.blocks, name)), None)
        if layout is not None:
            index = counts.get(layout.tower, 0)
            counts[layout.tower] = index + 1
            yield layout.tower, index, name, layout


def _places_in_block(
    model: nn.Module, config: AdapterConfig, tower: str, layer: int, block: str, layout: Layout
) -> Iterator[Place]:
    parts: dict[str, dict[str, tuple[int, int]]] = {}
    for target in config.targets:
        path, part = _parse(layout.targets.get(target, ""))
        full = f"{block}.{path}"
        if path and _has(model, full):
            parts.setdefault(full, {})[target] = part
    for path, held in parts.items():
        yield Place(path, tower, layer, block, held)


def _parse(target: str) -> tuple[str, tuple[int, int]]:
    """``"attn.qkv[1/3]"`` to ``("attn.qkv", (1, 3))``; a whole layer is part (0, 1)."""
    match = re.fullmatch(r"([\w.]*)(?:\[(\d)/(\d)\]|\{mha\})?", target)
    if match is None:
        raise ValueError(f"not a target: {target!r}")
    return match[1], (int(match[2] or 0), int(match[3] or 1))


def _has(model: nn.Module, path: str) -> bool:
    try:
        return isinstance(model.get_submodule(path), nn.Linear | nn.MultiheadAttention)
    except AttributeError:
        return False


def _pattern_matches(model: nn.Module, config: AdapterConfig) -> list[str]:
    linears = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    matches = {pattern: [name for name in linears if re.fullmatch(pattern, name)] for pattern in config.patterns}
    for pattern, found in matches.items():
        if not found:
            raise UserError(
                f"AdapterConfig: the pattern {pattern!r} matches the whole name of no nn.Linear in this "
                f"{type(model).__name__}. Some of its linear layers: {', '.join(linears[:5]) or '(none)'}."
            )
    names = [name for name in linears if any(name in found for found in matches.values())]
    inner = [n for n in names if isinstance(model.get_submodule(n.rpartition(".")[0]), nn.MultiheadAttention)]
    if inner:
        raise UserError(
            f"AdapterConfig: a pattern matches {inner[0]}, which its nn.MultiheadAttention never calls: an adapter "
            "there would do nothing. Name it with targets='o', and keep it out of the patterns."
        )
    return names


def _nothing_found(model: nn.Module, config: AdapterConfig) -> str:
    found: dict[str, int] = {}
    for tower, *_ in _blocks(model):
        found[tower] = found.get(tower, 0) + 1
    have = ", ".join(f"{count} {tower} blocks" for tower, count in found.items()) or "no blocks of a known layout"
    return (
        f"Nothing in this {type(model).__name__} can be adapted as asked: it has {have}; asked were targets "
        f"{' '.join(config.targets) or '(none)'}, towers {config.towers!r}, layers {config.layers or 'all'}. Known "
        f"targets are {', '.join(TARGETS)}; `patterns` can name any nn.Linear, as in patterns=(r'.*\\.fc1',)."
    )
