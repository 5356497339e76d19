"""How many test images stand behind an accuracy: official sizes, or the catalogue's counts cut by the protocol."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from clipbench.data.catalogue import entry, known
from clipbench.errors import UserError
from clipbench.registry import Paper, Protocol

FILE = "test_sizes.csv"
COLUMNS = ("dataset", "test", "source")


def test_size(paper: Paper, protocol: Protocol, metric: str) -> tuple[int | None, str]:
    """Test images of one repetition and their source; None and the reason where the number is not known."""
    if metric != "accuracy":
        return None, f"{metric} is no share of counted answers"
    if protocol.split_rule == "leave-one-domain-out":
        return None, "a mean over held-out domains of different sizes, whose parts are not printed"
    if (stated := _official(paper.folder).get(protocol.need("dataset"))) is not None:
        return stated
    if protocol.split_rule == "stratified-fraction" and protocol.dataset in known():
        return _stratified(protocol)
    return None, f"the test-set size of {protocol.dataset} is not known"


def _stratified(protocol: Protocol) -> tuple[int, str]:
    """Of every class, the rounded share trains and the rest tests."""
    data, fraction = entry(protocol.need("dataset")), protocol.need("train_fraction")
    images = sum(n - min(max(round(fraction * n), 1), n - 1) for n in data.classes.values())
    return images, f"{data.images:,} images of {data.name}, {100 * (1 - fraction):.0f}% of every class tests"


@cache
def _official(folder: Path) -> Mapping[str, tuple[int, str]]:
    """The paper's ``test_sizes.csv``; empty where it has none."""
    path = folder / FILE
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise UserError(f"{path}, line 1: the columns must be {', '.join(COLUMNS)}")
        rows = list(reader)
    for number, row in enumerate(rows, start=2):
        if not row["test"].isdecimal() or not row["source"]:
            raise UserError(f"{path}, line {number}: test must be a whole number, and source must say where it is from")
    return {row["dataset"]: (int(row["test"]), row["source"]) for row in rows}
