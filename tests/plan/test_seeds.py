"""Rows without chance run once per data set, whatever the number of seeds."""

from __future__ import annotations

import pytest

from clipbench.plan.select import make_plan
from clipbench.registry import Overrides


@pytest.mark.parametrize(
    ("table", "row", "seeds", "due"),
    [
        ("fewshot", "zero-shot", (), [1]),
        ("fewshot", "zero-shot", (2, 3), [2]),
        ("fewshot", "coop-4-1shot", (), [1, 2, 3]),
        ("fewshot", "tip-adapter-4shot", (), [1, 2, 3]),
        ("fewshot", "clip-dora-1shot", (2, 3), [2, 3]),
    ],
)
def test_what_has_no_chance_runs_once(table: str, row: str, seeds: tuple[int, ...], due: list[int]) -> None:
    """Training-free Tip-Adapter has some: its shots are sampled."""
    plan = make_plan([table], Overrides(), [f"row={row}", "dataset=eurosat"], seeds)
    assert [planned.run.seed for planned in plan.runs] == due


def test_a_limit_samples_test_images() -> None:
    plan = make_plan(["fewshot"], Overrides(fields={"limit": 3}), ["row=zero-shot", "dataset=eurosat"])
    assert [planned.run.seed for planned in plan.runs] == [1, 2, 3]
