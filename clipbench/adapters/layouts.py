"""Where the matrices of a transformer block are, model family by model family: one visible table.

A new family is a new row. A target is ``path`` (a linear layer inside the block, adapted whole), ``path[i/n]`` (the
i-th of n equal parts of a fused linear layer), or ``path{mha}`` (a part of an ``nn.MultiheadAttention``). Where a
family has two forms, as EVA-02 with its separate or fused projections, the first that is there counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

Targets = dict[str, tuple[str, ...]]


def _fused(path: str, out: str) -> Targets:
    return {**{name: (f"{path}[{i}/3]",) for i, name in enumerate("qkv")}, "o": (out,)}


_MLP: Targets = {"fc1": ("mlp.fc1",), "fc2": ("mlp.fc2",)}
_OPEN_CLIP: Targets = {
    **dict.fromkeys("qkvo", ("attn{mha}",)),
    "fc1": ("mlp.c_fc",),
    "fc2": ("mlp.c_proj",),
}
_TIMM: Targets = {
    **{n: (f"attn.qkv[{i}/3]", f"attn.{n}_proj", f"token_mixer.qkv[{i}/3]") for i, n in enumerate("qkv")},
    "o": ("attn.proj", "token_mixer.proj"),
    "fc1": ("mlp.fc1",),
    "fc2": ("mlp.fc2",),
}
_HF: Targets = {
    **{name: (f"self_attn.{name}_proj",) for name in "qkv"},
    "o": ("self_attn.out_proj",),
    **_MLP,
}
_BERT: Targets = {
    "q": ("attention.self.query",), "k": ("attention.self.key",), "v": ("attention.self.value",),
    "o": ("attention.output.dense",), "fc1": ("intermediate.dense",), "fc2": ("output.dense",),
}  # fmt: skip
_MAMBAVISION: Targets = {
    **_fused("mixer.qkv", "mixer.proj"), "in_proj": ("mixer.in_proj",), "out_proj": ("mixer.out_proj",), **_MLP,
}  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """One row of the table.

    Attributes:
        name: What `summary` and messages call it.
        tower: ``vision``, ``text`` or ``decoder``.
        blocks: Regular expression that matches the whole name of a block.
        targets: Target name to its places inside the block.
        sign: A module or parameter that the model must have; empty for none.
        mixed: Blocks differ from each other, and a target need not be in each.
    """

    name: str
    tower: str
    blocks: str
    targets: Targets
    sign: str = ""
    mixed: bool = False


LAYOUTS = (
    Layout("open_clip", "vision", r"visual\.transformer\.resblocks\.\d+", _OPEN_CLIP),
    Layout("open_clip", "vision", r"transformer\.resblocks\.\d+", _OPEN_CLIP, sign="conv1"),
    Layout("open_clip", "text", r"(text\.)?transformer\.resblocks\.\d+", _OPEN_CLIP, sign="positional_embedding"),
    Layout("open_clip", "text", r"(text\.)?transformer\.resblocks\.\d+", _OPEN_CLIP, sign="visual"),
    Layout("timm", "vision", r"(visual\.trunk\.)?blocks\.\d+", _TIMM),
    Layout("timm swin", "vision", r"(visual\.trunk\.)?layers\.\d+\.blocks\.\d+", _TIMM),
    Layout("timm stages", "vision", r"(visual\.trunk\.)?stages\.\d+\.blocks\.\d+", _TIMM, mixed=True),
    Layout("hf", "vision", r"(.+\.)?vision_model\.encoder\.layers\.\d+", _HF),
    Layout("hf", "text", r"(.+\.)?text_model\.encoder\.layers\.\d+", _HF),
    Layout("hf bert", "text", r"text\.transformer\.encoder\.layer\.\d+", _BERT),
    Layout("hf", "decoder", r"decoder\.layers\.\d+", _HF),
    Layout("hf", "vision", r"encoder\.layers\.\d+", _HF, sign="embeddings.patch_embedding"),
    Layout("hf", "text", r"encoder\.layers\.\d+", _HF, sign="embeddings.token_embedding"),
    Layout("mambavision", "vision", r"(model\.)?levels\.\d+\.blocks\.\d+", _MAMBAVISION, mixed=True),
)
"""The first row that matches a block, and whose sign the model has, decides."""

TOWER_MODULES = {
    "vision": r"visual|(.+\.)?vision_model|image_encoder",
    "text": r"text|(.+\.)?text_model|token_embedding",
    "decoder": r"decoder",
}
"""Names of modules that tell that a model has a tower, whether or not its blocks are of a known layout."""


@dataclass(frozen=True)
class Block:
    """One block of a tower.

    Attributes:
        tower: ``vision``, ``text`` or ``decoder``.
        layer: Its index in the tower.
        path: Its name in the model.
        layout: The row that it matched.
    """

    tower: str
    layer: int
    path: str
    layout: Layout


def find_blocks(model: nn.Module) -> Iterator[Block]:
    """Every block of a known layout, in the model's order."""
    signs = {name for name, _ in model.named_modules()} | {name for name, _ in model.named_parameters()}
    layouts = [layout for layout in LAYOUTS if not layout.sign or layout.sign in signs]
    counts: dict[str, int] = {}
    for name, _ in model.named_modules():
        layout = next((row for row in layouts if re.fullmatch(row.blocks, name)), None)
        if layout is not None:
            index = counts.get(layout.tower, 0)
            counts[layout.tower] = index + 1
            yield Block(layout.tower, index, name, layout)


def towers_without_blocks(model: nn.Module, blocks: list[Block]) -> list[str]:
    """Towers that the model has, by the names of its modules, though no block in them is of a known layout."""
    found = {block.tower for block in blocks}
    names = [name for name, _ in model.named_modules()]
    return [
        tower
        for tower, pattern in TOWER_MODULES.items()
        if tower not in found and any(re.fullmatch(pattern, name) for name in names)
    ]


def locate(model: nn.Module, block: Block, target: str) -> tuple[str, tuple[int, int]] | None:
    """The module that holds `target` of `block`, and which of how many equal parts it is; None without it."""
    for place in block.layout.targets.get(target, ()):
        path, part = _parse(place)
        full = f"{block.path}.{path}"
        if _has(model, full):
            return full, part
    return None


def _parse(place: str) -> tuple[str, tuple[int, int]]:
    """``"attn.qkv[1/3]"`` to ``("attn.qkv", (1, 3))``; a whole layer is part (0, 1)."""
    match = re.fullmatch(r"([\w.]*)(?:\[(\d)/(\d)\]|\{mha\})?", place)
    if match is None:
        raise ValueError(f"not a place: {place!r}")
    return match[1], (int(match[2] or 0), int(match[3] or 1))


def _has(model: nn.Module, path: str) -> bool:
    try:
        return isinstance(model.get_submodule(path), nn.Linear | nn.MultiheadAttention)
    except AttributeError:
        return False


def hugging_face_name(tower: str, layer: int | None, target: str) -> str | None:
    """What Hugging Face's CLIP calls the matrix `target` of block `layer` of a tower; None if it has none."""
    places = _HF.get(target)
    return None if places is None or layer is None else f"{tower}_model.encoder.layers.{layer}.{places[0]}"


def hugging_face_place(path: str) -> tuple[str, int, str] | None:
    """The inverse: tower, layer and target of a linear layer of Hugging Face's CLIP."""
    match = re.fullmatch(r"(?:.+\.)?(vision|text)_model\.encoder\.layers\.(\d+)\.(.+)", path)
    targets = {places[0]: target for target, places in _HF.items()}
    return None if match is None or match[3] not in targets else (match[1], int(match[2]), targets[match[3]])
