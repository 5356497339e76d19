"""Printed parameter counts and shares against the architectures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction

from clipbench.audit.architecture import model_of, trainable_and_total
from clipbench.audit.finding import CANNOT, Finding
from clipbench.data.catalogue import entry, known
from clipbench.errors import UserError
from clipbench.registry import Cell, Paper, Protocol, Table
from clipbench.registry.decimal import CUT, ROUNDED, Decimal
from clipbench.registry.printed import Key, PrintedNumber
from clipbench.registry.resolve import as_printed

COUNT, SHARE = "trainable-parameters", "trainable-share"


def computed(protocol: Protocol, metric: str) -> Fraction:
    """The number of a protocol that follows from its architecture: millions of trainable parameters, or a percentage.

    Raises ``UserError`` where the model or the method has no closed form.
    """
    trainable, total = trainable_and_total(protocol, _classes(protocol))
    return Fraction(trainable, 10**6) if metric == COUNT else Fraction(100 * trainable, total)


def check_parameters(paper: Paper, numbers: Mapping[Key, PrintedNumber]) -> Iterator[Finding]:
    """A finding per printed count or share that stands for itself."""
    for experiment in paper.tables.values():
        for cell in experiment.cells():
            number = numbers.get((experiment.name, cell.row.id, cell.column.id))
            if experiment.metric_of(cell) in (COUNT, SHARE) and number and number.value and not cell.derived:
                yield _finding(paper, experiment, cell, number, number.value)


def _finding(paper: Paper, experiment: Table, cell: Cell, number: PrintedNumber, printed: Decimal) -> Finding:
    # A table's full tuning is of the whole model; where a library stops the gradient is a choice.
    protocol = replace(as_printed(paper, experiment, cell.row, cell.column).protocol, encoder_gradient=None)
    try:
        trainable, total = trainable_and_total(protocol, _classes(protocol))
    except UserError as error:
        return Finding("parameters", number.where, number.raw, str(error), CANNOT, "")
    if experiment.metric_of(cell) == COUNT:
        exact, shown = [Fraction(trainable, 10**6)], f"{trainable:,} parameters = {trainable / 1e6:.4f} million"
    else:
        exact, shown = _shares(trainable, total, protocol)
    found, severity = _judged(printed, exact)
    wanted = _wanted(experiment, cell, protocol, printed) if severity != "fine" else ""
    return Finding("parameters", number.where, number.raw, found, severity, f"{shown} ({_described(protocol)}){wanted}")


def _shares(trainable: int, total: int, protocol: Protocol) -> tuple[list[Fraction], str]:
    """Of all parameters, adapters included (as peft prints it), and of the original model."""
    original = _original(protocol)
    exact = [Fraction(100 * trainable, whole) for whole in (total, original)]
    shown = f"{trainable:,} / {total:,} = {float(exact[0]):.4f}%; of the original {original:,}: {float(exact[1]):.4f}%"
    return exact, shown


def _original(protocol: Protocol) -> int:
    """Parameters before anything is added: the tower under a linear head, or the whole model."""
    model = model_of(protocol.need("backbone"))
    return model.vision.parameters if protocol.task == "linear-head" else model.parameters


def _judged(printed: Decimal, exact: list[Fraction]) -> tuple[str, str]:
    if printed.holds(exact[0], ROUNDED):
        return "follows from the described architecture", "fine"
    if any(printed.holds(x, ROUNDED) for x in exact):
        return "follows from the described architecture, as a share of the original model", "fine"
    computed = " or ".join(dict.fromkeys(f"{float(x):.{printed.decimals}f}" for x in exact))
    if printed.holds(exact[0], CUT):
        return f"follows from the described architecture if given to fewer digits; rounded it is {computed}", "fine"
    return f"the described architecture gives {computed}", "inconsistent"


def _described(protocol: Protocol) -> str:
    """What was counted: ``lora, rank 8 on qkvo of the vision tower of ViT-L-14-quickgelu, head of 30 classes``."""
    where = f"{protocol.towers} towers" if protocol.towers in ("both", "all") else f"the {protocol.towers} tower"
    adapters = f"{protocol.method}, rank {protocol.rank} on {protocol.targets} of {where} of {protocol.backbone}"
    words = [f"all of {protocol.backbone}" if protocol.method == "full" else adapters]
    words += [f"linear head of {_classes(protocol)} classes"] if protocol.task == "linear-head" else []
    words += [f"and the {protocol.also_trained.replace('-', ' ')}"] if protocol.also_trained else []
    return ", ".join(words)


def _wanted(experiment: Table, cell: Cell, protocol: Protocol, printed: Decimal) -> str:
    """How many parameters would print as the figure."""
    scale = Fraction(10**6) if experiment.metric_of(cell) == COUNT else Fraction(_original(protocol), 100)
    low, high = (float((printed.value + sign * printed.unit / 2) * scale) for sign in (-1, 1))
    return f"; the printed figure needs about {low:,.0f} to {high:,.0f} trainable parameters"


def _classes(protocol: Protocol) -> int:
    """Classes of the data set, where a linear head needs them."""
    if protocol.task != "linear-head":
        return 0
    if protocol.dataset not in known():
        raise UserError(f"the number of classes of {protocol.dataset} is not known")
    return entry(protocol.dataset).class_count
