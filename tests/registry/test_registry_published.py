"""The printed numbers: every one is there, and they agree with each other as far as the papers say they do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import mean

import pytest

from clipbench.registry import Axis, Cell, Paper, Table, load_papers
from clipbench.registry.printed import PrintedNumber, load_published

PAPERS = {paper.id: paper for paper in load_papers()}
PRINTED = {paper.id: load_published(paper) for paper in PAPERS.values()}
TABLES = [(p, e) for p in PAPERS.values() for e in p.tables.values() if e.rows]
tables = pytest.mark.parametrize(("paper", "experiment"), TABLES, ids=[e.id for _, e in TABLES])

# The papers formed their averages and differences from the printed, already rounded numbers: all of them re-add within
# half a unit of their own last decimal, so the rounding of the components needs no allowance.
EPSILON = 1e-9


def value(paper_id: str, experiment: str, row: str, column: str) -> float:
    found = PRINTED[paper_id][experiment, row, column].value
    assert found is not None
    return float(found)


def half_a_unit(entry: PrintedNumber) -> float:
    return 0.5 / 10.0**entry.decimals + EPSILON


@tables
def test_every_printed_cell_has_its_number_and_no_other_has(paper: Paper, experiment: Table) -> None:
    due = {(experiment.name, c.row.id, c.column.id) for c in experiment.cells() if not (c.row.extra or c.column.extra)}
    assert {key for key in PRINTED[paper.id] if key[0] == experiment.name} == due


def test_nothing_was_lost_or_added() -> None:
    """897 numbers: 800 values and 97 standard deviations; five cells are printed as ``--``."""
    entries = [entry for printed in PRINTED.values() for entry in printed.values()]
    assert sum(e.value is not None for e in entries) == 800
    assert sum(e.std is not None for e in entries) == 97
    assert sum(e.raw == "--" for e in entries) == 5
    assert {name: len(printed) for name, printed in PRINTED.items()} == {"lora-clip": 110, "clip-dora": 695}


@pytest.mark.parametrize("name", PAPERS)
def test_numbers_lie_where_such_numbers_can(name: str) -> None:
    for entry in PRINTED[name].values():
        share_like = entry.unit == "%" and entry.column != "difference" and entry.value is not None
        assert not share_like or 0.0 < float(entry.value or 0) <= 100.0, entry
        assert entry.std is None or 0.0 < float(entry.std) < 2.0, entry
        assert entry.n in (None, 3, 5)


def _derived(entry: Axis, numbers: Mapping[str, float]) -> float:
    if entry.average_of:
        return mean(numbers[name] for name in entry.average_of)
    left, right = entry.difference_of
    return numbers[left] - numbers[right]


def _lines(experiment: Table) -> Iterator[tuple[Sequence[Axis], dict[str, Cell]]]:
    """Every printed row with the columns it runs along, then every column with its rows."""
    for row in experiment.rows:
        if not row.extra:
            yield experiment.columns, {column.id: Cell(row, column) for column in experiment.columns}
    for column in experiment.columns:
        yield experiment.rows, {row.id: Cell(row, column) for row in experiment.rows if not row.extra}


def _checks(paper: Paper, experiment: Table) -> Iterator[tuple[PrintedNumber, float]]:
    """Every derived number beside what its components give, along the rows and along the columns."""
    for axes, cells in _lines(experiment):
        found = {name: PRINTED[paper.id][experiment.name, c.row.id, c.column.id] for name, c in cells.items()}
        numbers = {name: float(entry.value) for name, entry in found.items() if entry.value is not None}
        yield from ((found[a.id], _derived(a, numbers)) for a in axes if a.derived)


@tables
def test_averages_and_differences_re_add_to_the_printed_ones(paper: Paper, experiment: Table) -> None:
    checks = list(_checks(paper, experiment))
    derived = any(axis.derived for axis in (*experiment.rows, *experiment.columns) if not axis.extra)
    printed = any(key[0] == experiment.name for key in PRINTED[paper.id])
    assert bool(checks) == (derived and printed)
    for entry, due in checks:
        assert float(entry.value or 0) == pytest.approx(due, abs=half_a_unit(entry)), entry


def test_the_arithmetic_test_sees_every_derived_number() -> None:
    counts = {e.id: len(list(_checks(p, e))) for p, e in TABLES}
    assert counts == {
        "lora-clip/federated": 0,
        "lora-clip/multimodal": 0,
        "lora-clip/table1": 0,
        "lora-clip/table2": 0,
        "lora-clip/text": 0,
        "clip-dora/fewer-steps": 0,
        "clip-dora/models": 0,
        "clip-dora/related": 0,
        "clip-dora/table1": 37,
        "clip-dora/table2": 15,
        "clip-dora/table3": 10,
        "clip-dora/table4": 7 + 3,  # a difference in each row, an average in each column
        "clip-dora/towers": 0,
    }


@pytest.mark.parametrize("shots", [1, 4, 16])
def test_clip_doras_tables_1_and_2_agree(shots: int) -> None:
    for column in PAPERS["clip-dora"].tables["table1"].columns:
        left = value("clip-dora", "table1", f"clip-dora-{shots}shot", column.id)
        assert left == value("clip-dora", "table2", column.id, f"b16-{shots}shot")


def test_rank_8_of_table_1_is_clip_l_of_table_2() -> None:
    printed = PRINTED["lora-clip"]
    for column in PAPERS["lora-clip"].tables["table2"].columns:
        left, right = printed["table1", "lora-r8", column.id], printed["table2", "clip-l", column.id]
        assert (left.value, left.std, left.n) == (right.value, right.std, right.n)


def test_misprints_keep_their_raw_string_and_say_how_they_are_read() -> None:
    printed = PRINTED["lora-clip"]
    for key in (("table1", "full", "aid-50"), ("table2", "vit-b", "ucm-80"), ("table2", "clip-b", "aid-50")):
        entry = printed[key]
        assert entry.raw.endswith("±12")
        assert str(entry.std) == "0.12"
        assert "read as 0.12" in entry.note
    assert all("MERGED" in e.note for e in printed.values() if e.key[0] == "table1" and e.column == "ucm-80")
    assert {e.raw for e in printed.values() if e.column == "label"} == {"(0.5%)"}


def test_only_what_the_papers_claim_to_have_measured_is_called_measured() -> None:
    def rows(paper: str, table: str, provenance: str) -> set[str]:
        return {e.row for e in PRINTED[paper].values() if e.experiment == table and e.provenance == provenance}

    assert rows("clip-dora", "table1", "measured") == {f"clip-dora-{n}shot" for n in (1, 4, 16)}
    assert rows("clip-dora", "table1", "quoted") == set()
    assert rows("clip-dora", "table3", "measured") == {"clip-lora", "clip-dora"}
    assert rows("lora-clip", "table1", "measured") == {"lora-r4", "lora-r8", "lora-r16", "lora-r32", "full"}
    full = [e for e in PRINTED["clip-dora"].values() if e.experiment == "table4" and e.column == "full"]
    assert {(e.provenance, e.reference) for e in full} == {("quoted", "40")}
