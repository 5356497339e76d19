"""One run per held-out domain and seed: what is planned, what a cell's number is, and what is said of gaps."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clipbench.cli.main import main
from clipbench.compare import domains
from clipbench.compare.cells import Library, Measured
from clipbench.compare.choices import sensitivity
from clipbench.compare.folders import compare_folders
from clipbench.compare.verdict import Comparison, compare_paper
from clipbench.data.catalogue import entry
from clipbench.data.load import Datasets
from clipbench.errors import UserError
from clipbench.plan import target_domains as held_out
from clipbench.plan.cost import images_seen
from clipbench.plan.jobs import jobs_of
from clipbench.plan.runnable import why_not
from clipbench.plan.select import make_plan, runnable_cells
from clipbench.registry import Cell, Overrides, Protocol, resolve
from clipbench.results.record import Record
from tests.factory import protocol_of, record, records, table

TABLE = "clip-dora/table3"
PACS = ("art_painting", "cartoon", "photo", "sketch")
DORA = (TABLE, "clip-dora", "pacs")
ZERO = (TABLE, "clip", "pacs")

Scores = Mapping[str, Mapping[int, float]]


def runs(scores: Scores, where: tuple[str, str, str] = DORA, overrides: Overrides | None = None) -> list[Record]:
    """Records of a cell's runs by held-out domain and seed."""
    protocol = protocol_of(*where, overrides)
    return [
        record(where, seed, score, protocol=replace(protocol, test_domain=domain), overrides=overrides)
        for domain, numbers in scores.items()
        for seed, score in numbers.items()
    ]


def every(values: Sequence[float], columns: Sequence[str] = PACS) -> Scores:
    """The same scores in every domain, seeds from 1."""
    return {domain: dict(enumerate(values, start=1)) for domain in columns}


def measured(made: Sequence[Record], where: tuple[str, str, str] = DORA) -> Measured | None:
    paper, experiment = table(where[0])
    return Library(made).cell(paper, experiment, Cell(experiment.row(where[1]), experiment.column(where[2])))


def compared(made: Sequence[Record], where: tuple[str, str, str] = DORA) -> Comparison:
    found = compare_paper([table(where[0])], Library(made))
    return next(c for c in found if (c.cell.row.id, c.cell.column.id) == where[1:])


# Plan


@pytest.mark.parametrize("profile", ["full", "smoke"])
def test_a_cell_is_planned_as_one_run_per_domain_and_seed(profile: str) -> None:
    plan = make_plan(["domains"], Overrides(profile), ["row=clip-dora", "dataset=pacs"], (4, 9))
    assert [(p.run.protocol.test_domain, p.run.seed) for p in plan.runs] == [(d, s) for d in PACS for s in (4, 9)]
    assert {p.run.protocol for p in plan.runs} == {p.resolved.protocol for p in plan.runs}
    assert [job.seeds for job in jobs_of(plan)] == [(4, 9)] * 4


def test_the_rows_of_the_table_that_run() -> None:
    plan = make_plan(["domains"], Overrides())
    rows = {"clip", "openmax", "osda-bp", "cocoop", "maple", "promptsrc", "clipn", "maple-sd"}
    rows |= {"clip-lora", "clip-dora"}
    assert {p.cell.row.id for p in plan.runs} == rows
    assert {p.cell.column.id for p in plan.runs} == {"pacs", "officehome", "digits_dg", "mini_domainnet"}
    alone = sum(p.cell.row.id in ("clip", "openmax", "clipn") for p in plan.runs)
    assert len(plan.runs) == alone + 7 * 4 * 4 * 3
    assert not plan.gaps


def test_only_a_domain_is_the_same_run_whichever_way_it_is_asked_for() -> None:
    words = ["row=clip-dora", "dataset=pacs"]
    ids = {p.run.protocol.test_domain: p.run.id for p in make_plan(["domains"], Overrides(), words, (1,)).runs}
    (only,) = make_plan(["domains"], Overrides(), [*words, "test_domain=sketch"], (1,)).runs
    (put,) = make_plan(["domains"], Overrides(fields={"test_domain": "sketch"}), words, (1,)).runs
    assert only.run.id == put.run.id == ids["sketch"]
    with pytest.raises(UserError, match="matches no cell"):
        make_plan(["domains"], Overrides(), ["test_domain=nowhere"])


def test_a_domain_of_another_benchmark_is_a_gap() -> None:
    plan = make_plan(["domains"], Overrides(fields={"test_domain": "sketch"}), ["row=clip-lora"], (1,))
    assert {p.cell.column.id for p in plan.runs} == {"pacs", "mini_domainnet"}
    assert {g.cell.column.id for g in plan.gaps} == {"officehome", "digits_dg"}
    assert "digits_dg has no domain 'sketch'; it has mnist, mnist_m, svhn, syn" in {g.reason for g in plan.gaps}


def test_what_has_no_domains_cannot_hold_one_out() -> None:
    paper, experiment = table(TABLE)
    resolved = resolve(paper, experiment, Cell(experiment.row("clip-dora"), experiment.column("pacs")))
    for dataset in ("eurosat", "my_images@1a2b3c4d5e6f"):
        other = replace(resolved, protocol=replace(resolved.protocol, dataset=dataset))
        assert why_not(other) == f"{dataset.partition('@')[0]} has no domains of which one could be held out"
        assert held_out.runs_of(other.protocol) == (other.protocol,)


@pytest.mark.parametrize(
    ("where", "digest"),
    [
        (("lora-clip/table1", "lora-r8", "ucm-80"), None),
        (("clip-dora/table1", "clip-dora-1shot", "eurosat"), None),
    ],
)
def test_other_protocols_are_their_own_run_and_cell(where: tuple[str, str, str], digest: None) -> None:
    protocol = protocol_of(*where)
    assert protocol.test_domain is digest
    assert held_out.runs_of(protocol) == (protocol,)
    assert held_out.cell_of(protocol) is protocol


def test_costs_add_up_over_the_domains() -> None:
    protocol = protocol_of(*DORA)
    each = [images_seen(p, Datasets(Path())) for p in held_out.runs_of(protocol)]
    counts = entry("pacs").domains
    assert [test for _, test in each] == [counts[d] for d in PACS]
    assert [train for train, _ in each] == [10 * (sum(counts.values()) - counts[d]) for d in PACS]


def test_the_readings_of_the_label_space_run() -> None:
    for choice in ("odg", "odg-known"):
        plan = make_plan(["domains"], Overrides(assume={"label-space": choice}), ["row=clip-dora"], (1,))
        assert len(plan.runs) == 16
        assert {p.run.protocol.label_space for p in plan.runs} == {choice}


# The number of a cell


def test_a_number_is_the_mean_over_the_domains_seed_by_seed() -> None:
    draw = random.Random(5)  # noqa: S311 - made-up scores
    scores = {d: {s: draw.uniform(20, 95) for s in (1, 2, 3)} for d in PACS}
    made = runs(scores)
    draw.shuffle(made)
    found = measured(made)
    assert found is not None
    assert found.values == {s: pytest.approx(math.fsum(scores[d][s] for d in PACS) / 4, abs=1e-9) for s in (1, 2, 3)}
    assert list(found.by_domain) == list(PACS)
    assert found.by_domain == scores
    assert (found.lacking, found.not_comparable, found.others) == ("", (), 0)


def test_a_seed_without_all_domains_has_no_number_and_is_named() -> None:
    scores = {d: dict(v) for d, v in every((95.0, 95.5, 95.2)).items()}
    del scores["cartoon"][2], scores["sketch"][2], scores["photo"][3]
    found = measured(runs(scores))
    assert found is not None
    assert set(found.values) == {1}
    assert found.lacking == "seed 2 lacks cartoon and sketch; seed 3 lacks photo"
    result = compared(runs(scores))
    assert (result.verdict, result.reason) == ("incomplete", f"1 of 3 seeds; {found.lacking}")


def test_one_domain_alone_makes_no_number_but_is_kept() -> None:
    put = Overrides(fields={"test_domain": "sketch"})
    made = [record(DORA, seed, 80.0, overrides=put) for seed in (1, 2, 3)]
    result = compared(made)
    assert result.ours is None
    assert result.measured is not None
    assert result.measured.by_domain == {"sketch": {1: 80.0, 2: 80.0, 3: 80.0}}
    assert result.verdict == "incomplete"
    assert "0 of 3 seeds; seed 1 lacks art_painting and cartoon and photo" in result.reason
    more = every((80.0, 80.0, 80.0), ("art_painting", "cartoon", "photo"))
    assert compared([*made, *runs(more)]).ours is not None  # one run, whichever way it was asked for


def test_all_seeds_of_all_domains_are_judged_as_any_other_cell() -> None:
    assert compared(runs(every((95.35, 95.34, 95.36)))).verdict == "reproduced"
    assert compared(runs(every((90.0, 90.1, 89.9)))).verdict == "deviates"


def test_another_protocol_stays_not_comparable_and_says_what_it_lacks() -> None:
    scores = {d: {1: 50.0} for d in PACS[:3]}
    result = compared(runs(scores, overrides=Overrides(fields={"limit": 16})))
    assert result.verdict == "not comparable"
    assert result.reason == "limit 16, not none; seed 1 lacks sketch"


def test_a_collapsed_run_of_one_domain_takes_its_seed_out() -> None:
    scores = {d: dict(v) for d, v in every((90.0, 91.0, 92.0)).items()}
    scores["photo"][2] = 2.0
    found = measured(runs(scores))
    assert found is not None
    assert set(found.values) == {1, 3}
    assert found.collapsed.startswith("photo held out: seed 2 collapsed")
    assert found.lacking == "seed 2 lacks photo"
    bad = dict.fromkeys((1, 2, 3), 3.0)  # a hard domain, where every seed is at chance, is no collapse
    hard = measured(runs({**every((90.0, 91.0, 92.0)), "sketch": bad}))
    assert hard is not None
    assert set(hard.values) == {1, 2, 3}


def test_the_average_over_benchmarks_names_what_its_parts_lack() -> None:
    made: list[Record] = []
    for dataset in ("pacs", "officehome", "digits_dg", "mini_domainnet"):
        where = (TABLE, "clip-dora", dataset)
        scores = {d: dict(v) for d, v in every((80.0, 84.0), tuple(entry(dataset).domains)).items()}
        if dataset == "officehome":
            del scores["product"][2]
        made += runs(scores, where)
    found = measured(made, (TABLE, "clip-dora", "avg"))
    assert found is not None
    assert found.values == {1: 80.0}
    assert found.lacking == "clip-dora/officehome: seed 2 lacks product"
    assert not found.by_domain


@pytest.mark.parametrize("sizes", [(2048, 2344, 1670, 3928), (100, 100, 100, 100), (37,)])
def test_the_test_images_of_a_mean_have_its_binomial_error(sizes: Sequence[int]) -> None:
    """Oracle: the variance of a mean of independent proportions."""
    made = [
        record(DORA, 1, 50.0, protocol=replace(protocol_of(*DORA), test_domain=d), test_images=n)
        for d, n in zip(PACS, sizes, strict=False)
    ]
    variance = sum(0.25 / n for n in sizes) / len(sizes) ** 2
    assert 0.25 / domains.test_images(made) == pytest.approx(variance, rel=1e-3)


# Quoted numbers of a method that runs here


def test_zero_shot_is_run_although_its_number_is_quoted() -> None:
    result = compared(runs(every((81.0, 81.0, 81.0)), ZERO), ZERO)
    assert result.verdict == "quoted"
    assert result.ours is not None
    assert result.ours.mean == 81.0
    assert result.assessment is not None
    assert result.assessment.difference == pytest.approx(81.0 - 95.16)
    for part in ("ODG-CLIP: M. Singha", "ours beside it: 90% interval", "follows ODG-CLIP's protocol [33]"):
        assert part in result.reason
    assert "zero-shot CLIP" not in result.reason


def test_the_finding_on_digits_is_said_where_it_belongs() -> None:
    results = {(c.cell.row.id, c.cell.column.id): c for c in compare_paper([table(TABLE)], Library([]))}
    told = {key for key, c in results.items() if "cannot be plain zero-shot CLIP" in c.reason}
    assert told == {("clip", "digits_dg"), ("clip", "avg")}
    follows = {key[0] for key, c in results.items() if "follows ODG-CLIP's protocol" in c.reason}
    assert follows == {c.cell.row.id for c in results.values() if c.verdict == "quoted"}
    assert len(follows) == 8


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("lora-clip/table1", {"resnet50-eam", "mblanet"}),
        ("clip-dora/table1", set()),
        ("clip-dora/table2", set()),
        (TABLE, {"clip", "openmax", "osda-bp", "cocoop", "maple", "promptsrc", "clipn", "maple-sd"}),
    ],
)
def test_quoted_rows_that_run(name: str, rows: set[str]) -> None:
    assert {cell.row.id for cell in runnable_cells(table(name)[1]) if cell.quoted} == rows


# Whatever else looks runs up


def test_sensitivity_takes_the_mean_over_the_domains() -> None:
    odg = Overrides(assume={"label-space": "odg"})
    base = {d: {1: 70.0 + i, 2: 71.0 + i} for i, d in enumerate(PACS)}
    other = {d: {1: 72.0 + 2 * i, 2: 74.0 + 2 * i} for i, d in enumerate(PACS)}
    del other["sketch"][2]
    paper, experiment = table(TABLE)
    found = sensitivity(paper, experiment, [*runs(base), *runs(other, overrides=odg)])
    assert found is not None
    (shift,) = found.measured
    assert shift.variant.name == "label-space=odg"
    ((cell),) = shift.cells
    assert (cell.row, cell.column, cell.seeds) == ("clip-dora", "pacs", 1)
    assert cell.shift == pytest.approx(2.0 + (0 + 1 + 2 + 3) / 4)


def test_two_folders_are_matched_domain_by_domain() -> None:
    ours = runs(every((80.0, 81.0)))
    theirs = [r for r in ours if r.protocol.test_domain != "photo"]
    found = {m.record.protocol.test_domain: m.verdict for m in compare_folders(ours, theirs)}
    assert found == dict.fromkeys(PACS, "reproduced") | {"photo": "not run"}


def test_the_commands_show_the_domains(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["--only", "row=clip-dora,dataset=pacs,test_domain=photo|sketch", "--seeds", "3", "--out", str(tmp_path)]
    assert main(["run", "domains", "--smoke", "--dry-run", "--jobs", *words]) == 0
    said = capsys.readouterr().out
    assert "pacs, tested on photo" in said
    assert "0 done, 2 to run, 0 blocked" in said
    assert main(["show", "domains", "--smoke"]) == 0
    assert "once for each target domain" in capsys.readouterr().out
    assert main(["show", "domains", "--json"]) == 0
    cells = {(c["row"], c["column"]): c for c in json.loads(capsys.readouterr().out)["cells"]}
    shown = cells["clip-dora", "pacs"]["runs"]["2"]
    due = replace(protocol_of(*DORA), test_domain="photo")
    assert shown["photo"] == record(DORA, 2, protocol=due).id
    assert list(shown) == list(PACS)
    assert "runs" in cells["clip", "pacs"]
    assert "runs" in cells["maple-sd", "pacs"]


def test_a_cell_protocol_without_a_domain_is_not_touched() -> None:
    assert held_out.domains_of(Protocol(dataset="pacs")) == ()
    assert domains.means({"": {2: 5.0, 1: 3.0}}, ()) == {1: 3.0, 2: 5.0}
    assert domains.lacking({"": {1: 3.0}}, ()) == ""
    assert domains.by_domain(records(("lora-clip/table1", "lora-r8", "ucm-80"), (1.0, 2.0)), lambda r: r.seed) == {
        "": {1: 1, 2: 2}
    }


# The smoke profile, and choices that change what is tested


def test_the_smoke_profile_runs_two_benchmarks_and_ten_rows() -> None:
    plan = make_plan(["domains"], Overrides("smoke"))
    assert {p.cell.column.id for p in plan.runs} == {"pacs", "digits_dg"}
    assert len({p.cell.row.id for p in plan.runs}) == 10
    assert {p.run.seed for p in plan.runs} == {1, 2}
    assert {gap.reason for gap in plan.gaps} == {"the smoke profile runs pacs and digits_dg of this table"}


def test_the_best_epoch_on_the_target_is_looked_for_after_every_epoch() -> None:
    best = Overrides(assume={"dg-selection": "best-test"})
    trained = {p.cell.row.id: p.run.protocol for p in make_plan(["domains"], best).runs if p.run.protocol.epochs}
    assert len(trained) == 7
    assert {(p.selection, p.tested) for p in trained.values()} == {("best-test", "every-epoch")}


def test_training_may_last_few_shots_steps_in_place_of_the_schedules(tmp_path: Path) -> None:
    """The assumption's other choice, run: its steps, whatever the number of epochs."""
    choice = Overrides("smoke", assume={"dg-step-budget": "few-shot"})
    steps = {p.run.protocol.budget_steps for p in make_plan(["domains"], choice).runs if p.cell.row.id == "clip-dora"}
    assert steps == {30}
    assert protocol_of(*DORA, Overrides(assume={"dg-step-budget": "few-shot"})).budget_steps == 500 * 16
    assert protocol_of(*DORA).budget_steps is None
    words = ["--only", "row=clip-lora,column=pacs,test_domain=photo", "--seeds", "1", "--out", str(tmp_path)]
    assert main(["run", "domains", "--smoke", *words, "--assume", "dg-step-budget=few-shot"]) == 0
    assert len(np.load(next(tmp_path.rglob("losses.npz")))["losses"]) == 30


def test_batches_may_hold_as_many_images_of_each_domain(tmp_path: Path) -> None:
    words = ["--only", "row=clip-lora,column=pacs,test_domain=photo", "--seeds", "1", "--out", str(tmp_path)]
    assert main(["run", "domains", "--smoke", *words, "--assume", "dg-domain-sampling=balanced"]) == 0
    made = json.loads(next(tmp_path.rglob("record.json")).read_text())
    assert made["protocol"]["domain_sampling"] == "balanced"
    assert made["metrics"]["accuracy"] > 2 * 100 / 7
