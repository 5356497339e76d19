"""The ledger, the plan of every choice, and how far each choice moves the numbers."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from clipbench.cli.main import main
from clipbench.compare.cells import Library
from clipbench.compare.choices import gains, sensitivity
from clipbench.errors import UserError
from clipbench.plan.choices import plan_choices, variants
from clipbench.registry import Cell, Overrides, load_papers
from clipbench.report.sensitivity import render, write
from clipbench.results.record import Record
from tests.factory import records, table

WHERE = ("lora-clip/table1", "lora-r8", "ucm-80")
ONLY = ["column=ucm-80", "row=lora-r8"]
MAMBA = ["column=ucm-80", "row=mamba-b"]
MISSING = {
    "mamba-batch-norm=batch": "the batch norms stay frozen: the seeds of a pass share one backbone, whose running "
    "averages would mix them",
    "mamba-drop-path=pretraining": "our MambaVision has no stochastic depth",
}
"""Readings of Table II's backbone that nothing runs, and why."""


@pytest.mark.parametrize("kind", ["text", "md", "json"])
def test_the_ledger_lists_every_assumption_and_choice(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["assumptions", "--format", kind]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for paper in load_papers():
        for assumption in paper.assumptions.values():
            assert assumption.id in text
            assert all(name in text for name in assumption.choices)


def test_the_ledger_of_one_experiment(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["assumptions", "table1", "--format", "json"]) == 0
    entries = {a["id"]: a for a in json.loads(capsys.readouterr().out)["lora-clip"]}
    assert "mamba-targets" not in entries
    assert [r["name"] for r in entries["scaling"]["choices"] if r["default"]] == ["alpha-over-r"]
    assert [r["name"] for r in entries["adapter-init"]["choices"]] == ["kaiming", "normal"]


def test_the_ledger_says_what_cannot_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["assumptions", "lora-clip/table2", "--format", "json"]) == 0
    entries = json.loads(capsys.readouterr().out)["lora-clip"]
    assert {f"{a['id']}={r['name']}" for a in entries for r in a["choices"] if r["missing"]} == set(MISSING)


@pytest.mark.parametrize("profile", ["full", "smoke"])
def test_every_reading_once_around_the_default(profile: str) -> None:
    plan = plan_choices(["table1"], Overrides(profile), ONLY, [1])
    made = {tuple(p.overrides.assume.items()) for p in plan.runs}
    assert () in made
    assert all(len(assume) <= 1 for assume in made)
    paper, experiment = table("lora-clip/table1")
    shadowed = {"batch-size", "precision"} if profile == "smoke" else set()
    due = {
        (v.assumption.id, v.choice.name)
        for v in variants(paper, experiment)
        if not v.default and not v.choice.missing and v.assumption.id not in shadowed
        and not v.assumption.id.startswith(("full-tuning", "eam-", "emscnet-", "mblanet-", "vit-b-"))
    }  # fmt: skip
    assert {assume[0] for assume in made if assume} == due
    assert len(plan.runs) == len(due) + 1
    assert not [g for g in plan.gaps if "is skipped" in g.reason and "eam-" not in g.reason]


def test_a_reading_that_nothing_runs_is_skipped_by_name() -> None:
    plan = plan_choices(["lora-clip/table2"], Overrides("smoke"), MAMBA, [1])
    skipped = {g.reason for g in plan.gaps if "is skipped" in g.reason}
    assert skipped == {f"the choice {name} is skipped: {why}" for name, why in MISSING.items()}


def test_the_command_plans_it_and_names_what_it_skips(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["run", "lora-clip/table2", "--smoke", "--only", ",".join(MAMBA), "--dry-run", "--out", str(tmp_path)]
    assert main([*options, "--assume", "all"]) == 0
    text = capsys.readouterr().out
    assert "mamba-drop-path=pretraining is skipped" in text
    assert main([*options, "--assume", "all,scaling=alpha"]) == 2
    assert "one at a time" in capsys.readouterr().err


def made(profile: str = "full") -> list[Record]:
    """Default 90 on average; scaling=alpha 2 points below in every seed; pooling=cls above by 0.5 on average."""
    scores = {"": [90.0, 90.4, 89.6], "scaling=alpha": [88.1, 88.3, 87.6], "pooling=cls": [90.0, 91.4, 90.1]}
    found = []
    for word, values in scores.items():
        assume = dict([word.split("=")]) if word else {}
        found += records(WHERE, values, overrides=Overrides(profile, assume))
    return found


def test_shifts_by_hand() -> None:
    paper, experiment = table("lora-clip/table1")
    result = sensitivity(paper, experiment, made())
    assert result is not None
    shifts = {s.variant.name: s for s in result.measured}
    assert list(shifts) == ["scaling=alpha", "pooling=cls"]
    alpha = shifts["scaling=alpha"]
    assert alpha.sample is not None
    assert alpha.sample.mean == pytest.approx(-2.0)
    assert alpha.reach == pytest.approx(4.302653 * alpha.sample.std / 3**0.5, rel=1e-5)
    assert [(c.row, c.column, c.seeds) for c in alpha.cells] == [("lora-r8", "ucm-80", 3)]
    undone = {s.variant.name: s.why for s in result.shifts if s.sample is None}
    assert undone["head-bias=no"] == "not run"


def test_what_cannot_run_shifts_nothing() -> None:
    found = [*made(), *records(("lora-clip/table2", "mamba-b", "ucm-80"), [91.0, 91.2, 90.9])]
    result = sensitivity(*table("lora-clip/table2"), found)
    assert result is not None
    undone = {s.variant.name: s.why for s in result.shifts if s.sample is None}
    assert {name: undone[name] for name in MISSING} == {n: f"cannot run yet: {why}" for n, why in MISSING.items()}


def test_gains_are_the_claims_of_the_paper() -> None:
    assert [round(g.points, 2) for g in gains(*table("lora-clip/table1"))] == [1.44, 0.78, 0.23, 0.64]
    assert [g.points for g in gains(*table("lora-clip/table2"))] == [4.55]
    assert sorted(g.points for g in gains(*table("clip-dora/table1"))) == [0.13, 0.28, 0.7, 1.15, 1.76]


@pytest.mark.parametrize("profile", ["full", "smoke"])
def test_table_and_plot(profile: str, tmp_path: Path) -> None:
    paper, experiment = table("lora-clip/table1")
    result = sensitivity(paper, experiment, made(profile))
    assert result is not None
    for kind in ("text", "md"):
        text = render([result], kind)
        assert "-2.00 ±" in text
        assert "1.44  LoRA-CLIP (r = 16)" in text
        assert ("SMOKE" in text) == (profile == "smoke")
        assert ("139%" in text) == (profile == "full")
    values = json.loads(render([result], "json"))[0]
    assert values["profile"] == profile
    written = write(result, tmp_path)
    assert [p.name for p in written] == [f"table1-assumptions.{s}" for s in ("png", "svg", "csv")]
    assert written[0].read_bytes().startswith(b"\x89PNG")
    assert ("smoke profile" in written[1].read_text("utf-8")) == (profile == "smoke")
    lines = list(csv.DictReader(io.StringIO(written[2].read_text("utf-8"))))
    assert {line["choice"] for line in lines if line["kind"] == "choice"} == {"alpha", "cls"}
    assert sum(line["kind"] == "claimed gain" for line in lines) == 4


def test_nothing_to_show_says_what_to_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--assumptions", "table1", "--out", str(tmp_path)]) == 2
    assert "--assume all" in capsys.readouterr().err
    assert sensitivity(*table("lora-clip/table1"), records(WHERE, [90.0])) is None


def test_other_readings_do_not_replace_the_default_in_a_smoke_table() -> None:
    """The default of the smoke profile is what tables show, even where another choice was run later."""
    paper, experiment = table("lora-clip/table1")
    cell = Cell(experiment.row("lora-r8"), experiment.column("ucm-80"))
    late = "2026-02-02T00:00:00.000+00:00"
    other = records(WHERE, [10.0], overrides=Overrides("smoke", {"pooling": "cls"}), finished=late)
    found = Library([*records(WHERE, [80.0], overrides=Overrides("smoke")), *other]).cell(paper, experiment, cell)
    assert found is not None
    assert found.values == {1: 80.0}
    assert found.others == 1


def test_a_reading_that_does_not_exist_is_still_refused() -> None:
    from clipbench.plan.select import make_plan

    with pytest.raises(UserError, match="has no choice"):
        make_plan(["table1"], Overrides("full", {"scaling": "nothing"}))
