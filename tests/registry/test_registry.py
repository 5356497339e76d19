"""Invariants over every file of the registry: what is written there resolves, is used, and agrees with itself."""

from __future__ import annotations

from functools import cache

import pytest

from clipbench.errors import UserError
from clipbench.plan.runnable import why_not
from clipbench.registry import Cell, Overrides, Paper, Resolved, Run, Table, find, load_papers, resolve
from clipbench.registry.resolve import assumptions_in_use

PAPERS = {paper.id: paper for paper in load_papers()}
TABLES = [(p, e) for p in PAPERS.values() for e in p.tables.values() if e.rows]
FIGURES = [(p, e) for p in PAPERS.values() for e in p.tables.values() if not e.rows]
CHOICES = [(p, a.id, name) for p in PAPERS.values() for a in p.assumptions.values() for name in a.choices]
KINDS = {"profile", "stated", "code", "ours", "assumed"}

tables = pytest.mark.parametrize(("paper", "experiment"), TABLES, ids=[e.id for _, e in TABLES])
figures = pytest.mark.parametrize(("paper", "experiment"), FIGURES, ids=[e.id for _, e in FIGURES])
papers = pytest.mark.parametrize("paper", PAPERS.values(), ids=PAPERS)


def cells_with_recipe(experiment: Table) -> list[Cell]:
    return [c for c in experiment.cells() if not c.derived and (c.row.recipe or c.column.recipe)]


def resolved(paper_id: str, table: str, row: str, column: str) -> Resolved:
    paper = PAPERS[paper_id]
    experiment = paper.tables[table]
    return resolve(paper, experiment, Cell(experiment.row(row), experiment.column(column)))


def test_the_registry_holds_both_papers_whole() -> None:
    names = {p.id: sorted(p.tables) for p in PAPERS.values()}
    assert names == {
        "lora-clip": [
            *("federated", "federated-curves", "figure3", "figure4", "multimodal", "multimodal-curves"),
            *("table1", "table2", "text"),
        ],
        "clip-dora": [
            *("fewer-steps", "fewer-steps-curves", "figure2", "models", "models-curves", "related", "related-curves"),
            *("table1", "table2", "table3", "table4", "towers", "towers-curves"),
        ],
    }


@tables
def test_every_row_has_a_recipe_or_is_quoted(paper: Paper, experiment: Table) -> None:
    for cell in experiment.cells():
        if not cell.derived and not (cell.row.recipe or cell.column.recipe):
            assert cell.quoted, f"{experiment.id}, {cell.row.id}"
        assert cell.quoted is None or cell.quoted in paper.references


@tables
def test_every_cell_resolves_and_every_field_says_where_it_comes_from(paper: Paper, experiment: Table) -> None:
    for cell in cells_with_recipe(experiment):
        found = resolve(paper, experiment, cell)
        due = {"profile", "task", "backbone", "weights", "dataset"} | (set() if found.missing else {"method"})
        assert due <= set(found.basis)
        assert all(s.kind in KINDS and s.source for s in found.basis.values())
        assert set(found.basis) == set(found.protocol.as_dict())


@tables
def test_an_experiment_has_what_a_run_needs(paper: Paper, experiment: Table) -> None:
    assert experiment.protocol in paper.protocols
    assert experiment.seeds
    assert all(experiment.metric_of(c) and experiment.unit_of(c) for c in experiment.cells())
    assert all(isinstance(seed, int) for seed in experiment.seeds)
    assert len(set(experiment.seeds)) == len(experiment.seeds)


@figures
def test_a_figure_draws_cells_of_its_source(paper: Paper, experiment: Table) -> None:
    source = paper.tables[experiment.source or "no source"]
    assert experiment.y
    assert experiment.panels
    for panel in experiment.panels:
        assert [source.row(r).id for r in panel.rows] == list(panel.rows)
        assert [source.column(c).id for c in panel.columns] == list(panel.columns)


@papers
def test_every_recipe_and_reference_is_used(paper: Paper) -> None:
    axes = [a for e in paper.tables.values() for a in (*e.rows, *e.columns)]
    named = {name for axis in axes if axis.recipe for name in axis.recipe.split("+")}
    assert named == set(paper.recipes)
    assert {axis.quoted for axis in axes if axis.quoted} <= set(paper.references)


@papers
def test_every_assumption_is_used(paper: Paper) -> None:
    used = set().union(*(assumptions_in_use(paper, e) for e in paper.tables.values()))
    assert used == set(paper.assumptions)


@pytest.mark.parametrize(("paper", "name", "choice"), CHOICES, ids=[f"{p.id}-{a}={r}" for p, a, r in CHOICES])
def test_every_reading_resolves_to_a_protocol_of_its_own(paper: Paper, name: str, choice: str) -> None:
    assumption = paper.assumptions[name]
    experiment, cell = _first_cells(paper.id)[name]
    default = resolve(paper, experiment, cell)
    other = resolve(paper, experiment, cell, Overrides(assume={name: choice}))
    assert f"{name}={choice}" in {s.source for s in other.basis.values()}
    assert (other.protocol == default.protocol) == (choice == assumption.take)
    assert assumption.choices[choice].means
    if assumption.choices[choice].missing:
        assert why_not(other)


@cache
def _first_cells(paper_id: str) -> dict[str, tuple[Table, Cell]]:
    """For each assumption, the first cell whose protocol shows it."""
    first: dict[str, tuple[Table, Cell]] = {}
    for experiment in PAPERS[paper_id].tables.values():
        for cell in cells_with_recipe(experiment):
            for standing in resolve(PAPERS[paper_id], experiment, cell).basis.values():
                if standing.kind == "assumed":
                    first.setdefault(standing.source.partition("=")[0], (experiment, cell))
    return first


@papers
def test_the_default_reading_can_run_and_readings_differ(paper: Paper) -> None:
    for assumption in paper.assumptions.values():
        assert assumption.default.missing is None
        sets = [repr(sorted(r.set.items())) for r in assumption.choices.values()]
        assert len(set(sets)) == len(sets), assumption.id


def test_names_and_aliases_are_unique_and_found() -> None:
    names = [n for p in PAPERS.values() for e in p.tables.values() for n in (e.id, *e.aliases)]
    assert len(set(names)) == len(names)
    aliases = {"fewshot": "table1", "backbones": "table2", "domains": "table3", "segmentation": "table4"}
    for alias, table in aliases.items():
        assert [e.id for _, e in find([alias])] == [f"clip-dora/{table}"]
    assert [e.id for _, e in find(["table1"])] == ["lora-clip/table1"]
    printed = [e for _, e in find(["clip-dora"]) if e.panels or not all(row.extra for row in e.rows)]
    assert {e.name for e in printed} >= {"table1", "table2", "table3", "table4", "figure2"}


def test_an_unknown_experiment_gets_a_near_match() -> None:
    with pytest.raises(UserError, match=r"fewshots.*Did you mean fewshot\?"):
        find(["fewshots"])


@pytest.mark.parametrize("column", ["ucm-80", "aid-20", "aid-50", "nwpu-10", "nwpu-20", "optimal31-80"])
def test_rank_8_of_table_1_and_clip_l_of_table_2_are_the_same_runs(column: str) -> None:
    left = resolved("lora-clip", "table1", "lora-r8", column).protocol
    right = resolved("lora-clip", "table2", "clip-l", column).protocol
    assert left == right
    assert left.digest == right.digest


@pytest.mark.parametrize("shots", [1, 4, 16])
def test_clip_doras_table_2_shares_its_runs_with_table_1(shots: int) -> None:
    datasets = [c for c in PAPERS["clip-dora"].tables["table1"].columns if not c.derived]
    for column in datasets:
        left = resolved("clip-dora", "table1", f"clip-dora-{shots}shot", column.id).protocol
        right = resolved("clip-dora", "table2", column.id, f"b16-{shots}shot").protocol
        assert left.digest == right.digest


def test_lora_and_dora_of_clip_dora_differ_by_the_method_alone() -> None:
    """The paper's 'fair comparison': everything but the adapter is shared."""
    for table, rows, column in (
        ("table1", ("clip-lora-4shot", "clip-dora-4shot"), "dtd"),
        ("table3", ("clip-lora", "clip-dora"), "pacs"),
    ):
        lora, dora = (resolved("clip-dora", table, row, column).protocol.as_dict() for row in rows)
        changed = {k for k in lora | dora if lora.get(k) != dora.get(k)}
        assert changed == {"method", "targets", "dora_dropout", "norm_axis", "detach_norm", "decay_magnitude"}


def test_the_name_of_a_run_never_changes() -> None:
    """Records on disk are found by these names. A change here orphans them: change the protocol, not the hash."""
    found = resolved("lora-clip", "table1", "lora-r16", "aid-20").protocol
    assert found.digest == "dc64be48c4bbd20d"
    assert Run(found, seed=1).id == "7ec955354451a450"


@pytest.mark.parametrize(
    ("row", "column", "epochs"),
    [
        ("coop-16-1shot", "eurosat", 50),
        ("coop-16-4shot", "eurosat", 100),
        ("coop-16-16shot", "dtd", 200),
        ("coop-16-16shot", "imagenet", 50),
        ("kgcoop-16shot", "imagenet", 100),
    ],
)
def test_a_recipe_has_cases_by_shots_and_data_set(row: str, column: str, epochs: int) -> None:
    found = resolved("clip-dora", "table1", row, column)
    assert found.protocol.epochs == epochs
    assert found.basis["epochs"].kind == "code"
