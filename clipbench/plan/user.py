"""A table with the user's own data set in place of the paper's columns, or with a row for the user's own method."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from clipbench.data.user import UserData
from clipbench.errors import UserError
from clipbench.methods import METHODS, OwnMethod, importable, is_own, method, own_method
from clipbench.methods.fault import own_fault
from clipbench.plan.runnable import why_not
from clipbench.registry import Axis, Cell, Paper, Table, find, resolve
from clipbench.registry.protocol import field_of
from clipbench.results.record import Record

_TRAINED = 0.5
"""Share of each class of an own folder that trains where a table cuts by fraction; shots are drawn from as much."""
_LONGEST = 40
"""Characters of a user's name in file names and ids."""


class UnfitError(UserError):
    """A table or figure in which the user's own data or method has no place."""


@dataclass(frozen=True)
class Additions:
    """What a command line adds to the registry's tables: a folder of class folders, and methods by import path."""

    dataset_dir: Path | None = None
    methods: Sequence[str] = ()
    own: Mapping[str, UserData] = field(default_factory=dict)

    def apply(self, paper: Paper, table: Table) -> Table:
        """The table with what is added; figures stay as they are."""
        if table.panels or not table.rows:
            return table
        # Each goes right behind the paper's row: the last one added would come first.
        for name in reversed(self.methods):
            table = _with_method(paper, table, own_method(name))
        for dataset in self.own:
            table = _on_dataset(paper, table, dataset, has_parts=self.own[dataset].has_parts)
        return table

    def fitting(self, words: Sequence[str]) -> tuple[list[str], list[str]]:
        """Of the tables that the words name, those that take what is added, and those that do not, by id.

        Raises ``UserError`` with the reason where none does.
        """
        if not self.own and not self.methods:
            return list(words), []
        fit: list[str] = []
        unfit: dict[str, str] = {}
        for paper, table in find(words):
            try:
                self._check_drawn(table)
                self.apply(paper, table)
                fit.append(table.id)
            except UnfitError as error:
                unfit[table.id] = str(error)
        if not fit:
            raise UserError(next(iter(unfit.values())))
        return fit, list(unfit)

    def _check_drawn(self, table: Table) -> None:
        if table.panels or not table.rows:
            option = "--dataset-dir" if self.own else "--method"
            raise UnfitError(
                f"{table.id} is a figure of the paper's own runs and takes no {option}; name a table, such as "
                f"fewshot (CLIP-DoRA, Table 1) or table1 (LoRA-CLIP)."
            )


def additions(dataset_dir: Path | None, methods: Sequence[str], split_file: Path | None = None) -> Additions:
    """Raises ``UserError`` for a folder without class folders, or a method that cannot be imported or made."""
    if dataset_dir is None and split_file is not None:
        raise UserError(f"--split-file {split_file} says how the images of --dataset-dir DIR are split; name that too.")
    own = {} if dataset_dir is None else _named(UserData(dataset_dir.resolve(), split_file))
    labels: dict[str, str] = {}
    methods = [importable(name) for name in methods]
    for name in methods:
        label = _row_id(_loaded(name))
        if label in labels:
            raise UserError(_twice(name, labels[label]))
        labels[label] = name
    return Additions(dataset_dir, tuple(methods), own)


def _loaded(name: str) -> OwnMethod:
    """The user's method, imported and made once: what is wrong with it is said before anything runs."""
    try:
        own = own_method(name)
        method(name)
    except UserError as error:
        if error.__cause__ is None:
            raise
        module, fault = name.partition(":")[0], own_fault(name, error.__cause__)
        raise UserError(f"--method {name}: the module {module} cannot be imported ({fault}).") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise UserError(f"--method {name}: it cannot be imported and made ({own_fault(name, error)}).") from error
    if not isinstance(own.label, str) or not isinstance(own.protocol, Mapping):
        raise UserError(f"--method {name}: its label is a string, and protocol a mapping of field names to values.")
    for field_name, entry in own.protocol.items():
        value = entry.get("value") if isinstance(entry, dict) else entry
        if value is not None:
            try:
                field_of(str(field_name), own.name).checked(value)
            except UserError as error:
                raise UserError(f"--method {name}: its protocol: {error}") from None
    return own


def _twice(name: str, first: str) -> str:
    if name == first:
        return f"--method {name} is given twice; once is enough."
    return (
        f"--method {first} and --method {name} have labels that are too alike for rows of their own. Give one another "
        f'label = "..." in its class.'
    )


def with_earlier_methods(table: Table, records: Iterable[Record]) -> Table:
    """The table with a row for each of the user's methods that has records of it and no row in it.

    The row stands behind the one whose recipe the method took over, under the method's label (in older records, which
    have none, under the name of its class).
    """
    earlier: dict[str, dict[str, Axis]] = {}
    for record in records:
        name, origin = record.protocol.need("method"), record.origin
        if origin.experiment != table.id or not is_own(name) or any(row.id == origin.row for row in table.rows):
            continue
        model = next((row for row in table.rows if origin.row.endswith(f"-{row.id}")), None)
        if model is not None:
            label = origin.label or name.partition("@")[0].rpartition(":")[2]
            row = replace(model, id=origin.row, printed=label, set={**model.set, "method": name}, extra=True)
            earlier.setdefault(model.id, {})[row.id] = row
    rows = [found for row in table.rows for found in (row, *earlier.get(row.id, {}).values())]
    return replace(table, rows=tuple(rows)) if earlier else table


def _named(data: UserData) -> dict[str, UserData]:
    """``my_images@1a2b3c4d5e6f``: the folder's name and a digest of names, parts and sizes of the images."""
    images = data.images
    parts = images.parts if data.has_parts else [""] * len(images)
    files = zip(images.files, parts, strict=True)
    lines = sorted(f"{part} {file} {(images.root / file).stat().st_size}".strip() for file, part in files)
    digest = hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
    return {f"{images.dataset}@{digest[:12]}": data}


def _slug(text: str) -> str:
    """What file names, ids and ``--only`` take without harm."""
    return re.sub(r"[^a-z0-9_]+", "-", text.lower()).strip("-")[:_LONGEST].strip("-")


def _row_id(own: OwnMethod) -> str:
    """The label's; of one without a Latin letter or digit, that of the import path."""
    return _slug(own.label) or _slug(own.name.partition("@")[0])


def _on_dataset(paper: Paper, table: Table, dataset: str, *, has_parts: bool) -> Table:
    """The rows that can run, with one column: the data set. What the paper sets per column goes."""
    name, _, digest = dataset.rpartition("@")
    # The paper's columns say how much trains. Without a share one image of each class would, where one is asked for.
    values = {"dataset": dataset, "exif": "rotate", "train_fraction": _TRAINED}
    column = Axis(id=_slug(name) or "own", printed=name, dataset_name=name, set=values, extra=True)
    found = {row: resolve(paper, table, Cell(row, column)) for row in table.rows if not row.derived}
    runs = [row for row, resolved in found.items() if why_not(resolved) is None]
    if not runs:
        raise UnfitError(
            f"{table.id} has no row that runs on a folder of class folders; fewshot (CLIP-DoRA, Table 1) and "
            f"table1 (LoRA-CLIP) have some."
        )
    if has_parts and any(resolved.protocol.split_rule == "stratified-fraction" for resolved in found.values()):
        column = replace(column, set={**column.set, "split_rule": "official"})
    # A user's method that cannot run stays in the table, so that the plan says why.
    rows = [
        replace(row, quoted=None, extra=True, average_of=(), difference_of=())
        for row, resolved in found.items()
        if row in runs or is_own(resolved.protocol.method)
    ]
    title = f"{table.title.partition(' on ')[0]} on {name}, a data set of the user's own"
    # The digest keeps apart the tables and records of two folders of one name.
    file = "-".join(part for part in (table.name, _slug(name), digest[:8]) if part)
    return replace(table, name=file, title=title, rows=tuple(rows), columns=(column,))


def _with_method(paper: Paper, table: Table, own: OwnMethod) -> Table:
    """A row behind the last trained row of every group, set up as that row but for the method itself."""
    models = {row.group: row for row in table.rows if _trained(paper, table, row)}
    if not models:
        raise UnfitError(f"{table.id} has no row that trains today, whose setting {own.label} could take over.")
    rows = []
    for row in table.rows:
        rows.append(row)
        if models.get(row.group) is row:
            rows.append(_own_row(row, own))
    return replace(table, rows=tuple(rows))


def _trained(paper: Paper, table: Table, row: Axis) -> bool:
    columns = [column for column in table.columns if not column.derived]
    if row.derived or row.quoted or row.extra or not columns:
        return False
    resolved = resolve(paper, table, Cell(row, columns[0]))
    protocol = resolved.protocol
    runs = not resolved.missing and protocol.method in METHODS
    return runs and bool(protocol.steps_per_shot or protocol.epochs) and protocol.method != "linear-probe"


def _own_row(model: Axis, own: OwnMethod) -> Axis:
    changes: dict[str, Any] = {**model.set, **own.protocol, "method": own.name}
    return replace(model, id=f"{_row_id(own)}-{model.id}", printed=own.label, set=changes, extra=True)
