"""What a finished run leaves on disk: the one place that documents every key of ``record.json``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from clipbench.registry import Protocol, Run

SCHEMA = 2
_PERCENT = ("accuracy", "dice", "h_score")
"""Ends of the names of metrics that are percentages."""
_MOST = 2**62
"""More than a run has of anything."""
_ADDED = {"val_loss", "val_score", "stage"} | {
    *("unpublished", "images_sha256", "class_names_sha256", "split_file_sha256", "content_sha256", "copies_in_test"),
    *("shared_list_sha256", "shared_images_sha256"),
    *("synthetic_images", "synthetic_source", "products", "compiled", "label"),
}
"""Keys that older records of this schema lack."""


@dataclass(frozen=True)
class Origin:
    """The cell that asked for the run first, and what the user changed. Not part of the run's identity.

    ``label`` is how the row is called; older records have none.
    """

    experiment: str
    row: str
    column: str
    assume: Mapping[str, str]
    overrides: Mapping[str, Any]
    label: str = ""


@dataclass(frozen=True)
class DataUsed:
    """What the run saw: the data set, and digests of all that was read of it.

    Attributes:
        split_sha256: SHA-256 of the sampled lists: part, file and label of each image.
        complete: whether the data set was whole; ``shortfall`` says what was missing.
        rebuilt: by which rule the split was made, where there was no official one.
        unpublished: a sentence for each split file or list of class names that was not the published one.
        images_sha256: bytes of the images in the sampled lists, and of their masks.
        class_names_sha256: class names, what stood for them in prompts, and prompts of single images.
        split_file_sha256: content of the split files or of the list of class names; empty where there was none.
        content_sha256: all of these digests in one; a record is used again only while the data have the same.
        shared_list_sha256: names of the images that runs of other seeds use too: of the whole data set where this run
            used all of it, else of the test part.
        shared_images_sha256: bytes of these and of their masks; runs of one list and other bytes are not averaged.
        copies_in_test: test images that were byte by byte among the training or validation images.
        synthetic_images: synthetic images of the source domains, which stood beside the real ones in training.
        synthetic_source: how many there are of all domains, and what made them.
    """

    dataset: str
    classes: int
    train_images: int
    test_images: int
    split_sha256: str
    complete: bool
    shortfall: str
    rebuilt: str = ""
    unpublished: Sequence[str] = ()
    images_sha256: str = ""
    class_names_sha256: str = ""
    split_file_sha256: str = ""
    content_sha256: str = ""
    shared_list_sha256: str = ""
    shared_images_sha256: str = ""
    copies_in_test: int = 0
    synthetic_images: int = 0
    synthetic_source: str = ""


@dataclass(frozen=True)
class ModelUsed:
    """What was adapted.

    Attributes:
        backbone: Name of the network.
        weights: Name of its weights.
        weights_sha256: Of the frozen weights.
        trainable_parameters: Head and adapters included.
        total_parameters: Likewise.
        note: What is not certain about the weights; empty where all is.
    """

    backbone: str
    weights: str
    weights_sha256: str
    trainable_parameters: int
    total_parameters: int
    note: str = ""


@dataclass(frozen=True)
class Epoch:
    """One line of the history, written at the end of an epoch: epochs and optimiser steps so far, mean training loss
    since the line before, learning rate of the last step, test accuracy in percent, seconds.

    Runs that are measured in steps write some twenty lines in all. ``accuracy`` is None where the protocol does not
    test, ``train_loss`` where nothing was trained. ``val_loss`` and ``val_score`` (accuracy or mean Dice, in percent)
    are those of the validation images where the protocol looks at them; ``test_seconds`` then holds their time.
    ``stage`` counts the trainings of a method that trains more than once, each with its own epochs and steps.
    """

    epoch: int
    step: int
    train_loss: float | None
    lr: float
    accuracy: float | None
    train_seconds: float
    test_seconds: float
    val_loss: float | None = None
    val_score: float | None = None
    stage: int = 0


@dataclass(frozen=True)
class Environment:
    """Where the run was made: versions, device, threads, and the code's commit (``+`` appended where it was dirty).

    ``products`` says who took the large float32 products on a CPU, ``onednn`` or ``pytorch`` (for the library that
    PyTorch calls); it is empty for other devices. ``compiled``: whether the transformers' blocks were compiled.
    """

    clipbench: str
    commit: str
    python: str
    torch: str
    open_clip: str
    platform: str
    device: str
    threads: int
    products: str = ""
    compiled: bool = False


@dataclass(frozen=True)
class Cost:
    """What the run took. Seconds, memory and energy are those of the whole pass; ``replicas`` runs shared it.

    ``peak_memory_bytes`` is the device's peak on a GPU and the process's resident peak on a CPU; ``energy_joules`` is
    None where the device does not report it.
    """

    seconds: float
    replicas: int
    peak_memory_bytes: int
    energy_joules: float | None
    training_images_per_second: float


@dataclass(frozen=True)
class Record:
    """One finished run. ``files`` maps each file beside ``record.json`` to its SHA-256 (the store adds its own).

    They are ``predictions.npz`` (``labels`` and ``predictions`` of the test images; of a segmentation ``size``, and
    per image the ``masks`` and ``predictions`` as packed bits of ``size x size`` pixels); ``losses.npz`` (``losses``,
    the training loss of every step) where anything was trained; ``trained.safetensors`` (what was trained) where the
    run ended no better than guessing; with ``--keep adapters`` ``adapters.safetensors`` and ``adapters.json`` (in the
    format of ``clipbench.adapters``) and ``parameters.safetensors`` (what else was trained); ``sheet.npz`` (a few test
    images, small, with mask and prediction) of a segmentation; and, where a figure draws the run's features,
    ``features.safetensors`` (see ``clipbench.plan.keep``).
    The first of ``metrics`` is what the task is about: ``accuracy`` or ``dice``.
    """

    id: str
    seed: int
    protocol: Protocol
    origin: Origin
    metrics: Mapping[str, float]
    history: Sequence[Epoch]
    data: DataUsed
    model: ModelUsed
    environment: Environment
    cost: Cost
    finished: str
    files: Mapping[str, str]
    schema: int = SCHEMA

    @property
    def run(self) -> Run:
        """The run that this record belongs to."""
        return Run(self.protocol, self.seed)

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``record.json``; fields of the protocol that do not apply are left out."""
        return asdict(self) | {"protocol": self.protocol.as_dict()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Record:
        """Read back; signs that steer a terminal or break a line become spaces.

        Raises ``ValueError`` where a key is missing, unknown or of another type, where a number cannot be, or where the
        id is not the protocol's hash.
        """
        if values.get("schema") != SCHEMA:
            raise ValueError(f"schema {values.get('schema')!r}, this version reads {SCHEMA}")
        parts = {"origin": Origin, "data": DataUsed, "model": ModelUsed, "environment": Environment, "cost": Cost}
        built: dict[str, Any] = {name: _build(kind, values[name], name) for name, kind in parts.items()}
        built["history"] = tuple(_build(Epoch, line, "history") for line in values["history"])
        built["protocol"] = Protocol.of(values["protocol"])
        record: Record = _build(cls, {**values, **built}, "record")
        _check(record)
        return record


def _check(record: Record) -> None:
    """What types cannot say: numbers that can be, and an identity that is the protocol's."""
    datetime.fromisoformat(record.finished)
    if not record.history or not record.metrics:
        raise ValueError("its history or its metrics are empty")
    if not {"accuracy", "dice"} & set(record.metrics):
        raise ValueError("its metrics have neither an accuracy nor a Dice")
    for name, value in record.metrics.items():
        if not math.isfinite(value):
            raise ValueError(f"its metric {name} is {value!r}, not a number")
        if name.endswith(_PERCENT) and not 0.0 <= value <= 100.0:
            raise ValueError(f"its metric {name} is {value!r}, not a percentage")
    counts = record.data.classes, record.data.test_images, record.model.total_parameters, record.cost.replicas
    others = record.data.train_images, record.model.trainable_parameters, record.cost.peak_memory_bytes
    if min(counts) < 1 or min(others) < 0 or max(*counts, *others) > _MOST:
        raise ValueError("it counts fewer or more classes, images, parameters, bytes or replicas than a run can have")
    cost = record.cost.seconds, record.cost.energy_joules or 0.0, record.cost.training_images_per_second
    if not all(0.0 <= value <= _MOST for value in cost) or not record.cost.seconds:
        raise ValueError("its seconds, energy or speed are no numbers that a run can have")
    if any(Path(name).name != name or name == ".." for name in record.files):
        raise ValueError("it names files outside of its folder")
    if record.run.id != record.id:
        raise ValueError(f"its protocol hashes to {record.run.id}, not to its id {record.id}")


def _build(kind: Any, values: Any, where: str) -> Any:
    if not isinstance(values, Mapping):
        raise ValueError(f"its {where} is {values!r:.60}, not a table of values")
    names = {f.name for f in fields(kind)}
    lacking = _ADDED & (names - set(values))
    wrong = set(values) ^ (names - lacking)
    if wrong:
        raise ValueError(f"keys of {kind.__name__}: {', '.join(sorted(wrong))} missing or unknown")
    hints = _hints(kind)
    return kind(**{name: _typed(value, hints[name], f"{where}, {name}") for name, value in values.items()})


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _typed(value: Any, hint: Any, where: str) -> Any:
    """A value of the type that the field has; whole numbers stand for floats, and texts are of one line."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is UnionType:
        return None if value is None else _typed(value, inner[0], where)
    if origin is Mapping and isinstance(value, Mapping):
        return {_line(f"{name}"): _typed(item, inner[1], f"{where}, {name}") for name, item in value.items()}
    if origin is Sequence and isinstance(value, list | tuple):
        return tuple(_typed(item, inner[0], where) for item in value)
    if hint is str and isinstance(value, str):
        return _line(value)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if hint is Any or (
        isinstance(hint, type) and isinstance(value, hint) and isinstance(value, bool) <= (hint is bool)
    ):
        return value
    raise ValueError(f"its {where} is {value!r:.60}, not of the type that it should have")


def _line(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)
