"""What is put into a frozen model: one frozen, hashable, validated object that survives a round trip through JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from clipbench.adapters.errors import AdapterError
from clipbench.adapters.kinds import KINDS, Branch
from clipbench.adapters.parsing import (
    PLACEMENTS,
    TARGETS,
    matches,
    parse_layers,
    parse_names,
    parse_options,
    parse_pattern_values,
    parse_patterns,
    parse_targets,
)
from clipbench.errors import near

Scaling = Literal["alpha/r", "alpha/sqrt(r)", "alpha"]
Towers = Literal["vision", "text", "both", "all"]
DoraDropout = Literal["official", "branch"]
NormAxis = Literal["output", "input"]
Init = Literal["kaiming-uniform-sqrt5", "normal-over-r", "orthogonal", "pissa"]

TOWERS: dict[str | None, tuple[str, ...]] = {
    None: ("vision", "text"),
    "vision": ("vision",),
    "text": ("text",),
    "both": ("vision", "text"),
    "all": ("vision", "text", "decoder"),
}

PEFT_NAMES = {
    "r": "rank",
    "lora_alpha": "alpha",
    "use_rslora": "scaling='alpha/sqrt(r)'",
    "use_dora": "kind='dora'",
    "target_modules": "targets (words such as 'qkvo', a list of layer names, or a regular expression)",
    "exclude_modules": "exclude",
    "layers_to_transform": "layers",
    "bias": "requires_grad = True on the biases, after adapt: they are saved with the adapters",
    "fan_in_fan_out": "not needed",
    "vera_dropout": "dropout",
    "d_initial": "options={'d_initial': ...} of kind='vera'",
    "total_step": "options={'total_steps': ...} of kind='adalora'",
    "lora_dropout": "dropout",
    "init_lora_weights": "init",
    "modules_to_save": "also_trained",
    "projection_prng_key": "options={'key': ...} of kind='vera'",
    "target_r": "options={'target_rank': ...} of kind='adalora'",
    "init_r": "rank",
}
"""What peft calls things, and what they are called here."""

_OF_KIND: Any = None


@dataclass(frozen=True)
class AdapterConfig:
    """Kind, size and place of the adapters.

    Attributes:
        kind: A name out of `KINDS`: ``lora`` (W + s B A), ``dora`` (m (W + s B A) / |W + s B A|, see `norm_axis`),
            ``lora+``, ``vera``, ``dylora``, ``adalora``, ``qlora``.
        rank: Inner width r of the low-rank product; None for what the kind's source uses.
        alpha: Numerator of the scale s; None for what the kind's source uses.
        scaling: Which reading of alpha gives s: ``alpha/r``, ``alpha/sqrt(r)`` (CLIP-LoRA's code) or ``alpha``; None
            for that of the kind's source.
        targets: Which matrices of a block: ``"qkvo"`` or any part of it, a word out of `PLACEMENTS`, or a sequence of
            names out of `TARGETS`. Other names in a sequence, and a string that is no word but a regular expression,
            are added to `patterns`. Empty when only `patterns` count.
        towers: ``vision``, ``text``, ``both``, or ``all`` (with a segmentation decoder); None for the vision and text
            towers that the model has. A tower that is named must be there.
        layers: Blocks to adapt in each tower: None for all, a ``range``, ``"0-11"`` (both ends in), or
            ``(start, stop)`` as in ``range``. Kept as ``(start, stop)``.
        dropout: Probability in [0, 1) of dropping an input element of the branch; every matrix draws its own mask.
        replicas: R, the number of adapters trained side by side over the one frozen model.
        detach_norm: DoRA's norm is a constant for the gradient (CLIP-DoRA section 3.3; the official ``dora_simple``).
        init_seeds: One seed per replica for the draw of A; None draws the seeds from torch's default generator.
        patterns: Regular expressions; what is adapted is every ``nn.Linear`` whose whole name matches one, whatever
            the layout, and every matrix whose name in `adapted_modules` does (``.*\\.attn\\.[qv]``).
        dora_dropout: ``official`` also drops the input of (m/norm - 1) W x, as NVlabs/DoRA and peft do; ``branch``
            drops the low-rank input only, as CLIP-LoRA does, and saves the second frozen product.
        norm_axis: DoRA's magnitudes and norms are those of the ``output`` rows of W (DoRA's own code, peft), or of its
            ``input`` columns (the notation of CLIP-DoRA section 3.3; q, k and v then take a frozen product each).
        init: How A and B start. ``kaiming-uniform-sqrt5`` (LoRA's reference code, peft) or ``normal-over-r`` (a
            standard deviation of 1/r) for A, with B zero; ``orthogonal`` (both drawn, B A = 0); ``pissa`` (the
            principal singular vectors of W, which are taken off W).
        rank_pattern: Ranks of single matrices, by a regular expression that their name ends in: ``{"fc[12]": 4}``.
            Kept as pairs.
        alpha_pattern: Alphas of single matrices, likewise.
        exclude: Regular expressions; what matches one, by the rules of `patterns`, is left out.
        also_trained: Names of modules, or regular expressions, whose parameters are trained and saved beside the
            adapters: a head, normalisation layers.
        options: What belongs to the kind alone, by name; kept as its `Options`.
    """

    kind: str = "lora"
    rank: int = _OF_KIND
    alpha: float = _OF_KIND
    scaling: Scaling = _OF_KIND
    targets: str | Sequence[str] = "qkvo"
    towers: Towers | None = None
    layers: str | range | Sequence[int] | None = None
    dropout: float = 0.0
    replicas: int = 1
    detach_norm: bool = True
    init_seeds: Sequence[int] | None = None
    patterns: Sequence[str] = ()
    dora_dropout: DoraDropout = "official"
    norm_axis: NormAxis = "output"
    init: Init = "kaiming-uniform-sqrt5"
    rank_pattern: Any = ()
    alpha_pattern: Any = ()
    exclude: str | Sequence[str] = ()
    also_trained: str | Sequence[str] = ()
    options: Any = None

    def __new__(cls, *_: Any, **values: Any) -> AdapterConfig:
        """Names that are not ours are refused before the generated ``__init__`` raises a ``TypeError``."""
        _require_known(values)
        return object.__new__(cls)

    def __post_init__(self) -> None:
        _require_choice("kind", self.kind, tuple(KINDS))
        self._normalise()
        _require_choice("scaling", self.scaling, get_args(Scaling))
        _require_choice("towers", self.towers, tuple(TOWERS))
        _require_choice("dora_dropout", self.dora_dropout, get_args(DoraDropout))
        _require_choice("norm_axis", self.norm_axis, get_args(NormAxis))
        _require_choice("init", self.init, get_args(Init))
        _require_count("rank", self.rank)
        _require_count("replicas", self.replicas)
        self._require_numbers()
        if not self.targets and not self.patterns:
            raise AdapterError("AdapterConfig: nothing to adapt; name targets (such as 'qkvo') or patterns.")
        self.branch_type.check(self)

    def _normalise(self) -> None:
        defaults = self.branch_type.defaults
        targets, named = parse_targets(self.targets)
        alpha = defaults.alpha if self.alpha is None else self.alpha
        for name, value in {
            "rank": defaults.rank if self.rank is None else self.rank,
            "alpha": float(alpha) if is_number(alpha) else alpha,
            "scaling": defaults.scaling if self.scaling is None else self.scaling,
            "targets": targets,
            "layers": parse_layers(self.layers),
            "init_seeds": _parse_seeds(self.init_seeds),
            "patterns": (*parse_patterns("patterns", self.patterns), *named),
            "rank_pattern": parse_pattern_values("rank_pattern", self.rank_pattern),
            "alpha_pattern": parse_pattern_values("alpha_pattern", self.alpha_pattern),
            "exclude": parse_names("exclude", self.exclude),
            "also_trained": parse_names("also_trained", self.also_trained),
            "options": parse_options(self.kind, self.branch_type.Options, self.options),
        }.items():
            object.__setattr__(self, name, value)

    def _require_numbers(self) -> None:
        if not isinstance(self.detach_norm, bool):
            raise AdapterError(f"AdapterConfig: detach_norm = {self.detach_norm!r} must be True or False.")
        for name, value in (("alpha", self.alpha), *((f"alpha_pattern[{k!r}]", v) for k, v in self.alpha_pattern)):
            if not is_number(value) or value == 0:
                raise AdapterError(f"AdapterConfig: {name} = {value!r} is not a finite number other than zero.")
        for key, rank in self.rank_pattern:
            _require_count(f"rank_pattern[{key!r}]", rank)
        if not is_number(self.dropout) or not 0.0 <= self.dropout < 1.0:
            raise AdapterError(f"AdapterConfig: dropout = {self.dropout!r} must lie in [0, 1).")
        if self.init_seeds is not None and len(self.init_seeds) != self.replicas:
            raise AdapterError(
                f"AdapterConfig: init_seeds has {len(self.init_seeds)} seeds for replicas = {self.replicas}; "
                "give one seed per replica, or None."
            )

    @property
    def branch_type(self) -> type[Branch]:
        """The class of `kind`."""
        return KINDS[self.kind]

    @property
    def scale(self) -> float:
        """The factor s of B A, where no pattern says otherwise."""
        return self._scale(self.rank, self.alpha)

    def size_of(self, *names: str) -> tuple[int, float]:
        """Rank and scale of the matrix that goes by `names`."""
        ranks = [rank for pattern, rank in self.rank_pattern if matches(rf"(?:.*\.)?(?:{pattern})", *names)]
        alphas = [alpha for pattern, alpha in self.alpha_pattern if matches(rf"(?:.*\.)?(?:{pattern})", *names)]
        rank = ranks[0] if ranks else self.rank
        return rank, self._scale(rank, float(alphas[0]) if alphas else self.alpha)

    def _scale(self, rank: int, alpha: float) -> float:
        return {"alpha/r": alpha / rank, "alpha/sqrt(r)": alpha / math.sqrt(rank)}.get(self.scaling, alpha)

    @property
    def tower_names(self) -> tuple[str, ...]:
        """The towers that `towers` stands for."""
        return TOWERS[self.towers]

    def has_layer(self, index: int) -> bool:
        """Whether block `index` of a tower is adapted."""
        return self.layers is None or index in range(*(int(bound) for bound in self.layers))

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, strings and numbers, ready for JSON."""
        return {name: _plain(value) for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> AdapterConfig:
        """The inverse of `to_dict`.

        Raises:
            AdapterError: A key is unknown or a value is not allowed.
        """
        if not isinstance(values, Mapping):
            raise AdapterError(f"AdapterConfig: {values!r} is no table of names and values.")
        return cls(**values)


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _require_known(values: Mapping[str, Any]) -> None:
    known = [f.name for f in fields(AdapterConfig)]
    unknown = sorted(set(values) - set(known))
    if unknown:
        named = "; ".join(f"peft's {n} is {PEFT_NAMES[n]} here" for n in unknown if n in PEFT_NAMES)
        others = "".join(near(n, known) for n in unknown if n not in PEFT_NAMES)
        raise AdapterError(
            f"AdapterConfig: unknown keys {unknown}; {named + '; ' * bool(named)}allowed are {known}.{others}"
        )


def _require_choice(name: str, value: object, allowed: tuple[object, ...]) -> None:
    if value not in allowed:
        meant = near(str(value).lower(), map(str, allowed))
        raise AdapterError(f"AdapterConfig: {name} = {value!r} is not one of {', '.join(map(repr, allowed))}.{meant}")


def _require_count(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise AdapterError(f"AdapterConfig: {name} = {value!r} must be a whole number of at least 1.")


def is_number(value: object) -> bool:
    """Whether `value` is a finite whole or floating-point number."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond every float
        return False


def _parse_seeds(value: Any) -> tuple[int, ...] | None:
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(type(seed) is int for seed in value):
        raise AdapterError(f"AdapterConfig: init_seeds = {value!r} must be a list of whole numbers, or None.")
    return tuple(value)


__all__ = ["PLACEMENTS", "TARGETS", "AdapterConfig", "DoraDropout", "Init", "NormAxis", "Scaling", "Towers"]
