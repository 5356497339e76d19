"""What runs today: names of methods, tasks, backbones and protocol words that have code behind them.

No heavy imports here: ``list`` and ``show`` ask this module.
"""

from __future__ import annotations

from collections.abc import Container

from clipbench.data.catalogue import entry
from clipbench.data.catalogue import known as known_datasets
from clipbench.methods import METHODS, is_own
from clipbench.plan.target_domains import EACH
from clipbench.registry import Cell, Experiment, Paper, Protocol, Resolved
from clipbench.registry.resolve import as_printed

_ANY = object()
"""Every value that the field admits."""

# Every field that the engine acts on, with the values that it can act on. A field that is not here must be None: a word
# of the protocol that no code reads would be a number with a false label.
_IMPLEMENTED: dict[str, tuple[object, ...]] = {
    **dict.fromkeys(("profile", "method", "backbone", "weights", "dataset", "limit"), (_ANY,)),
    "task": ("linear-head", "image-text", "segmentation"),
    "split_rule": ("stratified-fraction", "coop", "clip-lora", "leave-one-domain-out", "official"),
    **dict.fromkeys(("test_domain", "train_part", "test_part", "label_space"), (_ANY,)),
    "domain_sampling": ("pooled",),
    "step_budget": ("schedule",),
    "shots": (_ANY,),
    **dict.fromkeys(("train_fraction", "split_draw"), (_ANY,)),
    **dict.fromkeys(("image_size", "normalisation", "interpolation"), (_ANY,)),
    "train_transform": ("resize", "resize-centre-crop", "random-resized-crop"),
    "test_transform": ("resize", "resize-centre-crop"),
    **dict.fromkeys(("template", "logit_scale", "crop_scale"), (_ANY,)),
    "class_names": ("catalogue", "digits-in-words"),
    **dict.fromkeys(("hflip", "vflip", "flip_mode"), (_ANY,)),
    "prompt_type": tuple(f"p{number}" for number in range(10)),
    "pooling": ("patch-mean", "token-mean", "patch-mean-pre-norm", "cls", "backbone"),
    "batch_norm": ("frozen",),
    "drop_path": (0.0,),
    **dict.fromkeys(("head_bias", "head_init", "head_dropout"), (_ANY,)),
    **dict.fromkeys(("rank", "alpha", "scaling", "adapter_dropout", "detach_norm", "dora_dropout"), (_ANY,)),
    "targets": ("qkv", "qkvo", "qv", "qkv+mlp", "all-linear", "attention", "attention+mixer"),
    "towers": ("vision", "text", "both", "all"),
    "also_trained": ("up-convolution",),
    "encoder_gradient": (True, False),
    **dict.fromkeys(("adapter_init", "norm_axis", "decay_magnitude"), (_ANY,)),
    "optimiser": ("adamw",),
    **dict.fromkeys(("lr", "lr_min", "weight_decay", "betas", "eps"), (_ANY,)),
    "schedule": ("cosine", "constant", "plateau"),
    **dict.fromkeys(("patience", "schedule_factor", "min_delta", "early_stop", "gradient_clip"), (_ANY,)),
    **dict.fromkeys(("schedule_step", "epochs", "steps_per_shot", "batch_size", "drop_last", "precision"), (_ANY,)),
    "loss": ("cross-entropy", "dice", "dice+bce", "dice+bce-on-sigmoid"),
    "tested": ("last", "every-epoch"),
    "selection": ("last", "best-test", "best-val"),
}
_OF_SEGMENTATION = ("prompt_type", "also_trained", "encoder_gradient")
"""Fields that no other task reads."""


def why_not(resolved: Resolved) -> str | None:
    """The reason why a protocol cannot run yet, or None where it can."""
    return resolved.missing or _gap(resolved.protocol)


def missing_reason(paper: Paper, experiment: Experiment, cell: Cell) -> str | None:
    """Why a cell cannot be run today; None where it can. A derived cell needs all cells that it is computed from."""
    if cell.derived:
        reasons = [missing_reason(paper, experiment, part) for part in experiment.parts(cell)]
        return next((reason for reason in reasons if reason), None)
    return why_not(as_printed(paper, experiment, cell.row, cell.column))


def _gap(protocol: Protocol) -> str | None:
    if protocol.method not in METHODS and not is_own(protocol.method):
        return f"the method {protocol.method} is not implemented yet"
    for name, value in protocol.as_dict().items():
        allowed = _IMPLEMENTED.get(name, ())
        if value not in allowed and _ANY not in allowed:
            return f"{name.replace('_', ' ')} {value!r} is not implemented yet"
    own = "@" in protocol.need("dataset")
    if protocol.dataset not in known_datasets() and not own:
        return f"no reader for the data set {protocol.dataset} yet"
    if reason := _other_task(protocol) or _no_domain(protocol):
        return reason
    if protocol.profile == "smoke" and not own and protocol.dataset not in _generated():
        return "no generated subset of this data set: the smoke profile has two or three of each kind"
    return None


def _other_task(protocol: Protocol) -> str | None:
    """Why a field does not go with the task, or a prompt not with the data set."""
    segments = protocol.task == "segmentation"
    if protocol.loss is not None and segments == (protocol.loss == "cross-entropy"):
        return f"the loss {protocol.loss} is none of the task {protocol.task}"
    for name in () if segments else _OF_SEGMENTATION:
        if getattr(protocol, name) is not None:
            return f"{name.replace('_', ' ')} is a field of segmentation, not of the task {protocol.task}"
    if not segments or protocol.dataset not in known_datasets():
        return None
    prompts = entry(protocol.need("dataset")).reading.get("prompts")
    if prompts and protocol.prompt_type not in prompts:
        return f"{protocol.dataset} has no prompt {protocol.prompt_type}, only {prompts[0]} to {prompts[-1]}"
    return None


def _no_domain(protocol: Protocol) -> str | None:
    """Why a protocol that holds a domain out cannot do so with its data set."""
    if protocol.split_rule != "leave-one-domain-out":
        return None
    domains = entry(protocol.need("dataset")).domains if protocol.dataset in known_datasets() else {}
    if not domains:
        return f"{protocol.need('dataset').partition('@')[0]} has no domains of which one could be held out"
    if protocol.test_domain != EACH and protocol.test_domain not in domains:
        return f"{protocol.dataset} has no domain {protocol.test_domain!r}; it has {', '.join(domains)}"
    if protocol.label_space == "odg" and protocol.task != "image-text":
        return "label space 'odg' needs prompts, one of which says unknown"
    return None


def _generated() -> Container[str]:
    from clipbench.data.painted import SUBSETS

    return SUBSETS


def unobtainable(protocol: Protocol) -> str | None:
    """Why the data set can no longer be had, where its catalogue entry says so."""
    if protocol.dataset not in known_datasets():
        return None
    return entry(protocol.dataset).gone or None
