"""A run at chance beside siblings that learned: found, told, kept with its state, and never averaged in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load
from scipy import stats

from clipbench.compare.cells import Library
from clipbench.compare.verdict import compare_paper
from clipbench.registry import Cell
from clipbench.report.markdown import markdown
from clipbench.report.table import Table
from clipbench.results.collapse import at_chance, collapsed, described, guessing
from clipbench.results.record import Record
from tests.factory import record, table

CELL = ("clip-dora/table1", "clip-dora-4shot", "dtd")


def runs(scores: Sequence[float], classes: int = 10, images: int = 1000) -> list[Record]:
    """One record per seed of a ten-class set."""
    return [record(CELL, seed, score, classes=classes, test_images=images) for seed, score in enumerate(scores, 1)]


@pytest.mark.parametrize(("classes", "images"), [(10, 1000), (47, 1692), (3, 60), (1000, 50_000)])
def test_guessing_seldom_gets_further(classes: int, images: int) -> None:
    """The bound is passed by a guesser between once in 100 and once in 10,000 times, by the exact binomial law."""
    bound = guessing(classes, images)
    above = stats.binom.sf(math.floor(bound * images / 100), images, 1 / classes)
    assert 1e-4 < above < 1e-2


def test_a_collapsed_run_is_found_among_those_that_learned() -> None:
    found = runs([71.0, 10.2, 70.1])
    assert [r.seed for r in collapsed(found)] == [2]
    assert collapsed(runs([10.2, 9.9, 10.4])) == []  # all alike: the protocol does not learn, none of them collapsed
    assert collapsed(runs([71.0, 68.0, 70.1])) == []
    assert collapsed(runs([14.0, 10.2, 13.5])) == []  # nobody learned enough to say so
    assert [r.seed for r in collapsed(runs([10.0, 10.2, 70.1]))] == [1, 2]


@pytest.mark.parametrize(
    ("scores", "classes", "images"), [([50, 99, 99], 2, 1000), ([33, 100, 100], 3, 60), ([25, 90, 90], 4, 40)]
)
def test_a_collapse_among_few_classes_is_found(scores: list[float], classes: int, images: int) -> None:
    """Twice the most that guessing gives would be more than all right."""
    assert [r.seed for r in collapsed(runs(scores, classes, images))] == [1]
    assert collapsed(runs([scores[0]] * 3, classes, images)) == []
    assert collapsed(runs([scores[0], guessing(classes, images) + 1.0], classes, images)) == []


def test_an_untrained_model_does_not_collapse() -> None:
    (untrained,) = runs([10.0])
    line = replace(untrained.history[-1], train_loss=None)
    assert at_chance(untrained)
    assert not at_chance(replace(untrained, history=(line,)))


def test_what_is_described() -> None:
    found = runs([71.0, 10.2, 70.1])
    text = described(collapsed(found), found)
    assert "seed 2 collapsed (accuracy 10.20 %, guessing 10.00 %; the others 70.1 to 71.0 %)" in text
    assert f"results/{found[1].id}" in text


def test_it_is_not_averaged_and_the_cell_is_incomplete() -> None:
    paper, experiment = table(CELL[0])
    found = runs([71.0, 10.2, 70.0])
    results = compare_paper([(paper, experiment)], Library(found))
    (cell,) = [c for c in results if (c.cell.row.id, c.cell.column.id) == CELL[1:]]
    assert cell.measured is not None
    assert cell.measured.values == {1: 71.0, 3: 70.0}
    assert cell.ours is not None
    assert (cell.ours.mean, cell.ours.n) == (70.5, 2)
    assert cell.verdict == "incomplete"
    assert "seed 2 collapsed" in cell.reason
    assert "seed 2 collapsed" in markdown(Table(paper, experiment, {}, results))


def test_an_average_over_data_sets_says_so_too() -> None:
    paper, experiment = table(CELL[0])
    found = [
        record(
            (CELL[0], CELL[1], column.id),
            seed,
            10.0 if (column.id, seed) == ("dtd", 2) else 70.0,
            classes=10,
            test_images=1000,
        )
        for column in experiment.columns
        if not column.derived
        for seed in (1, 2, 3)
    ]
    row = experiment.row(CELL[1])
    average = next(column for column in experiment.columns if column.derived)
    measured = Library(found).cell(paper, experiment, Cell(row, average))
    assert measured is not None
    assert set(measured.values) == {1, 3}
    assert "seed 2 collapsed" in measured.collapsed


def test_its_trained_state_lies_in_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real pass whose second seed is led astray: its record, and no other, holds what was trained."""
    from clipbench.engine import outcome
    from tests.engine.few_shot_for_tests import few_shot
    from tests.engine.passes_for_tests import place, run_planned

    monkeypatch.setattr(outcome, "at_chance", lambda made: made.seed == 2)
    drafts = run_planned(few_shot("clip-lora-1shot", (1, 2)), place(tmp_path)).drafts
    assert ["trained.safetensors" in draft.files for draft in drafts] == [False, True]
    kept = load(drafts[1].files["trained.safetensors"])
    assert sum(value.numel() for value in kept.values()) == drafts[1].record.model.trainable_parameters
    assert all(value.isfinite().all() for value in kept.values())
    assert {name.rpartition(".")[2] for name in kept} == {"A", "B"}
