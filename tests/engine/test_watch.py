"""What the validation images decide, and that it goes on from its state."""

from __future__ import annotations

import pytest
import torch

from clipbench.engine.validation import Validation, trains_alone, validates
from clipbench.registry import Protocol

ALL = Protocol(
    lr=1.0, schedule="plateau", schedule_factor=0.5, patience=1, early_stop=2, min_delta=0.05, selection="best-val"
)
LOSSES, SCORES = (0.9, 0.8, 0.85, 0.86, 0.7, 0.7), (10.0, 40.0, 39.0, 46.0, 47.0, 48.0)


def _weights(number: int) -> dict[str, torch.Tensor]:
    return {"w": torch.full((2,), float(number))}


def _follow(watch: Validation, start: int, end: int) -> list[tuple[float | None, bool]]:
    seen = []
    for epoch in range(start, end):
        watch.step(epoch, LOSSES[epoch], SCORES[epoch], _weights(epoch))
        seen.append((watch.rate, watch.ended))
    return seen


def test_rate_end_and_best_epoch() -> None:
    """The gain that the early stop counts is a share: 6 points of 100 are more than 0.05, 1 and 2 are not."""
    watch = Validation(ALL)
    assert _follow(watch, 0, 6) == [(1.0, False), (1.0, False), (1.0, False), (0.5, False), (0.5, False), (0.5, True)]
    assert watch.best["w"].tolist() == [5.0, 5.0]


@pytest.mark.parametrize("cut", range(1, 6))
def test_it_goes_on_from_its_state(cut: int) -> None:
    whole, first, second = Validation(ALL), Validation(ALL), Validation(ALL)
    due = _follow(whole, 0, 6)
    seen = _follow(first, 0, cut)
    second.restore(first.state())
    assert seen + _follow(second, cut, 6) == due
    assert torch.equal(second.best["w"], whole.best["w"])


def test_what_is_kept_is_a_copy() -> None:
    watch, weights = Validation(ALL), _weights(1)
    watch.step(0, 0.5, 50.0, weights)
    weights["w"] += 1
    assert watch.best["w"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("fields", "looks", "alone"),
    [
        ({}, False, False),
        ({"schedule": "cosine", "selection": "last"}, False, False),
        ({"gradient_clip": 0.5}, False, True),
        ({"schedule": "plateau", "lr": 1.0, "schedule_factor": 0.5, "patience": 1}, True, True),
        ({"early_stop": 3, "min_delta": 0.0}, True, True),
        ({"selection": "best-val"}, True, True),
    ],
)
def test_who_looks_and_who_trains_alone(fields: dict[str, object], looks: bool, alone: bool) -> None:
    protocol = Protocol(**fields)  # type: ignore[arg-type]
    assert (validates(protocol), trains_alone(protocol)) == (looks, alone)
    assert Validation(protocol).rate is None or "patience" in fields
