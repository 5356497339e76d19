"""A table with the user's own data set in place of the paper's columns, or with a row for the user's own method."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from clipbench.capabilities import why_not
from clipbench.errors import UserError
from clipbench.methods import METHODS, OwnMethod, own_method
from clipbench.spec import Axis, Cell, Experiment, Paper, resolve

_OF_METHODS = (
    *("rank", "alpha", "scaling", "targets", "towers", "adapter_init", "adapter_dropout"),
    *("dora_dropout", "norm_axis", "detach_norm", "decay_magnitude", "context_tokens"),
)
"""Protocol fields that belong to a method: another method reads those that it names in ``reads``."""
_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".gif")


@dataclass(frozen=True)
class Extension:
    """What a command line adds to the registry's tables: a folder of class folders, and methods by import path."""

    dataset_dir: Path | None = None
    methods: Sequence[str] = ()
    own: Mapping[str, Path] = field(default_factory=dict)

    def apply(self, paper: Paper, experiment: Experiment) -> Experiment:
        """The table with what is added; figures stay as they are."""
        if experiment.panels or not experiment.rows:
            return experiment
        for dataset in self.own:
            experiment = _on_dataset(paper, experiment, dataset)
        # Each goes right behind the paper's row: the last one added would come first.
        for name in reversed(self.methods):
            experiment = _with_method(paper, experiment, own_method(name))
        return experiment


def extension(dataset_dir: Path | None, methods: Sequence[str]) -> Extension:
    """Raises ``UserError`` for a folder without class folders, or a method that cannot be imported."""
    own = {} if dataset_dir is None else {_dataset_name(dataset_dir): dataset_dir.resolve()}
    for name in methods:
        own_method(name)
    return Extension(dataset_dir, tuple(methods), own)


def _dataset_name(folder: Path) -> str:
    """``my_images@1a2b3c4d5e6f``: the folder's name and a digest of its images' names and sizes."""
    if not folder.is_dir():
        raise UserError(f"--dataset-dir {folder}: there is no such folder. It should hold one folder per class.")
    images = sorted(p for p in folder.rglob("*") if p.suffix.lower() in _SUFFIXES and p.is_file())
    lines = [f"{path.relative_to(folder).as_posix()} {path.stat().st_size}" for path in images]
    if not lines:
        raise UserError(f"--dataset-dir {folder}: no image in it or below. It should hold one folder per class.")
    return f"{folder.resolve().name}@{hashlib.sha256(chr(10).join(lines).encode()).hexdigest()[:12]}"


def _on_dataset(paper: Paper, experiment: Experiment, dataset: str) -> Experiment:
    """The rows that can run, with one column: the data set. What the paper sets per column goes."""
    name = dataset.partition("@")[0]
    column = Axis(id=name, printed=name, dataset_name=name, set={"dataset": dataset}, extra=True)
    rows = [
        replace(row, quoted=None, extra=True, average_of=(), difference_of=())
        for row in experiment.rows
        if not row.derived and why_not(resolve(paper, experiment, Cell(row, column))) is None
    ]
    if not rows:
        raise UserError(
            f"{experiment.id} has no row that runs on a folder of class folders; fewshot (CLIP-DoRA, Table 1) and "
            f"table1 (LoRA-CLIP) have some."
        )
    title = f"{experiment.title.partition(' on ')[0]} on {name}, a data set of the user's own"
    return replace(experiment, name=f"{experiment.name}-{name}", title=title, rows=tuple(rows), columns=(column,))


def _with_method(paper: Paper, experiment: Experiment, own: OwnMethod) -> Experiment:
    """A row behind the last trained row of every group, set up as that row but for the method itself."""
    models = {row.group: row for row in experiment.rows if _trained(paper, experiment, row)}
    if not models:
        raise UserError(f"{experiment.id} has no row that trains today, whose setting {own.label} could take over.")
    rows = []
    for row in experiment.rows:
        rows.append(row)
        if models.get(row.group) is row:
            rows.append(_own_row(row, own))
    return replace(experiment, rows=tuple(rows))


def _trained(paper: Paper, experiment: Experiment, row: Axis) -> bool:
    columns = [column for column in experiment.columns if not column.derived]
    if row.derived or row.quoted or not columns:
        return False
    resolved = resolve(paper, experiment, Cell(row, columns[0]))
    protocol = resolved.protocol
    runs = not resolved.missing and protocol.method in METHODS
    return runs and bool(protocol.steps_per_shot or protocol.epochs) and protocol.method != "linear-probe"


def _own_row(model: Axis, own: OwnMethod) -> Axis:
    unset = {name: {"unset": f"{own.label} does not read it"} for name in _OF_METHODS if name not in own.reads}
    changes: dict[str, Any] = {**model.set, **unset, **own.protocol, "method": own.name}
    slug = own.label.lower().replace(" ", "-")
    return replace(model, id=f"{slug}-{model.id}", printed=own.label, set=changes, extra=True)
