"""Two methods beside each other: against scipy, against simulation, and by the command."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from clipbench.cli.main import main
from clipbench.compare.rows import RowDifference, compare_rows
from clipbench.errors import UserError
from clipbench.results.record import Record
from clipbench.results.scores import ImageScores, image_scores
from clipbench.results.store import Draft, Store
from tests.factory import record

DORA, LORA = ("clip-dora/table1", "clip-dora-1shot", "eurosat"), ("clip-dora/table1", "clip-lora-1shot", "eurosat")
Right = NDArray[np.bool_]


def compared(first: Sequence[Right], second: Sequence[Right], margin: float = 0.5) -> RowDifference:
    """``[seed][image]`` of right answers on either side."""
    scores: dict[str, ImageScores] = {}
    records: list[Record] = []
    for where, side in ((DORA, first), (LORA, second)):
        for seed, right in enumerate(side, start=1):
            made = record(where, seed, 100.0 * float(right.mean()))
            scores[made.id] = ImageScores(100.0 * right, "the same")
            records.append(made)
    (found,) = compare_rows(records, ("clip-dora", "clip-lora"), lambda r: scores[r.id], margin)
    return found


def test_mcnemar_is_scipys_binomial_test() -> None:
    random = np.random.default_rng(1)
    first, second = random.random((2, 200)) < 0.8, random.random((2, 200)) < 0.7
    for seed, (better, worse, p) in compared(first, second).mcnemar.items():
        assert better == int((first[seed - 1] & ~second[seed - 1]).sum())
        assert worse == int((second[seed - 1] & ~first[seed - 1]).sum())
        assert p == pytest.approx(stats.binomtest(better, better + worse).pvalue, rel=1e-9)


def test_one_seed_has_the_error_of_its_images() -> None:
    """The bootstrap's interval against the normal one of the mean of paired differences."""
    random = np.random.default_rng(2)
    first, second = random.random((1, 4000)) < 0.8, random.random((1, 4000)) < 0.7
    found = compared(first, second)
    differences = 100.0 * (first[0].astype(float) - second[0])
    reach = stats.norm.ppf(0.95) * differences.std(ddof=1) / np.sqrt(4000)
    assert found.difference == pytest.approx(differences.mean())
    assert (found.high - found.low) / 2 == pytest.approx(reach, rel=0.08)  # a thousand draws: 2.2 % of the error


def test_many_seeds_without_image_noise_have_students_interval() -> None:
    """Every image of a seed moves alike, so that the images add nothing: a paired t test over seeds."""
    random = np.random.default_rng(3)
    counts = random.integers(20, 60, 12)
    second = np.zeros((12, 100), dtype=bool)
    first = np.array([np.arange(100) < count for count in counts])
    spread = 100.0 * (first.mean(axis=1) - second.mean(axis=1))
    low, high = stats.t.interval(0.9, 11, spread.mean(), stats.sem(spread))
    found = compared(first, second)
    # The images are drawn anew all the same, which can only widen it.
    assert found.low <= low + 0.05
    assert found.high >= high - 0.05


@pytest.mark.parametrize("seeds", [1, 3])
def test_equal_methods_are_seldom_called_different(seeds: int) -> None:
    """Two methods of equal accuracy, each with a spread over seeds and one test list: at most 5 % (and its noise)."""
    random = np.random.default_rng(4)
    wrong, spread = 0, 0.02 if seeds > 1 else 0.0
    for _ in range(120):
        hard = random.random(300)
        sides = [
            [hard + 0.1 * random.standard_normal(300) < 0.7 + spread * random.standard_normal() for _ in range(seeds)]
            for _ in range(2)
        ]
        wrong += "better" in compared(*sides).verdict
    assert wrong <= 13  # 5 % of 120 is 6; 13 is three standard errors more


def test_the_verdicts() -> None:
    random = np.random.default_rng(5)
    right = random.random((3, 2000)) < 0.8
    assert compared(right, right).verdict == "equal"
    assert compared(right, right & (random.random((3, 2000)) < 0.9)).verdict == "clip-dora is better"
    assert compared(right & (random.random((3, 2000)) < 0.9), right).verdict == "clip-lora is better"
    assert compared(right[:, :50], random.random((3, 50)) < 0.8).verdict == "cannot be told"


def stored(out: Path, where: tuple[str, str, str], seed: int, right: Right, images: int = 0) -> None:
    labels = np.arange(len(right), dtype=np.uint16) % 10 + images
    buffer = io.BytesIO()
    np.savez_compressed(buffer, labels=labels, predictions=np.where(right, labels, labels + 1).astype(np.uint16))
    made = record(where, seed, 100.0 * float(right.mean()))
    Store(out / "results").publish([Draft(made, {"predictions.npz": buffer.getvalue()})])


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    random = np.random.default_rng(6)
    for seed in (1, 2, 3):
        right = random.random(500) < 0.8
        stored(tmp_path, DORA, seed, right)
        stored(tmp_path, LORA, seed, right & (random.random(500) < 0.9))
    words = ["compare", "--out", str(tmp_path), "--rows", "clip-dora", "clip-lora"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "clip-dora is better" in out
    assert "eurosat, 1 shot, ViT-B-16-quickgelu" in out
    assert main([*words, "--format", "json"]) == 0
    (setting,) = json.loads(capsys.readouterr().out)["settings"]
    assert setting["seeds"] == [1, 2, 3]
    assert setting["low"] < setting["difference"] < setting["high"]
    assert main([*words, "fewshot"]) == 0
    assert main([*words, "lora-clip"]) == 2
    assert "no record belongs to a row" in capsys.readouterr().err
    assert main([*words, "--format", "csv"]) == 0
    heads, line = capsys.readouterr().out.splitlines()
    assert heads == "data,seeds,first,second,difference,low,high,verdict,why"
    assert line.startswith('"eurosat, 1 shot, ViT-B-16-quickgelu",1 2 3,')


def test_other_test_images_are_not_paired(tmp_path: Path) -> None:
    right = np.ones(20, dtype=bool)
    stored(tmp_path, DORA, 1, right)
    stored(tmp_path, LORA, 1, right, images=1)
    store = Store(tmp_path / "results")
    (found,) = compare_rows(store.scan()[0], ("clip-dora", "clip-lora"), lambda r: image_scores(store, r), 0.5)
    assert (found.verdict, found.reason) == (
        "not comparable",
        "seed 1: the two runs were not tested on the same images",
    )


def test_rows_go_by_their_printed_names_and_zero_shot_goes_with_any_number_of_shots() -> None:
    """CoOp draws its training images by another rule than CLIP-DoRA; both test the whole test part."""
    rows = ("zero-shot", "clip-dora-1shot", "clip-dora-4shot", "coop-16-1shot", "linear-probe-1shot")
    made = {row: record(("clip-dora/table1", row, "dtd"), 1) for row in rows}
    own = replace(made["clip-dora-1shot"].protocol, method="mine:Mine@0123456789ab")
    mine = replace(
        made["clip-dora-1shot"],
        id="f" * 16,
        protocol=own,
        origin=replace(made["clip-dora-1shot"].origin, row="m-1shot"),
    )
    mine = replace(mine, origin=replace(mine.origin, label="My method"))
    records = [*made.values(), mine]
    for names in (("My method", "coop-16"), ("a/mine.py:Mine", "clip-dora-1shot"), ("M", "linear-probe")):
        (found,) = compare_rows(records, names, lambda _: None, 0.5)
        assert found.where == "dtd, 1 shot, ViT-B-16-quickgelu"
    where = [found.where for found in compare_rows(records, ("zero-shot", "clip-dora"), lambda _: None, 0.5)]
    assert where == [f"dtd, 0 shots / {n}, ViT-B-16-quickgelu" for n in ("1 shot", "4 shots")]


def test_wrong_names_are_told_with_those_that_there_are(tmp_path: Path) -> None:
    made = [record(DORA, 1), record(LORA, 2)]
    with pytest.raises(UserError, match=r"no record belongs to a row 'clip-dorra'; there are .*Did you mean clip-dora"):
        compare_rows(made, ("clip-dorra", "clip-lora"), lambda _: None, 0.5)
    with pytest.raises(UserError, match="are the same runs; name two different rows"):
        compare_rows(made, ("clip-dora", "CLIP-DoRA"), lambda _: None, 0.5)
    (found,) = compare_rows(made, ("clip-dora", "clip-lora"), lambda _: None, 0.5)
    assert found.reason == "no seed in common: clip-dora has 1, clip-lora has 2"


def test_dice_of_packed_masks(tmp_path: Path) -> None:
    random = np.random.default_rng(7)
    masks, found = random.random((2, 5, 16, 16)) < 0.4
    masks[0] = found[0] = False  # an empty mask that was found empty counts as right
    inside = (masks & found).sum((1, 2))
    dice = np.array(
        [100.0 if not s else 200.0 * i / s for i, s in zip(inside, masks.sum((1, 2)) + found.sum((1, 2)), strict=True)]
    )
    buffer = io.BytesIO()
    packed = [np.packbits(x.reshape(5, -1), axis=1) for x in (masks, found)]
    np.savez_compressed(buffer, size=16, masks=packed[0], predictions=packed[1])
    made = record(
        ("clip-dora/table4", "kvasir", "clip-dora"), 1, float(dice.mean()), metrics={"dice": float(dice.mean())}
    )
    store = Store(tmp_path)
    store.publish([Draft(made, {"predictions.npz": buffer.getvalue()})])
    scores = image_scores(store, store.scan()[0][0])
    assert scores is not None
    assert scores.scores == pytest.approx(dice)


def test_a_few_images_without_a_difference_do_not_show_equality() -> None:
    """Of 9 images alike, the methods may well differ on others; of 40,000 alike they hardly do."""
    alike = np.ones((1, 9), dtype=bool)
    assert compared(alike, alike).verdict == "cannot be told"
    many = np.ones((1, 40_000), dtype=bool)
    assert compared(many, many).verdict == "equal"
