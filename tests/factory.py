"""Made-up records for the tests of what happens after training: stores, comparisons, tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from clipbench.registry import Cell, Overrides, Paper, Protocol, Run, Table, load_papers, resolve
from clipbench.results.record import Cost, DataUsed, Environment, Epoch, ModelUsed, Origin, Record

PAPERS = {paper.id: paper for paper in load_papers()}


def table(name: str) -> tuple[Paper, Table]:
    """``lora-clip/table1`` as paper and experiment."""
    paper, _, experiment = name.partition("/")
    return PAPERS[paper], PAPERS[paper].tables[experiment]


def protocol_of(name: str, row: str, column: str, overrides: Overrides | None = None) -> Protocol:
    paper, experiment = table(name)
    cell = Cell(experiment.row(row), experiment.column(column))
    return resolve(paper, experiment, cell, overrides or Overrides()).protocol


def record(
    where: tuple[str, str, str] = ("lora-clip/table1", "lora-r8", "ucm-80"),
    seed: int = 1,
    score: float = 90.0,
    *,
    overrides: Overrides | None = None,
    protocol: Protocol | None = None,
    **changes: Any,
) -> Record:
    """The record of a run of that cell; ``changes`` replaces fields of ``Record``, ``data`` or ``model`` by name."""
    protocol = protocol or protocol_of(*where, overrides)
    over = overrides or Overrides()
    epochs = protocol.epochs or 1
    made = Record(
        id=Run(protocol, seed).id,
        seed=seed,
        protocol=protocol,
        origin=Origin(*where, dict(over.assume), dict(over.fields)),
        metrics={"accuracy": score, "dice": score, "mean_class_accuracy": score, "train_loss": 0.1},
        history=tuple(
            Epoch(e + 1, 10 * (e + 1), 2.0 / (e + 1) + 0.01 * seed, 1e-4, score - (epochs - 1 - e), 1.0, 0.5)
            for e in range(epochs)
        ),
        data=DataUsed(protocol.dataset or "", 21, 1680, 420, "0" * 64, True, ""),
        model=ModelUsed(protocol.backbone or "", protocol.weights or "", "1" * 64, 1_000, 100_000),
        environment=Environment("0.1.0", "abc", "3.11", "2.15", "3.3", "Linux", "cpu: test", 1),
        cost=Cost(10.0, 1, 1_000_000, None, 100.0),
        finished=f"2026-01-01T00:00:{seed % 60:02d}.000+00:00",
        files={},
    )
    for part in ("data", "model", "environment", "cost"):
        kind = getattr(made, part)
        own = {name: changes.pop(name) for name in list(changes) if name in type(kind).__dataclass_fields__}
        made = replace(made, **{part: replace(kind, **own)})
    return replace(made, **changes)


def records(where: tuple[str, str, str], scores: Sequence[float], **more: Any) -> list[Record]:
    """One record per score, seeds counted from 1."""
    return [record(where, seed, score, **more) for seed, score in enumerate(scores, start=1)]
