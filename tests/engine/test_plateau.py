"""Plateau against PyTorch's, early stop and best epoch against plain loops; each goes on from its state."""

from __future__ import annotations

import json
import math
import random

import pytest
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from clipbench.engine.validation import Best, EarlyStop, Plateau


def _curve(seed: int, epochs: int = 120) -> list[float]:
    """Falls, stalls, rises; gains below and above every threshold; sometimes no number."""
    draw = random.Random(seed)  # noqa: S311
    values, value = [], 1.0
    for _ in range(epochs):
        value *= draw.choice([1.0, 1.0, 1 - 5e-5, 1 - 2e-4, 0.97, 1.02])
        values.append(math.nan if draw.random() < 0.01 else value)
    return values


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("factor", "patience", "rate"), [(0.1, 5, 2e-3), (0.5, 0, 1e-2), (0.1, 2, 5e-8)])
def test_plateau_against_pytorch(seed: int, factor: float, patience: int, rate: float) -> None:
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)
    theirs, ours = ReduceLROnPlateau(optimiser, factor=factor, patience=patience), Plateau(rate, factor, patience)
    for number, loss in enumerate(_curve(seed)):
        theirs.step(loss)
        assert ours.step(loss) == ours.rate == optimiser.param_groups[0]["lr"]
        if number % 7 == 0:
            fresh = Plateau(1.0, factor, patience)
            fresh.restore(ours.state())
            ours = fresh


@pytest.mark.parametrize("seed", range(8))
def test_early_stop_against_a_plain_loop(seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311
    scores = [50 + 10 * (1 - math.exp(-n / 10)) + draw.gauss(0, 0.5) for n in range(300)]
    best, since, due = -math.inf, 0, None
    for epoch, score in enumerate(scores):
        best, since = (score, 0) if score > best + 0.01 else (best, since + 1)
        if since == 20:
            due = epoch
            break
    stop, stopped = EarlyStop(20, 0.01), None
    for epoch, score in enumerate(scores):
        if stop.step(score):
            stopped = epoch
            break
        fresh = EarlyStop(20, 0.01)
        fresh.restore(stop.state())
        stop = fresh
    assert stopped == due is not None


def test_a_gain_of_min_delta_is_none() -> None:
    stop = EarlyStop(patience=2, min_delta=0.5)
    assert [stop.step(score) for score in (10.0, 10.5, 10.75, 11.25, 11.0)] == [False, False, False, False, True]
    assert EarlyStop(5, 0.0).step(math.nan)


def test_best_is_the_first_of_equals() -> None:
    best = Best()
    assert [best.step(n, s) for n, s in enumerate([math.nan, 3.0, 4.0, 4.0, 2.0])] == [False, True, True, False, False]
    fresh = Best()
    fresh.restore(best.state())
    assert (fresh.epoch, fresh.score) == (2, 4.0)
    assert not fresh.step(9, 4.0)


def test_states_are_plain() -> None:
    for part in (Plateau(1e-3, 0.1, 5), EarlyStop(20, 1e-4), Best()):
        assert json.loads(json.dumps(part.state())) == part.state()
