"""The names of written files: a full stop in a table's name is no suffix, and folders of one name keep apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from clipbench.compare.choices import sensitivity
from clipbench.plan.user import additions
from clipbench.registry import Cell, Overrides, Paper, Table, resolve
from clipbench.report.sensitivity import write
from clipbench.report.write import write_tables
from clipbench.results.store import Draft, Store
from tests.factory import record, records, table

WHERE = ("lora-clip/table1", "lora-r8", "ucm-80")


def dotted(_: Paper, experiment: Table) -> Table:
    return replace(experiment, name=f"{experiment.name}.v2")


def test_a_full_stop_in_a_tables_name_stays(tmp_path: Path) -> None:
    Store(tmp_path / "results").publish([Draft(r, {}) for r in records(WHERE, (90.0, 91.0))])
    names = {path.name for path in write_tables(["lora-clip/table1"], tmp_path, None, dotted)}
    assert names == {f"table1.v2.{suffix}" for suffix in ("md", "csv", "tex", "json")}


def test_a_full_stop_in_the_name_of_a_tables_readings_stays(tmp_path: Path) -> None:
    made = [
        *records(WHERE, (90.0, 91.0)),
        *records(WHERE, (80.0, 81.0), overrides=Overrides(assume={"pooling": "cls"})),
    ]
    result = sensitivity(*table(WHERE[0]), made)
    assert result is not None
    written = write(replace(result, experiment=dotted(*table(WHERE[0]))), tmp_path)
    assert [path.name for path in written] == [f"table1.v2-assumptions.{s}" for s in ("png", "svg", "csv")]


@pytest.mark.parametrize("names", [("photos.v1", "photos.v2"), ("a/photos", "b/photos"), ("x@y", "x@z")])
def test_the_tables_of_two_folders_do_not_overwrite_each_other(names: tuple[str, str], tmp_path: Path) -> None:
    paper, experiment = table("clip-dora/table1")
    written: list[Path] = []
    for at, name in enumerate(names):
        for part in ("cat", "dog"):
            (tmp_path / name / part).mkdir(parents=True)
            for number in range(4):
                (tmp_path / name / part / f"{at}-{number}.jpg").write_bytes(f"{at} {part} {number}".encode())
        added = additions(tmp_path / name, [])
        ours = added.apply(paper, experiment)
        protocol = resolve(paper, ours, Cell(ours.rows[0], ours.columns[0])).protocol
        made = record((ours.id, ours.rows[0].id, ours.columns[0].id), 1, 60.0 + at, protocol=protocol)
        Store(tmp_path / "results").publish([Draft(made, {})])
        written += write_tables(["clip-dora/table1"], tmp_path, None, added.apply)
    assert len({*written}) == len(written) == 8
    for path, own, other in ((written[0], "60.00", "61.00"), (written[4], "61.00", "60.00")):
        text = path.read_text()
        assert own in text
        assert other not in text
