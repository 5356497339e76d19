"""What a finished run leaves on disk: the one place that documents every key of ``record.json``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from clipbench.registry import Protocol, Run
from clipbench.registry.budget import budget

SCHEMA = 2
_ADDED = {"val_loss", "val_score", "stage"} | {
    *("unpublished", "images_sha256", "class_names_sha256", "split_file_sha256", "content_sha256", "copies_in_test")
}
"""Keys that older records of this schema lack."""


@dataclass(frozen=True)
class Origin:
    """The cell that asked for the run first, and what the user changed. Not part of the run's identity."""

    experiment: str
    row: str
    column: str
    assume: Mapping[str, str]
    overrides: Mapping[str, Any]


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
        copies_in_test: test images that were byte by byte among the training or validation images.
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
    copies_in_test: int = 0


@dataclass(frozen=True)
class ModelUsed:
    """What was adapted: SHA-256 of the frozen weights; trainable and all parameters, head and adapters included."""

    backbone: str
    weights: str
    weights_sha256: str
    trainable_parameters: int
    total_parameters: int


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
    """Where the run was made: versions, device, threads, and the code's commit (``+`` appended where it was dirty)."""

    clipbench: str
    commit: str
    python: str
    torch: str
    open_clip: str
    platform: str
    device: str
    threads: int


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
    run ended no better than guessing; ``sheet.npz`` (a few test images, small, with mask and prediction) of a
    segmentation; and, where a figure draws the run's features, ``features.safetensors`` (see ``clipbench.plan.keep``).
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
        """Read back. Raises ``ValueError`` where a key is missing or unknown, or the id is not the protocol's hash."""
        if values.get("schema") not in (1, SCHEMA):
            raise ValueError(f"schema {values.get('schema')!r}, this version reads 1 to {SCHEMA}")
        if values["schema"] == 1:
            values = _upgraded(values)
        parts = {"origin": Origin, "data": DataUsed, "model": ModelUsed, "environment": Environment, "cost": Cost}
        built: dict[str, Any] = {name: _build(kind, values[name]) for name, kind in parts.items()}
        built["history"] = tuple(_build(Epoch, line) for line in values["history"])
        built["protocol"] = Protocol.of(values["protocol"])
        record: Record = _build(cls, {**values, **built})
        for name, value in record.metrics.items():
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise ValueError(f"its metric {name} is {value!r}, not a number")
        if record.run.id != record.id:
            raise ValueError(f"its protocol hashes to {record.run.id}, not to its id {record.id}")
        return record


def _upgraded(values: Mapping[str, Any]) -> dict[str, Any]:
    """A record of schema 1, whose history did not count optimiser steps: they follow from the protocol."""
    per_epoch = budget(Protocol.of(values["protocol"]), values["data"]["train_images"]).steps_per_epoch
    history = [{**line, "step": line["epoch"] * per_epoch} for line in values["history"]]
    return {**values, "history": history, "data": {**values["data"], "rebuilt": ""}, "schema": SCHEMA}


def _build(kind: Any, values: Mapping[str, Any]) -> Any:
    names = {f.name for f in fields(kind)}
    lacking = _ADDED & (names - set(values))
    wrong = set(values) ^ (names - lacking)
    if wrong:
        raise ValueError(f"keys of {kind.__name__}: {', '.join(sorted(wrong))} missing or unknown")
    return kind(**values)
