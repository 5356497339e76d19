"""The low-rank methods in a run: seeds in one pass are passes of their own, a run goes on exactly, the loss falls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipbench.engine.loop import Loop
from clipbench.plan.select import make_plan
from clipbench.registry import Overrides
from tests.engine.passes_for_tests import curve, place, predictions, run_planned

ROWS = ("vera", "dylora", "adalora", "laplace-lora")


def _planned(row: str, seeds: tuple[int, ...]) -> Any:
    """The smoke runs of one row of the related work on DTD, a few steps each."""
    overrides = Overrides("smoke", fields={"steps_per_shot": 4})
    return list(make_plan(["related"], overrides, [f"row={row}", "dataset=dtd"], seeds).runs)


@pytest.mark.parametrize("row", ROWS)
def test_two_seeds_in_one_pass_are_two_passes(row: str, tmp_path: Path) -> None:
    together = run_planned(_planned(row, (1, 2)), place(tmp_path)).drafts
    for seed, draft in zip((1, 2), together, strict=True):
        assert curve(draft)[-1][0] < curve(draft)[0][0]
        if seed == 1:
            continue
        (alone,) = run_planned(_planned(row, (seed,)), place(tmp_path)).drafts
        np.testing.assert_allclose(curve(draft)[-1][0], curve(alone)[-1][0], rtol=1e-5)
        assert (predictions(draft) == predictions(alone)).mean() > 0.98
        assert draft.record.metrics["nll"] == pytest.approx(alone.record.metrics["nll"], rel=1e-3)


class KilledError(Exception):
    pass


@pytest.mark.parametrize("row", ["dylora", "adalora"])
def test_a_schedule_goes_on_exactly(row: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = _planned(row, (1, 2))
    due = run_planned(group, place(tmp_path / "whole")).drafts
    where, train = place(tmp_path / "cut", checkpoint_seconds=0.0), Loop._train_epoch

    def killed(self: Any, plan: Any, inputs: Any, hooks: Any) -> None:
        if plan.epoch == 2:
            raise KilledError
        train(self, plan, inputs, hooks)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_train_epoch", killed)
        with pytest.raises(KilledError):
            run_planned(group, where)
    assert len(list(where.checkpoints.iterdir())) == 1
    found = run_planned(group, where).drafts
    assert [curve(draft) for draft in found] == [curve(draft) for draft in due]
    assert [draft.files for draft in found] == [draft.files for draft in due]


def test_every_row_of_the_related_work_resolves() -> None:
    """Nine rows on eleven data sets, in both profiles; rates and scales are the sources' in full."""
    for profile in ("full", "smoke"):
        runs = list(make_plan(["related"], Overrides(profile), [], (1,)).runs)
        assert len(runs) == 99
    rates = {
        run.run.protocol.method: run.run.protocol.lr
        for run in make_plan(["related"], Overrides("full"), ["dataset=dtd"], (1,)).runs
    }
    assert rates == {
        "lora": 2e-4, "dora": 2e-4, "lora+": 5e-5, "vera": 1e-2, "dylora": 5e-4, "adalora": 2e-3, "qlora": 2e-4,
        "laplace-lora": 2e-4,
    }  # fmt: skip
