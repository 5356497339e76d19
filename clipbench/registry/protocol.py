"""The protocol: every field that fixes a printed number, typed, checked and hashed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, get_type_hints

from clipbench.errors import UserError, near
from clipbench.registry.field import Field
from clipbench.registry.method_fields import declared_by, own_field

_FEW_SHOT = {"split_rule": ("coop", "clip-lora")}
_DOMAINS = {"split_rule": ("leave-one-domain-out",)}
_VALIDATED = {"split_rule": ("coop", "clip-lora", "official")}
_HEAD, _PROMPTS, _MASKS = ({"task": (task,)} for task in ("linear-head", "image-text", "segmentation"))
_SGD, _ADAM = {"optimiser": ("sgd",)}, {"optimiser": ("adamw", "adam")}
_VIEWS = {"train_transform": ("resize", "resize-centre-crop", "random-resized-crop")}


def _of(meaning: str, *words: str, **more: Any) -> Any:
    """A protocol field: what it means, which words it takes, and what else `Field` says of it."""
    return field(default=None, metadata={"meaning": meaning, "words": words, **more})


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Everything that fixes a number. ``None`` means that the field does not apply.

    The order here is the order of ``clipbench show --protocol``. A new field must default to ``None``: fields that are
    ``None`` stay out of the hash, so that adding one orphans no record.
    """

    profile: str | None = _of(
        "full (the paper's data and weights) or smoke (generated images, tiny model)", "full", "smoke"
    )
    task: str | None = _of("what is trained for", "linear-head", "image-text", "segmentation")
    method: str | None = _of("what is trained: a name in clipbench.methods")
    backbone: str | None = _of("model architecture: a name in clipbench.models, or a config's digest")
    weights: str | None = _of("pretrained weights: a tag, 'random', or 'sha256:...' of a file")
    dataset: str | None = _of("data set: a name in the catalogue")
    split_rule: str | None = _of(
        "how images become train and test",
        *("stratified-fraction", "coop", "clip-lora", "leave-one-domain-out", "official"),
    )
    train_fraction: float | None = _of(
        "share of each class that trains", above=0.0, below=1.0, where={"split_rule": ("stratified-fraction",)}
    )
    split_draw: str | None = _of(
        "whether repetitions share a split",
        *("per-repetition", "once"),
        where={"split_rule": ("stratified-fraction", "coop", "clip-lora")},
    )
    shots: int | None = _of("training images per class; 0 is zero-shot", low=0, where=_FEW_SHOT)
    val_part: str | None = _of(
        "validation images: min(shots, 4) per class, or the whole part",
        *("few-shot", "all"),
        where=_FEW_SHOT,
        optional=True,
    )
    test_domain: str | None = _of("target domain, or 'each' for the mean over all of them", where=_DOMAINS)
    train_part: str | None = _of("part of the source domains that trains", "all", "train", where=_DOMAINS, trains=True)
    test_part: str | None = _of("part of the target domain that is tested", "all", "test", where=_DOMAINS)
    domain_sampling: str | None = _of(
        "how a batch is sampled from the source domains",
        *("pooled", "balanced"),
        where=_DOMAINS,
        trains=True,
    )
    synthetic_draw: str | None = _of(
        "synthetic images of no known class beside a step's real ones: from those stored once, or each one only once",
        *("stored", "per-step"),
        where={**_DOMAINS, "task": ("image-text",)},
        trains=True,
        optional=True,
    )
    synthetic_share: float | None = _of(
        "synthetic images of each source domain in a step: this share of the batch, and one at least",
        above=0.0,
        high=1.0,
        beside="synthetic_draw",
        trains=True,
    )
    label_space: str | None = _of(
        "all classes; ODG-CLIP's class splits with its 'unknown' prompt; the same without it",
        *("closed-set", "odg", "odg-known"),
        where=_DOMAINS,
    )
    limit: int | None = _of("images per class and split at most; set by --limit only", low=1, optional=True)
    image_size: int | None = _of("side of the network's input, pixels", low=8, high=4096)
    normalisation: str | None = _of("channel mean and std", "backbone", "imagenet", "half", "clip")
    interpolation: str | None = _of("resampling of the resize", "bicubic", "bilinear")
    exif: str | None = _of("images as stored, or turned by their orientation tag", "ignore", "rotate")
    pixel_range: str | None = _of(
        "what is white in images of more than 8 bits", "full-scale", "16-bit", "12-bit", "unit", "min-max"
    )
    train_transform: str | None = _of(
        "training view", "resize", "resize-centre-crop", "random-resized-crop", trains=True
    )
    test_transform: str | None = _of("test view", "resize", "resize-centre-crop")
    crop_scale: tuple[float, ...] | None = _of(
        "area range of the random crop",
        above=0.0,
        high=1.0,
        length=2,
        ordered=True,
        where={"train_transform": ("random-resized-crop",)},
    )
    hflip: float | None = _of("probability of a horizontal flip", low=0.0, high=1.0, where=_VIEWS)
    vflip: float | None = _of("probability of a vertical flip", low=0.0, high=1.0, where=_VIEWS)
    flip_mode: str | None = _of(
        "two independent flips, or one that is horizontal and vertical at once",
        *("independent", "joint"),
        where={"train_transform": ("resize", "resize-centre-crop")},
        optional=True,
    )
    template: str | None = _of(
        "prompt, {} stands for the class name; 'dataset' takes each data set's own",
        "dataset",
        holds="{}",
        where=_PROMPTS,
    )
    class_names: str | None = _of(
        "class names in the prompt: the catalogue's; as the data set's files write them; digits spelt out",
        *("catalogue", "with-underscores", "digits-in-words"),
        where=_PROMPTS,
    )
    class_list: str | None = _of(
        "ImageNet's class names: a classnames.txt beside the images, else CLIP's own; or CLIP's own always",
        *("data-set", "clip"),
        where={**_PROMPTS, "dataset": ("imagenet",)},
        optional=True,
    )
    prompt_type: str | None = _of(
        "medvlsm prompt p0 to p9, or 'mean' over all of a data set's",
        *(*(f"p{number}" for number in range(10)), "mean"),
        runs=tuple(f"p{number}" for number in range(10)),
        why_not="a cell has one prompt",
        where=_MASKS,
    )
    logit_scale: float | None = _of(
        "factor on the cosine similarity", above=0.0, high=1e6, where=_PROMPTS, optional=True
    )
    pooling: str | None = _of(
        "image feature under the linear head",
        *("patch-mean", "token-mean", "patch-mean-pre-norm", "cls", "backbone"),
        where=_HEAD,
    )
    batch_norm: str | None = _of(
        "backbone's batch norms: pretraining's statistics; each batch's own under adapters; or trained with all else",
        *("frozen", "batch", "trained"),
        runs=("frozen", "trained"),
        why_not=(
            "the batch norms stay frozen: the seeds of a pass share one backbone, whose running averages would mix them"
        ),
        where=_HEAD,
        optional=True,
    )
    drop_path: float | None = _of(
        "stochastic depth of the backbone while training",
        low=0.0,
        below=1.0,
        runs=(0.0,),
        why_not="our MambaVision has no stochastic depth",
        where=_HEAD,
        trains=True,
        optional=True,
    )
    head_bias: bool | None = _of("linear head has a bias", where=_HEAD)
    head_init: str | None = _of("how the head's weight starts", "torch-linear", "zeros", "normal-0.01", where=_HEAD)
    head_dropout: float | None = _of("dropout before the head", low=0.0, below=1.0, where=_HEAD)
    rank: int | None = _of("adapter rank r", low=1, high=4096, of_method=True)
    alpha: float | None = _of("adapter alpha", above=0.0, of_method=True)
    scaling: str | None = _of("factor s on B A", "alpha/r", "alpha/sqrt(r)", "alpha", of_method=True)
    targets: str | None = _of(
        "adapted projections",
        *("qkv", "qkvo", "qv", "qkv+mlp", "all-linear", "attention", "attention+mixer"),
        of_method=True,
    )
    towers: str | None = _of(
        "adapted towers; all: the segmentation decoder too", "vision", "text", "both", "all", of_method=True
    )
    adapter_init: str | None = _of(
        "how A and B start: one drawn and B zero, both drawn with B A = 0, or W's principal directions (PiSSA)",
        *("kaiming-uniform-sqrt5", "normal-over-r", "orthogonal", "pissa"),
        of_method=True,
    )
    adapter_dropout: float | None = _of("dropout on the adapter branch's input", low=0.0, below=1.0, of_method=True)
    dora_dropout: str | None = _of(
        "DoRA: dropout on x in (m/norm - 1) W x and in B A x, or in B A x alone", "official", "branch", of_method=True
    )
    norm_axis: str | None = _of(
        "DoRA: one magnitude per output or per input feature", "output", "input", of_method=True
    )
    detach_norm: bool | None = _of("DoRA: the norm gets no gradient", of_method=True)
    decay_magnitude: bool | None = _of("DoRA: weight decay acts on the magnitude too", of_method=True)
    also_trained: str | None = _of(
        "parts trained beside the adapters",
        *("up-convolution", "decoder", "everything"),
        runs=("up-convolution",),
        why_not="the up-convolution is all that trains beside adapters",
        where=_MASKS,
        of_method=True,
        optional=True,
    )
    encoder_gradient: bool | None = _of(
        "segmentation: the gradient reaches the encoders (Hugging Face's forward stops it)", where=_MASKS
    )
    optimiser: str | None = _of("optimiser", "adamw", "adam", "sgd", trains=True)
    lr: float | None = _of("initial learning rate", low=0.0, trains=True)
    lr_min: float | None = _of(
        "last learning rate of the schedule", low=0.0, where={"schedule": ("cosine",)}, trains=True
    )
    weight_decay: float | None = _of("weight decay", low=0.0, trains=True)
    momentum: float | None = _of("SGD's momentum", low=0.0, below=1.0, where=_SGD, trains=True)
    dampening: float | None = _of("SGD's dampening of the momentum", low=0.0, high=1.0, where=_SGD, trains=True)
    nesterov: bool | None = _of("SGD takes Nesterov's momentum", where=_SGD, trains=True)
    betas: tuple[float, ...] | None = _of(
        "Adam's two decay rates", low=0.0, below=1.0, length=2, where=_ADAM, trains=True
    )
    eps: float | None = _of("Adam's epsilon", low=0.0, high=1.0, where=_ADAM, trains=True)
    schedule: str | None = _of("learning-rate schedule", "cosine", "constant", "plateau", "multistep", trains=True)
    warmup_epochs: int | None = _of(
        "epochs of warm-up, from the rate warmup_lr on, before the schedule begins",
        low=1,
        where={"schedule": ("cosine", "constant")},
        trains=True,
        optional=True,
    )
    warmup_shape: str | None = _of(
        "rate of the warm-up: constant, before a cosine of full length (Dassl), or linear, before one of what is left",
        *("constant", "linear"),
        beside="warmup_epochs",
        trains=True,
    )
    milestones: tuple[float, ...] | None = _of(
        "epochs after each of which the multistep schedule multiplies the rate by schedule_factor",
        low=1,
        ordered=True,
        where={"schedule": ("multistep",)},
        trains=True,
    )
    warmup_lr: float | None = _of("learning rate of the warm-up", low=0.0, beside="warmup_epochs", trains=True)
    schedule_step: str | None = _of(
        "when the schedule moves", "step", "epoch", where={"schedule": ("cosine", "plateau")}, trains=True
    )
    epochs: int | None = _of("passes over the training images", low=1, trains=True, unless="steps_per_shot")
    steps_per_shot: int | None = _of(
        "optimiser steps per shot, in place of epochs", low=1, where=_FEW_SHOT, trains=True, optional=True
    )
    step_budget: str | None = _of(
        "training ends with the schedule's last epoch, or after few-shot's number of steps",
        *("schedule", "few-shot"),
        where=_DOMAINS,
        trains=True,
    )
    budget_steps: int | None = _of(
        "steps of training that does not end with the schedule",
        low=1,
        where={"step_budget": ("few-shot",)},
        trains=True,
    )
    patience: int | None = _of(
        "epochs without gain before the plateau schedule cuts the rate",
        low=0,
        where={"schedule": ("plateau",)},
        trains=True,
    )
    schedule_factor: float | None = _of(
        "what the plateau and multistep schedules multiply the rate by",
        above=0.0,
        below=1.0,
        where={"schedule": ("plateau", "multistep")},
        trains=True,
    )
    min_delta: float | None = _of(
        "smallest gain that the early stop counts as one", low=0.0, beside="early_stop", trains=True
    )
    early_stop: int | None = _of(
        "epochs without gain before training stops",
        low=1,
        where=_VALIDATED,
        trains=True,
        optional=True,
        unless="steps_per_shot",
    )
    gradient_clip: float | None = _of("largest gradient norm", above=0.0, trains=True, optional=True)
    gradient_bound: float | None = _of("largest entry of a gradient", above=0.0, trains=True, optional=True)
    batch_size: int | None = _of("images per step and run", low=1, trains=True)
    drop_last: bool | None = _of("an incomplete last batch is dropped", trains=True)
    loss: str | None = _of(
        "training loss; sigmoid: SigLIP's, one yes or no per image and class",
        *("cross-entropy", "sigmoid", "dice", "dice+bce", "dice+bce-on-sigmoid"),
        trains=True,
    )
    precision: str | None = _of(
        "arithmetic of the forward pass; fp16-weights: fp16 with half-precision weights and residual stream",
        *("fp32", "bf16", "fp16", "fp16-weights"),
    )
    tested: str | None = _of("when the model is tested: at the end, or after every epoch", "last", "every-epoch")
    selection: str | None = _of("the epoch whose number counts", "last", "best-test", "best-val", trains=True)
    of_method: tuple[tuple[str, Any], ...] = ()
    """Fields that the method declares for itself, by name, and their values."""
    origin: str = field(default="", compare=False, repr=False)
    """Table, row and column that the protocol comes from, for messages: no field, no part of hash or equality."""

    def __post_init__(self) -> None:
        for name in FIELDS:
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, SHARED[name].checked(value))

    @classmethod
    def of(cls, values: Mapping[str, Any], origin: str = "") -> Protocol:
        """Build from plain values (a TOML table, a record); lists become tuples.

        The fields of a method that is not known here (a user's, in a record of another time) are taken as they are.
        Raises ``UserError`` on a bad value, and on a field that neither every method knows nor this one declares.
        """
        shared = {name: value for name, value in values.items() if name in SHARED}
        others, method = set(values) - set(SHARED), values.get("method")
        own = tuple((name, _of_method(method, name, values[name])) for name in sorted(others))
        return cls(**shared, of_method=own, origin=origin)

    def get(self, name: str) -> Any:
        """The value of a field, of the method's own too; None where it is not set."""
        return getattr(self, name) if name in SHARED else dict(self.of_method).get(name)

    def need(self, name: str) -> Any:
        """The value of a field that the work at hand cannot do without.

        Raises ``UserError`` that names the field, its meaning, and the table, row and column, where it is not set.
        """
        value = self.get(name)
        if value is None:
            raise UserError(f"{self.origin or 'this protocol'}: {lacks(name, self.method)}")
        return value

    def as_dict(self) -> dict[str, Any]:
        """The fields that apply, in order, as JSON-ready values."""
        values = {**{name: getattr(self, name) for name in FIELDS}, **dict(self.of_method)}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items() if v is not None}

    @cached_property
    def digest(self) -> str:
        """16 hex digits that name this protocol whatever the seed."""
        return _digest(self.as_dict())


_TYPES = {"bool": bool, "int": int, "float": float, "str": str, "tuple[float, ...]": tuple}
_HINTS = {name: str(hint).removeprefix("<class '").split(" | ")[0] for name, hint in get_type_hints(Protocol).items()}
SHARED: Mapping[str, Field] = {
    f.name: Field(f.name, _TYPES[_HINTS[f.name]], **f.metadata) for f in fields(Protocol) if f.metadata
}
"""The fields that every method may have, by name."""
FIELDS: tuple[str, ...] = tuple(SHARED)


def field_of(name: str, method: str | None = None) -> Field:
    """The shared field of that name, or the one that the method (None: some method) declares.

    Raises ``UserError`` with a near name where there is none.
    """
    declared = declared_by(method)
    found = SHARED.get(name) or (own_field(name) if method is None else declared.field(name) if declared else None)
    if found is None:
        of_method = f", and the method {method} declares none of that name" if method else ""
        raise UserError(
            f"there is no protocol field {name!r}{of_method}.{near(name, FIELDS)} The fields are {', '.join(FIELDS)}."
        )
    return found


def cannot_run(name: str, value: Any, method: str | None = None) -> str | None:
    """Why a value that a field admits cannot run yet; None where it can."""
    field = field_of(name, method)
    return field.why_not if field.runs and value not in field.runs else None


def lacks(name: str, method: str | None) -> str:
    """What is said of a protocol without a field that it needs."""
    return (
        f"the protocol does not say {name} ({field_of(name, method).meaning}), and there is no default. Give it to the "
        f"row, column or recipe in benchmarks/, or for this run by --set {name}=VALUE."
    )


def _of_method(method: Any, name: str, value: Any) -> Any:
    if method is not None and declared_by(method) is None:
        return tuple(value) if isinstance(value, list) else value
    return field_of(name, method).checked(value)


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
