"""Why a cell cannot run, in one wording for every command. No heavy imports: ``list`` and ``show`` ask this module."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from clipbench.data.catalogue import entry
from clipbench.data.catalogue import known as known_datasets
from clipbench.methods import METHODS, is_own
from clipbench.plan.target_domains import EACH
from clipbench.registry import Cell, Paper, Protocol, Resolved, Table
from clipbench.registry.protocol import SHARED, cannot_run, lacks
from clipbench.registry.reads import lacking
from clipbench.registry.resolve import as_printed


def why_not(resolved: Resolved) -> str | None:
    """The reason why a cell cannot run, or None where it can, given its data and weights."""
    return resolved.missing or next((reason for rule in _RULES if (reason := rule(resolved.protocol))), None)


@cache
def missing_reason(paper: Paper, table: Table, cell: Cell) -> str | None:
    """Why a cell cannot be run today; None where it can. A derived cell needs all cells that it is computed from."""
    if cell.derived:
        reasons = [missing_reason(paper, table, part) for part in table.parts(cell)]
        return next((reason for reason in reasons if reason), None)
    return why_not(as_printed(paper, table, cell.row, cell.column))


def unobtainable(protocol: Protocol) -> str | None:
    """Why the data set can no longer be had, where its catalogue entry says so."""
    if protocol.dataset not in known_datasets():
        return None
    return entry(protocol.dataset).gone or None


def _method(protocol: Protocol) -> str | None:
    known = protocol.method in METHODS or is_own(protocol.method)
    return None if known else f"the method {protocol.method} is not implemented yet"


def _values(protocol: Protocol) -> str | None:
    for name, value in protocol.as_dict().items():
        if reason := cannot_run(name, value, protocol.method):
            return f"{name} = {value} cannot run yet: {reason}"
    return None


def _fields(protocol: Protocol) -> str | None:
    name = lacking(protocol)
    return None if name is None else lacks(name, protocol.method)


def _dataset(protocol: Protocol) -> str | None:
    if _of_user(protocol):
        return None
    if protocol.dataset not in known_datasets():
        return f"the data set {protocol.dataset} is not in the catalogue"
    if protocol.profile == "smoke" and protocol.dataset not in _generated():
        return "the smoke profile has no generated images of this data set"
    return None


def _loss(protocol: Protocol) -> str | None:
    """A loss of masks does not fit classes, nor the other way round."""
    losses = {"image-text": ("cross-entropy", "sigmoid"), "linear-head": ("cross-entropy",)}
    masks = tuple(word for word in SHARED["loss"].words if word.startswith("dice"))
    if protocol.loss is None or protocol.loss in losses.get(protocol.need("task"), masks):
        return None
    return f"the loss {protocol.loss} is none of the task {protocol.task}"


def rates_fault(protocol: Protocol) -> str | None:
    """Where the rate would rise to its lowest value."""
    if protocol.lr is None or protocol.lr_min is None or protocol.lr_min <= protocol.lr:
        return None
    return f"lr_min = {protocol.lr_min:g} is above lr = {protocol.lr:g}; set both"


def _views(protocol: Protocol) -> str | None:
    if protocol.train_transform == "random-resized-crop" and protocol.vflip:
        return "random crops are flipped horizontally only: vflip must be 0"
    if protocol.task == "segmentation" and (protocol.hflip or protocol.vflip):
        return "images and masks are not flipped: hflip and vflip must be 0"
    return None


def _prompts(protocol: Protocol) -> str | None:
    if protocol.task != "segmentation" or protocol.dataset not in known_datasets():
        return None
    prompts = entry(protocol.need("dataset")).layout_options.get("prompts")
    if prompts and protocol.prompt_type not in prompts:
        return f"{protocol.dataset} has no prompt {protocol.prompt_type}, only {prompts[0]} to {prompts[-1]}"
    return None


def _domains(protocol: Protocol) -> str | None:
    """Why the data set has no target domain of that name."""
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


def _of_user(protocol: Protocol) -> bool:
    return "@" in protocol.need("dataset")


def _generated() -> frozenset[str]:
    from clipbench.data.painted import SUBSETS

    return frozenset(SUBSETS)


_RULES: tuple[Callable[[Protocol], str | None], ...] = (
    *(_method, _values, _fields, _dataset, _loss, rates_fault, _views, _prompts, _domains),
)
