"""What is put into a frozen model: one frozen, hashable, validated object that survives a round trip through JSON."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from clipbench.errors import UserError

Kind = Literal["lora", "dora"]
Scaling = Literal["alpha/r", "alpha/sqrt(r)", "alpha"]
Towers = Literal["vision", "text", "both", "all"]
DoraDropout = Literal["official", "branch"]
NormAxis = Literal["output", "input"]
Init = Literal["kaiming-uniform-sqrt5", "normal-over-r"]

ATTENTION_TARGETS = ("q", "k", "v", "o")
TARGETS = (*ATTENTION_TARGETS, "fc1", "fc2", "in_proj", "out_proj")
"""Names of matrices in a block: attention, MLP, and the two projections of a state-space mixer (MambaVision)."""

PLACEMENTS: dict[str, tuple[str, ...]] = {
    "all-linear": TARGETS,
    "attention": ATTENTION_TARGETS,
    "attention+mixer": (*ATTENTION_TARGETS, "in_proj", "out_proj"),
    "qkv+mlp": ("q", "k", "v", "fc1", "fc2"),
}
"""Words for several targets at once."""

TOWERS: dict[str, tuple[str, ...]] = {
    "vision": ("vision",),
    "text": ("text",),
    "both": ("vision", "text"),
    "all": ("vision", "text", "decoder"),
}


@dataclass(frozen=True)
class AdapterConfig:
    """Kind, size and place of the adapters.

    Attributes:
        kind: ``lora`` (W + s B A) or ``dora`` (m (W + s B A) / |W + s B A|, see `norm_axis`).
        rank: Inner width r of the low-rank product.
        alpha: Numerator of the scale s.
        scaling: Which reading of alpha gives s: ``alpha/r``, ``alpha/sqrt(r)`` (CLIP-LoRA's code) or ``alpha``.
        targets: Which matrices of a block: ``"qkvo"`` or any part of it, a word out of `PLACEMENTS`, or a tuple of
            names out of `TARGETS`. Empty when only `patterns` count.
        towers: ``vision``, ``text``, ``both``, or ``all`` (with a segmentation decoder).
        layers: Blocks to adapt in each tower: None for all, a ``range``, ``"0-11"`` (both ends in), or
            ``(start, stop)`` as in ``range``. Kept as ``(start, stop)``.
        dropout: Probability in [0, 1) of dropping an input element of the branch; every matrix draws its own mask.
        replicas: R, the number of adapters trained side by side over the one frozen model.
        detach_norm: DoRA's norm is a constant for the gradient (CLIP-DoRA section 3.3; the official ``dora_simple``).
        init: How A is drawn; B is zero. ``kaiming-uniform-sqrt5`` as in LoRA's reference code and peft, or
            ``normal-over-r``, a standard deviation of 1/r.
        init_seeds: One seed per replica for the draw of A; None draws the seeds from torch's default generator.
        patterns: Regular expressions; every ``nn.Linear`` whose whole name matches one is adapted, whatever the layout.
        dora_dropout: ``official`` also drops the input of (m/norm - 1) W x, as NVlabs/DoRA and peft do; ``branch``
            drops the low-rank input only, as CLIP-LoRA does, and saves the second frozen product.
        norm_axis: DoRA's magnitudes and norms are those of the ``output`` rows of W (DoRA's own code, peft), or of its
            ``input`` columns (the notation of CLIP-DoRA section 3.3; q, k and v then take a frozen product each).
    """

    kind: Kind = "lora"
    rank: int = 8
    alpha: float = 16.0
    scaling: Scaling = "alpha/r"
    targets: str | Sequence[str] = "qkvo"
    towers: Towers = "both"
    layers: str | range | Sequence[int] | None = None
    dropout: float = 0.0
    replicas: int = 1
    detach_norm: bool = True
    init_seeds: Sequence[int] | None = None
    patterns: Sequence[str] = ()
    dora_dropout: DoraDropout = "official"
    norm_axis: NormAxis = "output"
    init: Init = "kaiming-uniform-sqrt5"

    def __post_init__(self) -> None:
        self._normalise()
        _require_choice("kind", self.kind, get_args(Kind))
        _require_choice("scaling", self.scaling, get_args(Scaling))
        _require_choice("towers", self.towers, tuple(TOWERS))
        _require_choice("dora_dropout", self.dora_dropout, get_args(DoraDropout))
        _require_choice("norm_axis", self.norm_axis, get_args(NormAxis))
        _require_choice("init", self.init, get_args(Init))
        _require_count("rank", self.rank)
        _require_count("replicas", self.replicas)
        self._require_numbers()
        self._require_places()

    def _normalise(self) -> None:
        for name, value in {
            "targets": _parse_targets(self.targets),
            "layers": _parse_layers(self.layers),
            "init_seeds": _parse_seeds(self.init_seeds),
            "patterns": _parse_patterns(self.patterns),
        }.items():
            object.__setattr__(self, name, value)
        if isinstance(self.alpha, int):
            object.__setattr__(self, "alpha", float(self.alpha))

    def _require_numbers(self) -> None:
        if not (isinstance(self.alpha, float) and math.isfinite(self.alpha)):
            raise UserError(f"AdapterConfig: alpha = {self.alpha!r} is not a finite number.")
        if not 0.0 <= self.dropout < 1.0:
            raise UserError(f"AdapterConfig: dropout = {self.dropout!r} must lie in [0, 1).")
        if self.init_seeds is not None and len(self.init_seeds) != self.replicas:
            raise UserError(
                f"AdapterConfig: init_seeds has {len(self.init_seeds)} seeds for replicas = {self.replicas}; "
                "give one seed per replica, or None."
            )

    def _require_places(self) -> None:
        if not self.targets and not self.patterns:
            raise UserError("AdapterConfig: nothing to adapt; name targets (such as 'qkvo') or patterns.")

    @property
    def scale(self) -> float:
        """The factor s of B A."""
        return {"alpha/r": self.alpha / self.rank, "alpha/sqrt(r)": self.alpha / math.sqrt(self.rank)}.get(
            self.scaling, self.alpha
        )

    @property
    def tower_names(self) -> tuple[str, ...]:
        """The towers that `towers` stands for."""
        return TOWERS[self.towers]

    def has_layer(self, index: int) -> bool:
        """Whether block `index` of a tower is adapted."""
        return self.layers is None or index in range(*(int(bound) for bound in self.layers))

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, strings and numbers, ready for JSON."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> AdapterConfig:
        """The inverse of `to_dict`.

        Raises:
            UserError: A key is unknown or a value is not allowed.
        """
        known = [f.name for f in fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise UserError(f"AdapterConfig: unknown keys {unknown}; allowed are {known}.")
        return cls(**values)


def _require_choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UserError(f"AdapterConfig: {name} = {value!r} is not one of {', '.join(map(repr, allowed))}.")


def _require_count(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UserError(f"AdapterConfig: {name} = {value!r} must be a whole number of at least 1.")


def _parse_targets(value: str | Sequence[str]) -> tuple[str, ...]:
    if isinstance(value, str) and value in PLACEMENTS:
        return PLACEMENTS[value]
    names = (value,) if isinstance(value, str) and value in TARGETS else tuple(value)
    unknown = [name for name in names if name not in TARGETS]
    if unknown:
        raise UserError(
            f"AdapterConfig: targets = {value!r} has unknown parts {unknown}; use 'qkvo' or a part of it, "
            f"{', '.join(map(repr, PLACEMENTS))}, or a tuple of names out of {', '.join(TARGETS)}."
        )
    return tuple(name for name in TARGETS if name in names)


def _parse_layers(value: str | range | Sequence[int] | None) -> tuple[int, int] | None:
    if value is None:
        return None
    if isinstance(value, str):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", value)
        bounds = (int(match[1]), int(match[2] or match[1]) + 1) if match else (0, 0)
    elif isinstance(value, range):
        bounds = (value.start, value.stop) if value.step == 1 else (0, 0)
    else:
        bounds = (value[0], value[1]) if len(value) == 2 else (0, 0)
    if not 0 <= bounds[0] < bounds[1]:
        raise UserError(
            f"AdapterConfig: layers = {value!r} names no blocks; use None, a range, '0-11', or (start, stop)."
        )
    return bounds


def _parse_seeds(value: Sequence[int] | None) -> tuple[int, ...] | None:
    return None if value is None else tuple(int(seed) for seed in value)


def _parse_patterns(value: Sequence[str]) -> tuple[str, ...]:
    patterns = (value,) if isinstance(value, str) else tuple(value)
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise UserError(f"AdapterConfig: patterns: {pattern!r} is no regular expression: {error}.") from error
    return patterns
