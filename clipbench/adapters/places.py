"""Which modules of a model a configuration adapts: exactly what was asked, or an error that says what is not there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from torch import nn

from clipbench.adapters.attention import require_plain
from clipbench.adapters.config import AdapterConfig
from clipbench.adapters.errors import AdapterError
from clipbench.adapters.layouts import Block, find_blocks, locate, towers_without_blocks
from clipbench.adapters.parsing import PLACEMENTS, TARGETS, matches


@dataclass(frozen=True)
class Place:
    """One module to replace.

    Attributes:
        path: Name of the module in the model.
        tower: The tower it belongs to; ``pattern`` for a layer outside of the known blocks.
        layer: Index of its block in the tower; None outside.
        block: Name of its block; its own name outside.
        parts: Target name to (index, count): which of `count` equal parts of the output rows it holds.
    """

    path: str
    tower: str
    layer: int | None
    block: str
    parts: dict[str, tuple[int, int]]

    def names(self) -> list[str]:
        """The names of its matrices, as in `adapted_modules`."""
        return [f"{self.path}.{target}" for target in self.parts]


def find_places(model: nn.Module, config: AdapterConfig) -> list[Place]:
    """The modules that `config` adapts, in the model's own order.

    Raises:
        AdapterError: Something that was asked is not there, or cannot be adapted.
    """
    blocks = list(find_blocks(model))
    if config.targets:
        _require_towers(model, config, blocks)
    chosen = [b for b in blocks if config.targets and b.tower in config.tower_names and config.has_layer(b.layer)]
    _require_targets(model, config, chosen)
    found = [place for block in chosen for place in places_in_block(model, block, config.targets)]
    found += _pattern_places(model, config, blocks)
    places = [place for place in (_without_excluded(place, config) for place in _joined(found)) if place.parts]
    if not places:
        raise AdapterError(_nothing_found(model, config, blocks))
    _require_heeded(model, config, places, found)
    order = {name: i for i, (name, _) in enumerate(model.named_modules())}
    return sorted(places, key=lambda place: order[place.path])


def _require_heeded(model: nn.Module, config: AdapterConfig, places: list[Place], found: list[Place]) -> None:
    """A rank, an alpha or an exclusion for a matrix that is not there would be lost without a word."""
    adapted = {name for place in places for name in (place.path, *place.names())}
    before = {name for place in found for name in (place.path, *place.names())}
    for field, patterns, names in (
        ("rank_pattern", [rf"(?:.*\.)?(?:{pattern})" for pattern, _ in config.rank_pattern], adapted),
        ("alpha_pattern", [rf"(?:.*\.)?(?:{pattern})" for pattern, _ in config.alpha_pattern], adapted),
        ("exclude", config.exclude, before),
    ):
        for pattern in patterns:
            if not any(matches(pattern, name) for name in names):
                raise AdapterError(
                    f"adapt: {field}: {pattern!r} matches the whole name of no adapted matrix of this "
                    f"{type(model).__name__}. Some of them: {', '.join(sorted(names, reverse=True)[:4])}."
                )


def places_in_block(model: nn.Module, block: Block, targets: Iterable[str]) -> list[Place]:
    """The places of those of `targets` that the block has."""
    parts: dict[str, dict[str, tuple[int, int]]] = {}
    for target in targets:
        located = locate(model, block, target)
        if located is not None:
            parts.setdefault(located[0], {})[target] = located[1]
    return [Place(path, block.tower, block.layer, block.path, held) for path, held in parts.items()]


def config_for(model: nn.Module, names: set[str], config: AdapterConfig) -> AdapterConfig:
    """`config` with the targets, or the patterns, that adapt exactly the matrices `names`."""
    targets = tuple({name.rpartition(".")[2] for name in names} & set(TARGETS))
    for towers in (None, "vision", "text", "all") if targets else ():
        candidate = replace(config, targets=targets, towers=towers, patterns=())
        try:
            places = find_places(model, candidate)
        except AdapterError:
            continue
        if {name for place in places for name in place.names()} == names:
            return candidate
    return replace(config, targets=(), towers=None, patterns=tuple(name.replace(".", r"\.") for name in sorted(names)))


def _require_towers(model: nn.Module, config: AdapterConfig, blocks: list[Block]) -> None:
    found = {block.tower for block in blocks}
    unknown = [tower for tower in towers_without_blocks(model, blocks) if tower in config.tower_names]
    if unknown and config.towers is None and not found:
        raise AdapterError(_nothing_found(model, config, blocks))
    if unknown:
        raise AdapterError(
            f"adapt: the {unknown[0]} tower of this {type(model).__name__} has no blocks of a known layout, so none of "
            f"the targets {' '.join(config.targets)} was found there. Name its layers with patterns=..., or leave it "
            f"out: towers={' or '.join(repr(tower) for tower in sorted(found)) or '...'}."
        )
    absent = [tower for tower in config.tower_names if tower not in found and config.towers is not None]
    if absent and found:
        raise AdapterError(
            f"adapt: towers = {config.towers!r} asks for a {absent[0]} tower, which this {type(model).__name__} does "
            f"not have; it has {' and '.join(sorted(found))}. Leave towers out for what there is."
        )
    if config.layers is not None and found:
        _require_layers(model, config, blocks)


def _require_layers(model: nn.Module, config: AdapterConfig, blocks: list[Block]) -> None:
    deepest = max((block.layer for block in blocks if block.tower in config.tower_names), default=-1)
    if config.layers is not None and int(config.layers[1]) > deepest + 1 > int(config.layers[0]):
        raise AdapterError(
            f"adapt: layers = {config.layers} end behind the {deepest + 1} blocks of this {type(model).__name__} "
            f"({_counted(blocks)}); end at {deepest + 1}."
        )


def _require_targets(model: nn.Module, config: AdapterConfig, blocks: list[Block]) -> None:
    """Every target in every block, or in one of a tower whose blocks differ; "all-linear" takes what there is."""
    if config.targets == PLACEMENTS["all-linear"]:
        return
    for tower in dict.fromkeys(block.tower for block in blocks):
        of_tower = [block for block in blocks if block.tower == tower]
        has = {block.path: {t for t in config.targets if locate(model, block, t)} for block in of_tower}
        if any(block.layout.mixed for block in of_tower):
            has = {of_tower[0].path: set().union(*has.values())}
        for path, targets in has.items():
            missing = [target for target in config.targets if target not in targets]
            if missing:
                linears = [n for n, m in model.get_submodule(path).named_modules() if isinstance(m, nn.Linear)]
                raise AdapterError(
                    f"adapt: {path} of this {type(model).__name__} has no {' '.join(missing)} (asked were targets "
                    f"{' '.join(config.targets)}). Its linear layers: {', '.join(linears) or 'none'}. Ask for what is "
                    "there, or name layers with patterns=..."
                )


def _pattern_places(model: nn.Module, config: AdapterConfig, blocks: list[Block]) -> list[Place]:
    linears = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    known = [place for block in blocks for place in places_in_block(model, block, TARGETS)] if config.patterns else []
    found: list[Place] = []
    for pattern in config.patterns:
        outside = [Place(name, "pattern", None, name, {"linear": (0, 1)}) for name in linears]
        hits = [p for p in outside if matches(pattern, p.path, f"{p.path}.linear")]
        _require_called(model, [hit for hit in hits if _without_excluded(hit, config).parts])
        for place in known:
            parts = {t: part for t, part in place.parts.items() if matches(pattern, f"{place.path}.{t}")}
            hits += [replace(place, parts=parts)] if parts else []
        if not hits:
            raise AdapterError(
                f"AdapterConfig: the pattern {pattern!r} matches the whole name of no nn.Linear in this "
                f"{type(model).__name__}. Some of its linear layers: {', '.join(linears[:5]) or '(none)'}."
            )
        found += hits
    return found


def _require_called(model: nn.Module, places: list[Place]) -> None:
    for place in places:
        if isinstance(model.get_submodule(place.path.rpartition(".")[0]), nn.MultiheadAttention):
            raise AdapterError(
                f"AdapterConfig: a pattern matches {place.path}, which its nn.MultiheadAttention never calls: an "
                "adapter there would do nothing. In a block it goes by targets='o'; leave it out of the patterns with "
                f"exclude={place.path!r}."
            )


def _joined(places: list[Place]) -> list[Place]:
    """One place for each module: parts that were named twice or apart from each other come together."""
    joined: dict[str, Place] = {}
    for place in places:
        have = joined.get(place.path)
        if have is None or ("linear" in place.parts and have.parts.values() == place.parts.values()):
            joined.setdefault(place.path, place)
        elif "linear" not in {**have.parts, **place.parts}:
            parts = {**have.parts, **place.parts}
            joined[place.path] = replace(have, parts={t: parts[t] for t in TARGETS if t in parts})
        elif len(have.parts) == len(place.parts) == 1 and (0, 1) in have.parts.values():
            continue
        else:
            raise AdapterError(
                f"AdapterConfig: {place.path} is named as a whole and by parts: {sorted({*have.parts, *place.parts})}."
            )
    return list(joined.values())


def _without_excluded(place: Place, config: AdapterConfig) -> Place:
    def kept(target: str) -> bool:
        return not any(matches(pattern, place.path, f"{place.path}.{target}") for pattern in config.exclude)

    parts = {target: part for target, part in place.parts.items() if kept(target)}
    return replace(place, parts=parts)


def require_adaptable(model: nn.Module, places: list[Place]) -> None:
    """Refuse, before anything is replaced, modules that no adapter fits into.

    Raises:
        AdapterError: There is one.
    """
    for place in places:
        module = model.get_submodule(place.path)
        if isinstance(module, nn.MultiheadAttention):
            require_plain(module)
            continue
        count = max(count for _, count in place.parts.values())
        if not isinstance(module, nn.Linear) or module.out_features % count:
            raise AdapterError(f"adapt: {place.path} is not a linear layer of {count} equal parts, or an attention.")
        _require_called_fused(model.get_submodule(place.path.rpartition(".")[0]), place)
        if not module.weight.dtype.is_floating_point:
            raise AdapterError(
                f"adapt: the weight of {place.path} is of type {module.weight.dtype}, not floating point."
            )


def _require_called_fused(parent: nn.Module, place: Place) -> None:
    """timm's attentions with separate q and v biases use the fused weight directly, unless told to add them after."""
    if getattr(parent, "q_bias", None) is not None and not hasattr(parent, "qkv_bias_separate"):
        raise AdapterError(
            f"adapt: {place.path} is never called by its {type(parent).__name__}: an adapter would do nothing."
        )


def _counted(blocks: list[Block]) -> str:
    counts: dict[str, int] = {}
    for block in blocks:
        counts[block.tower] = counts.get(block.tower, 0) + 1
    return ", ".join(f"{count} {tower} blocks" for tower, count in counts.items()) or "no blocks of a known layout"


def _nothing_found(model: nn.Module, config: AdapterConfig, blocks: list[Block]) -> str:
    return (
        f"Nothing in this {type(model).__name__} can be adapted as asked: it has {_counted(blocks)}; asked were "
        f"targets {' '.join(config.targets) or '(none)'}, towers {config.towers or 'all there are'}, layers "
        f"{config.layers or 'all'}{', with exclusions' * bool(config.exclude)}. Known targets are "
        rf"{', '.join(TARGETS)}; `patterns` can name any nn.Linear, as in patterns=(r'.*\.fc1',)."
    )
