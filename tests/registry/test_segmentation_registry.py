"""What of CLIP-DoRA's Table 4 runs: every cell, every choice, and the words that belong to no other task."""

from __future__ import annotations

from typing import Any

import pytest

from clipbench.audit.architecture import trainable_and_total
from clipbench.compare.cells import Library
from clipbench.compare.verdict import compare_paper
from clipbench.plan.choices import variants
from clipbench.plan.runnable import why_not
from clipbench.plan.select import make_plan
from clipbench.registry import Cell, Overrides, resolve
from tests.factory import record, table

PAPER, TABLE4 = table("clip-dora/table4")
CELLS = [cell for cell in TABLE4.cells() if not cell.derived]


def _gap(cell: Cell, assume: dict[str, str] | None = None, **fields: Any) -> str | None:
    return why_not(resolve(PAPER, TABLE4, cell, Overrides(assume=assume or {}, fields=fields)))


def _cell(row: str, column: str) -> Cell:
    return Cell(TABLE4.row(row), TABLE4.column(column))


def test_every_cell_runs() -> None:
    assert len(CELLS) == 12
    assert [_gap(cell) for cell in CELLS] == [None] * 12


def test_every_reading_runs_but_one() -> None:
    kvasir = _cell("kvasir", "clip-dora")
    gaps = {v.name: v.choice.missing or _gap(kvasir, {v.assumption.id: v.choice.name}) for v in variants(PAPER, TABLE4)}
    assert len(gaps) > 25
    assert {name for name, gap in gaps.items() if gap} == {"segmentation-prompt=mean"}


@pytest.mark.parametrize("number", range(10))
def test_prompts(number: int) -> None:
    choice = {"segmentation-prompt": f"p{number}"}
    assert _gap(_cell("isic2016", "clip-dora"), choice) is None
    busi = _gap(_cell("busi", "clip-dora"), choice)
    assert busi is None if number < 7 else "only p0 to p6" in (busi or "")


def test_parameters_of_the_choices() -> None:
    """PROTOCOLS 4.4: the text's placement, the one that gives the printed figure, and full tuning in two choices."""

    def count(column: str, **assume: str) -> int:
        assumed = {name.replace("_", "-"): choice for name, choice in assume.items()}
        return trainable_and_total(
            resolve(PAPER, TABLE4, _cell("parameters", column), Overrides(assume=assumed)).protocol, 0
        )[0]

    assert count("clip-dora") == 1_114_721
    assert count("clip-dora", segmentation_placement="printed-count") == 2_276_705
    assert count("full") == 1_127_009
    assert count("full", full_tuning_gradient="flows") == 150_747_746


def test_words_of_another_task() -> None:
    fewshot = table("clip-dora/table1")
    cell = next(c for c in fewshot[1].cells() if not c.derived and not c.quoted and "dora" in c.row.id)
    assert why_not(resolve(*fewshot, cell, Overrides(fields={"loss": "dice"})))
    for name, value in {"prompt_type": "p1", "encoder_gradient": True}.items():
        found = resolve(*fewshot, cell, Overrides(fields={name: value}))
        assert "where task is segmentation" in found.ignored[name]
        assert found.protocol.get(name) is None
    assert "none of the task" in (_gap(_cell("kvasir", "full"), loss="cross-entropy") or "")


def test_a_run_is_named_by_its_dice() -> None:
    """The run of Kvasir also counts the parameters, two rows above; asked for those alone, it is theirs."""
    rows = {p.cell.row.id for p in make_plan(["segmentation"], Overrides("smoke")).runs}
    assert rows == {"kvasir", "clinicdb", "isic2016", "busi"}
    alone = make_plan(["segmentation"], Overrides("smoke"), ["row=parameters|share"]).runs
    assert {p.cell.row.id for p in alone} == {"parameters"}
    assert {p.run.id for p in alone} < {p.run.id for p in make_plan(["segmentation"], Overrides("smoke")).runs}


def _said(column: str, **fields: Any) -> str:
    """Why Kvasir's number under these fields is not comparable."""
    made = record(("clip-dora/table4", "kvasir", column), overrides=Overrides(fields=fields))
    (found,) = [c for c in compare_paper([(PAPER, TABLE4)], Library([made])) if c.cell == _cell("kvasir", column)]
    return found.reason


def test_a_decoder_drawn_at_random_is_told() -> None:
    """On a CLIP's towers the decoder knows nothing, and under adapters it stays so but for its last layers."""
    clip = {"backbone": "ViT-B-16-quickgelu", "weights": "openai"}
    drawn, frozen = "decoder drawn at random", "under dora that decoder is frozen but for its "
    assert f"{drawn}; {frozen}up-convolution" in _said("clip-dora", **clip)
    assert f"{frozen}adapters and up-convolution" in _said("clip-dora", **clip, towers="all")
    full = _said("full", **clip)
    assert drawn in full
    assert "frozen" not in full
    assert "decoder" not in _said("clip-dora", weights="random") + _said("clip-dora", epochs=3)
