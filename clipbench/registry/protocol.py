"""The protocol: every field that fixes a printed number, typed, validated and hashed."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache, cached_property
from typing import Any, get_type_hints

from clipbench.errors import UserError


def _of(doc: str, *allowed: str, low: float | None = None, high: float | None = None) -> Any:
    """A protocol field: what it means, which words it takes, or between which bounds its number lies."""
    return field(default=None, metadata={"doc": doc, "allowed": allowed, "low": low, "high": high})


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Everything that fixes a number. ``None`` means that the field does not apply.

    The order here is the order of ``clipbench show --protocol``. A new field must default to ``None``: fields that are
    ``None`` stay out of the hash, so that adding one orphans no record.
    """

    profile: str | None = _of(
        "full (the paper's data and weights) or smoke (embedded subsets, tiny model)", "full", "smoke"
    )
    task: str | None = _of("what is trained for", "linear-head", "image-text", "segmentation")
    method: str | None = _of("what is trained: a name in clipbench.methods")
    backbone: str | None = _of("model architecture: a name in clipbench.models, or a config's digest")
    weights: str | None = _of("pretrained weights: a tag, 'random', or 'sha256:...' of a file")
    dataset: str | None = _of("data set: a name in the catalogue")
    split_rule: str | None = _of(
        "how images become train and test",
        "stratified-fraction",
        "coop",
        "clip-lora",
        "leave-one-domain-out",
        "official",
    )
    train_fraction: float | None = _of("share of each class that trains", low=0.0, high=1.0)
    split_draw: str | None = _of("whether repetitions share a split", "per-repetition", "once")
    shots: int | None = _of("training images per class; 0 is zero-shot", low=0)
    test_domain: str | None = _of("held-out domain(s), 'each' for the mean over targets")
    train_part: str | None = _of("part of the source domains that trains", "all", "train")
    test_part: str | None = _of("part of the held-out domain that is tested", "all", "test")
    domain_sampling: str | None = _of("how a batch draws from the source domains", "pooled", "balanced")
    label_space: str | None = _of(
        "all classes; ODG-CLIP's class splits with its 'unknown' prompt; the same without it",
        "closed-set",
        "odg",
        "odg-known",
    )
    limit: int | None = _of("images per class and split at most; set by --limit only", low=1)
    image_size: int | None = _of("side of the network's input, pixels", low=8)
    normalisation: str | None = _of("channel mean and std", "backbone", "imagenet", "half", "clip")
    interpolation: str | None = _of("resampling of the resize", "bicubic", "bilinear")
    train_transform: str | None = _of("training view", "resize", "resize-centre-crop", "random-resized-crop", "none")
    test_transform: str | None = _of("test view", "resize", "resize-centre-crop")
    crop_scale: tuple[float, ...] | None = _of("area range of the random crop")
    hflip: float | None = _of("probability of a horizontal flip", low=0.0, high=1.0)
    vflip: float | None = _of("probability of a vertical flip", low=0.0, high=1.0)
    flip_mode: str | None = _of("two independent draws, or one draw that decides both", "independent", "joint")
    template: str | None = _of("prompt, {} stands for the class name; 'dataset' takes each data set's own")
    class_names: str | None = _of(
        "class names in the prompt: the catalogue's; digits spelt out", "catalogue", "digits-in-words"
    )
    context_tokens: int | None = _of("learned prompt tokens", low=1)
    prompt_type: str | None = _of("medvlsm prompt p0 to p9, or 'mean' over all of a data set's")
    logit_scale: float | None = _of("factor on the cosine similarity", low=0.0)
    pooling: str | None = _of(
        "image feature under the linear head", "patch-mean", "token-mean", "patch-mean-pre-norm", "cls", "backbone"
    )
    batch_norm: str | None = _of(
        "backbone's batch norms: pretraining's statistics, or each batch's own while training", "frozen", "batch"
    )
    drop_path: float | None = _of("stochastic depth of the backbone while training", low=0.0, high=1.0)
    head_bias: bool | None = _of("linear head has a bias")
    head_init: str | None = _of("draw of the head's weight", "torch-linear", "zeros", "normal-0.01")
    head_dropout: float | None = _of("dropout before the head", low=0.0, high=1.0)
    rank: int | None = _of("adapter rank r", low=1)
    alpha: float | None = _of("adapter alpha", low=0.0)
    scaling: str | None = _of("factor s on B A", "alpha/r", "alpha/sqrt(r)", "alpha")
    targets: str | None = _of(
        "adapted projections", "qkv", "qkvo", "qv", "qkv+mlp", "all-linear", "attention", "attention+mixer"
    )
    towers: str | None = _of("adapted towers; all: the segmentation decoder too", "vision", "text", "both", "all")
    adapter_init: str | None = _of("draw of A; B is zero", "kaiming-uniform-sqrt5", "normal-over-r")
    adapter_dropout: float | None = _of("dropout on the adapter branch's input", low=0.0, high=1.0)
    dora_dropout: str | None = _of(
        "DoRA: dropout on x in (m/norm - 1) W x and in B A x, or in B A x alone", "official", "branch"
    )
    norm_axis: str | None = _of("DoRA: one magnitude per output or per input feature", "output", "input")
    detach_norm: bool | None = _of("DoRA: the norm gets no gradient")
    decay_magnitude: bool | None = _of("DoRA: weight decay acts on the magnitude too")
    also_trained: str | None = _of("parts trained beside the adapters", "up-convolution", "decoder", "everything")
    encoder_gradient: bool | None = _of(
        "segmentation: the gradient reaches the encoders (Hugging Face's forward stops it)"
    )
    optimiser: str | None = _of("optimiser", "adamw", "adam", "sgd")
    lr: float | None = _of("initial learning rate", low=0.0)
    lr_min: float | None = _of("last learning rate of the schedule", low=0.0)
    weight_decay: float | None = _of("decoupled weight decay", low=0.0)
    momentum: float | None = _of("SGD's momentum", low=0.0, high=1.0)
    dampening: float | None = _of("SGD's dampening of the momentum", low=0.0, high=1.0)
    nesterov: bool | None = _of("SGD takes Nesterov's momentum")
    betas: tuple[float, ...] | None = _of("Adam's two decay rates")
    eps: float | None = _of("Adam's epsilon", low=0.0)
    schedule: str | None = _of("learning-rate schedule", "cosine", "constant", "plateau")
    warmup_epochs: int | None = _of("epochs at the constant rate warmup_lr before the schedule begins", low=0)
    warmup_lr: float | None = _of("learning rate of the warm-up", low=0.0)
    schedule_step: str | None = _of("when the schedule moves", "step", "epoch")
    epochs: int | None = _of("passes over the training images", low=1)
    steps_per_shot: int | None = _of("optimiser steps per shot, in place of epochs", low=1)
    step_budget: str | None = _of(
        "training ends with the schedule's last epoch, or after CLIP-LoRA's 500 x 16 steps", "schedule", "few-shot"
    )
    patience: int | None = _of("epochs without gain before the plateau schedule cuts the rate", low=0)
    schedule_factor: float | None = _of("what the plateau schedule multiplies the rate by", low=0.0, high=1.0)
    min_delta: float | None = _of("smallest gain that the early stop counts as one", low=0.0)
    early_stop: int | None = _of("epochs without gain before training stops", low=1)
    gradient_clip: float | None = _of("largest gradient norm", low=0.0)
    batch_size: int | None = _of("images per step and run", low=1)
    drop_last: bool | None = _of("an incomplete last batch is dropped")
    loss: str | None = _of("training loss", "cross-entropy", "dice", "dice+bce", "dice+bce-on-sigmoid")
    precision: str | None = _of("arithmetic of the forward pass", "fp32", "bf16", "fp16")
    tested: str | None = _of("when the model is tested: at the end, or after every epoch", "last", "every-epoch")
    selection: str | None = _of("the epoch whose number counts", "last", "best-test", "best-val")
    origin: str = field(default="", compare=False, repr=False)
    """Table, row and column that the protocol comes from, for messages: no field, no part of hash or equality."""

    def __post_init__(self) -> None:
        for name in FIELDS:
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, _checked(name, value))

    @classmethod
    def of(cls, values: Mapping[str, Any], origin: str = "") -> Protocol:
        """Build from plain values (a TOML table, a record); lists become tuples. Raises ``UserError`` on a bad one."""
        unknown = sorted(set(values) - set(FIELDS))
        if unknown:
            raise UserError(f"unknown protocol field {unknown[0]!r}; the fields are {', '.join(FIELDS)}")
        return cls(**values, origin=origin)

    def need(self, name: str) -> Any:
        """The value of a field that the work at hand cannot do without.

        Raises ``UserError`` that names the field, its meaning, and the table, row and column, where it is not set.
        """
        value = getattr(self, name)
        if value is None:
            where = self.origin or "this protocol"
            raise UserError(
                f"{where}: the protocol does not say {name} ({DOCS[name]}), and there is no default. Give it to the "
                f"row, column or recipe in benchmarks/, or for this run by --set {name}=VALUE."
            )
        return value

    def as_dict(self) -> dict[str, Any]:
        """The fields that apply, in order, as JSON-ready values."""
        values = ((name, getattr(self, name)) for name in FIELDS)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values if v is not None}

    @cached_property
    def digest(self) -> str:
        """16 hex digits that name this protocol whatever the seed."""
        return _digest(self.as_dict())


FIELDS: tuple[str, ...] = tuple(f.name for f in fields(Protocol) if f.metadata)
DOCS: dict[str, str] = {f.name: f.metadata["doc"] for f in fields(Protocol) if f.metadata}
TRAINING: frozenset[str] = frozenset(FIELDS[FIELDS.index("optimiser") : FIELDS.index("precision")])
"""Fields that say how something is trained: a protocol without an optimiser has none of them."""
_META = {f.name: f.metadata for f in fields(Protocol)}


@dataclass(frozen=True)
class Run:
    """One training with one seed, named by the hash of its protocol and seed."""

    protocol: Protocol
    seed: int

    @property
    def id(self) -> str:
        """16 hex digits; the name of the run's directory."""
        return _digest(self.protocol.as_dict() | {"seed": self.seed})


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


@cache
def _types() -> dict[str, str]:
    return {name: str(hint) for name, hint in get_type_hints(Protocol).items()}


def field_value(name: str, text: str) -> tuple[str, Any]:
    """A field and its value from words of a command line (``lr``, ``2e-3``). Raises ``UserError`` on a bad one."""
    if name not in FIELDS:
        raise UserError(f"unknown protocol field {name!r}; the fields are {', '.join(FIELDS)}")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    return name, _checked(name, value)


def _checked(name: str, value: Any) -> Any:
    """The value in its field's type (8 becomes 8.0 where a float is due, so that equal protocols hash equally)."""
    kind, meta = _types()[name].removesuffix(" | None"), _META[name]
    if not _fits(kind, value):
        raise UserError(f"{name} = {value!r}: expected {kind}")
    if meta["allowed"] and value not in meta["allowed"]:
        raise UserError(f"{name} = {value!r}: allowed are {', '.join(meta['allowed'])}")
    if (meta["low"] is not None and value < meta["low"]) or (meta["high"] is not None and value > meta["high"]):
        raise UserError(f"{name} = {value!r}: must lie between {meta['low']} and {meta['high']}")
    if kind.startswith("tuple"):
        return tuple(float(x) for x in value)
    return float(value) if kind == "float" else value


def _fits(kind: str, value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match kind:
        case "bool":
            return isinstance(value, bool)
        case "int":
            return number and not isinstance(value, float)
        case "float":
            return number
        case "str":
            return isinstance(value, str)
    return isinstance(value, list | tuple) and all(_fits("float", x) for x in value)
