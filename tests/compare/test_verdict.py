"""Verdicts on made-up records: every word of the vocabulary, and what may not be compared."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from clipbench.compare.cells import Library
from clipbench.compare.folders import compare_folders
from clipbench.compare.verdict import WORDS, Comparison, compare_paper, summary
from clipbench.data.catalogue import entry
from clipbench.plan import runnable
from clipbench.registry import Overrides
from clipbench.registry.printed import load_published
from clipbench.results.record import Record
from tests.factory import PAPERS, protocol_of, record, records, table

CELL = ("lora-clip/table1", "lora-r8", "ucm-80")  # printed 99.37 ± 0.18, five repetitions
NEAR = (99.36, 99.38, 99.37, 99.35, 99.39)


def verdicts(
    made: Sequence[Record], name: str = "lora-clip/table1", **more: float
) -> dict[tuple[str, str], Comparison]:
    results = compare_paper([table(name)], Library(made), **more)
    return {(r.cell.row.id, r.cell.column.id): r for r in results}


def verdict(made: Sequence[Record], where: tuple[str, str, str] = CELL, **more: float) -> Comparison:
    return verdicts(made, where[0], **more)[where[1:]]


def test_reproduced_where_the_interval_lies_within_the_margin() -> None:
    found = verdict(records(CELL, NEAR))
    assert found.verdict == "reproduced"
    assert found.assessment is not None
    assert -0.5 < found.assessment.low < 0.0 < found.assessment.high < 0.5
    assert "90% interval" in found.reason
    assert "margin ±0.5" in found.reason


def test_the_margin_decides() -> None:
    assert verdict(records(CELL, NEAR), margin=0.1).verdict == "compatible"


def test_deviates_where_the_difference_is_shown() -> None:
    found = verdict(records(CELL, (97.0, 97.2, 97.1, 96.9, 97.3)))
    assert found.verdict == "deviates"
    assert found.assessment is not None
    assert found.assessment.difference == pytest.approx(97.1 - 99.37)


def test_compatible_says_how_many_seeds_would_tell() -> None:
    found = verdict(records(CELL, (98.4, 99.9, 99.8, 98.6, 99.4)))
    assert found.verdict == "compatible"
    assert found.assessment is not None
    need = found.assessment.seeds_needed
    assert need is None or f"about {need} seeds of ours would tell" in found.reason


def test_incomplete_with_fewer_seeds_than_the_paper() -> None:
    found = verdict(records(CELL, NEAR[:4]))
    assert (found.verdict, found.reason) == ("incomplete", "4 of 5 seeds")


def test_other_seeds_than_ours_count_as_well() -> None:
    made = [record(CELL, seed, score) for seed, score in zip((7, 11, 13, 17, 19), NEAR, strict=True)]
    assert verdict(made).verdict == "reproduced"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (Overrides(profile="smoke"), "smoke profile"),
        (Overrides(assume={"scaling": "alpha"}), "scaling alpha, not alpha/r"),
        (Overrides(assume={"split": "once"}), "split_draw once, not per-repetition"),
        (Overrides(fields={"limit": 10}), "limit 10, not none"),
        (Overrides(fields={"epochs": 3}), "epochs 3, not 10"),
        (Overrides(fields={"batch_size": 64}), "batch_size 64, not 32"),
        (Overrides(fields={"precision": "fp32"}), "precision fp32, not bf16"),
        (Overrides(fields={"backbone": "ViT-B-32-quickgelu"}), "backbone ViT-B-32-quickgelu, not ViT-L-14-quickgelu"),
        (Overrides(fields={"weights": "random"}), "weights random, not openai"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_another_protocol_is_not_comparable_and_says_why(overrides: Overrides, said: str) -> None:
    found = verdict(records(CELL, NEAR, overrides=overrides))
    assert found.verdict == "not comparable"
    assert said in found.reason
    assert found.assessment is None
    assert found.ours is not None


def test_incomplete_data_of_any_seed_is_not_comparable() -> None:
    made = records(CELL, NEAR)
    made[3] = replace(made[3], data=replace(made[3].data, complete=False, shortfall="It has 7 of 9 images."))
    found = verdict(made)
    assert found.verdict == "not comparable"
    assert "7 of 9" in found.reason


def test_the_papers_own_protocol_is_taken_before_any_other() -> None:
    other = records(
        CELL, [50.0] * 5, overrides=Overrides(fields={"epochs": 3}), finished="2027-01-01T00:00:00.000+00:00"
    )
    smoke = records(CELL, [40.0] * 5, overrides=Overrides(profile="smoke"))
    found = verdict([*other, *smoke, *records(CELL, NEAR)])
    assert found.verdict == "reproduced"
    assert found.measured is not None
    assert found.measured.others == 2
    assert verdict([*other, *smoke]).ours.mean == 50.0  # type: ignore[union-attr]


def test_a_library_can_be_narrowed_to_one_profile() -> None:
    smoke = records(CELL, [40.0] * 2, overrides=Overrides(profile="smoke"))
    paper, experiment = table(CELL[0])
    cell = next(c for c in experiment.cells() if (c.row.id, c.column.id) == CELL[1:])
    everything = [*smoke, *records(CELL, NEAR)]
    found = Library(everything, "smoke").cell(paper, experiment, cell)
    assert found is not None
    assert (found.profile, sorted(found.values)) == ("smoke", [1, 2])
    assert Library(smoke, "full").cell(paper, experiment, cell) is None


def test_not_run_and_quoted() -> None:
    found = verdicts([])
    assert found["lora-r8", "ucm-80"].verdict == "not run"
    assert found["lora-r8", "ucm-80"].reason == "no record in this results folder"
    assert found["mblanet", "ucm-80"].verdict == "quoted"
    assert "MBLANet" in found["mblanet", "ucm-80"].reason


@pytest.mark.usefixtures("no_method_is_implemented")
def test_not_run_says_what_is_missing_in_the_code() -> None:
    assert "the method lora is not implemented yet" in verdicts([], "lora-clip/table2")["mamba-b", "ucm-80"].reason


def test_unobtainable_where_the_catalogue_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = replace(entry("ucm"), gone="its server was switched off in 2030")
    monkeypatch.setattr(runnable, "entry", lambda name: gone if name == "ucm" else entry(name))
    found = verdicts([])
    assert found["lora-r8", "ucm-80"].verdict == "unobtainable"
    assert found["lora-r8", "ucm-80"].reason == "its server was switched off in 2030"
    assert found["lora-r8", "aid-20"].verdict == "not run"
    assert verdict(records(CELL, NEAR)).verdict == "reproduced"  # who has it still may compare


def test_a_row_of_ours_has_no_verdict_on_the_paper() -> None:
    where = ("lora-clip/table1", "linear-probe", "ucm-80")
    assert where[1:] not in verdicts([])
    found = verdict(records(where, NEAR), where)
    assert found.verdict == "not comparable"
    assert found.reason == "the paper prints no number here"


def test_table_two_takes_the_records_of_table_one() -> None:
    assert protocol_of(*CELL) == protocol_of("lora-clip/table2", "clip-l", "ucm-80")
    found = verdict(records(CELL, NEAR), ("lora-clip/table2", "clip-l", "ucm-80"))
    assert found.verdict == "reproduced"
    assert found.measured is not None
    assert [r.origin.experiment for r in found.measured.records] == ["lora-clip/table1"] * 5


def test_the_summary_counts_printed_numbers_only() -> None:
    results = list(
        verdicts([*records(CELL, NEAR), *records(("lora-clip/table1", "linear-probe", "ucm-80"), NEAR)]).values()
    )
    counts = summary(results)
    printed = [
        p for p in load_published(PAPERS["lora-clip"]).values() if p.experiment == "table1" and p.value is not None
    ]
    assert sum(counts.values()) == len(printed)
    assert counts["reproduced"] == 1
    assert counts["not run"] == 29
    assert list(counts) == [word for word in WORDS if word in counts]


# Averages and differences


def dora(row: str, scores: Sequence[float], seeds: Sequence[int]) -> list[Record]:
    where = ("clip-dora/table4", row, "clip-dora")
    return [record(where, seed, score) for seed, score in zip(seeds, scores, strict=True)]


def test_an_average_is_taken_seed_by_seed_over_the_seeds_that_all_have() -> None:
    made = [
        *dora("kvasir", (80.0, 82.0, 84.0), (1, 2, 3)),
        *dora("clinicdb", (70.0, 71.0, 72.0), (1, 2, 3)),
        *dora("isic2016", (90.0, 91.0), (2, 3)),
        *dora("busi", (60.0, 66.0, 61.0), (1, 2, 3)),
    ]
    found = verdict(made, ("clip-dora/table4", "avg", "clip-dora"))
    assert found.measured is not None
    assert found.measured.values == {
        2: pytest.approx((82 + 71 + 90 + 66) / 4),
        3: pytest.approx((84 + 72 + 91 + 61) / 4),
    }
    assert {r.seed for r in found.measured.records} == {2, 3}
    assert len(found.measured.records) == 8


def test_an_average_without_one_of_its_parts_is_not_run() -> None:
    found = verdict(dora("kvasir", (80.0, 82.0), (1, 2)), ("clip-dora/table4", "avg", "clip-dora"))
    assert found.measured is None
    assert found.verdict == "not run"


def test_an_average_with_one_part_of_another_protocol_is_not_comparable() -> None:
    made = [r for row in ("kvasir", "clinicdb", "isic2016") for r in dora(row, (80.0, 81.0, 82.0), (1, 2, 3))]
    made += records(
        ("clip-dora/table4", "busi", "clip-dora"), (60.0, 61.0, 62.0), overrides=Overrides(fields={"limit": 5})
    )
    found = verdict(made, ("clip-dora/table4", "avg", "clip-dora"))
    assert found.verdict == "not comparable"
    assert "limit 5" in found.reason


# Numbers that follow from the architecture

TOWER = 303_179_776  # ViT-L/14 vision tower without its projection (PROTOCOLS 5.2)


@pytest.mark.parametrize(("rank", "share"), [(4, 0.27), (8, 0.53), (16, 1.04), (32, 2.04)])
def test_the_shares_of_the_text_reproduce_and_the_labels_do_not(rank: int, share: float) -> None:
    trainable = 196_608 * rank + 30 * 1024 + 30
    where = ("lora-clip/text", f"lora-r{rank}", "text")
    made = record(where, 1, 98.0, trainable_parameters=trainable, total_parameters=TOWER + trainable)
    found = verdicts([made], "lora-clip/text")
    text, label = found[where[1:]], found[where[1], "label"]
    assert text.published is not None
    assert float(text.published.value or 0) == share
    assert text.verdict == "reproduced"
    assert text.ours is not None
    assert text.ours.mean == pytest.approx(100 * trainable / (TOWER + trainable))
    assert label.verdict == ("reproduced" if rank == 8 else "deviates")  # only 0.53 rounds to the printed 0.5


def test_an_exact_number_needs_one_run_and_no_interval() -> None:
    where = ("lora-clip/text", "lora-r4", "text")
    for share, word in (
        (0.2650001, "reproduced"),
        (0.2749999, "reproduced"),
        (0.2649, "deviates"),
        (0.2751, "deviates"),
    ):
        made = record(where, 1, 98.0, trainable_parameters=round(share * 1e9), total_parameters=100_000_000_000)
        found = verdict([made], where)
        assert (found.verdict, found.assessment) == (word, None)


# Two folders


def test_folders_with_the_same_numbers_are_reproduced() -> None:
    ours = records(CELL, NEAR)
    (match,) = compare_folders(ours, list(reversed(ours)))
    assert (match.verdict, match.reason) == ("reproduced", "identical numbers, seed by seed")


def test_folders_with_other_numbers_are_judged_as_a_paper_would_be() -> None:
    smoke = Overrides(profile="smoke")
    ours = records(CELL, (80.0, 80.2, 80.1, 79.9, 80.3), overrides=smoke, test_images=20_000, train_images=1000)
    near = records(CELL, (80.1, 80.0, 80.2, 80.1, 80.0), overrides=smoke, test_images=20_000, train_images=1000)
    far = records(CELL, (90.0, 90.2, 90.1, 89.9, 90.3), overrides=smoke, test_images=20_000, train_images=1000)
    assert [m.verdict for m in compare_folders(ours, near)] == ["reproduced"]
    assert [m.verdict for m in compare_folders(ours, far)] == ["deviates"]


def test_folders_never_mix_protocols_and_name_what_only_one_has() -> None:
    ours = [*records(CELL, NEAR), *records(("lora-clip/table1", "full", "ucm-80"), NEAR)]
    theirs = [*records(CELL, NEAR), *records(("lora-clip/table1", "lora-r4", "ucm-80"), NEAR)]
    found = {m.record.origin.row: m for m in compare_folders(ours, theirs)}
    assert {row: m.verdict for row, m in found.items()} == {
        "lora-r8": "reproduced",
        "full": "not run",
        "lora-r4": "not run",
    }
    assert "other folder" in found["full"].reason
    assert "this folder" in found["lora-r4"].reason
    assert (found["lora-r4"].ours, len(found["lora-r4"].theirs)) == ({}, 5)


def test_records_survive_json() -> None:
    for made in (record(CELL), record(CELL, overrides=Overrides(assume={"scaling": "alpha"}, fields={"limit": 3}))):
        assert Record.from_json(json.loads(json.dumps(made.to_json()))) == made
