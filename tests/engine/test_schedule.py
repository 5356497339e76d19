"""The learning rate against PyTorch's own scheduler."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clipbench.engine.schedule import learning_rate
from clipbench.registry import Protocol
from clipbench.registry.budget import Budget, budget


def of_torch(lr: float, floor: float, moves: int, total: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=total, eta_min=floor)
    rates = []
    for _ in range(moves):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 12), st.integers(1, 6), st.floats(1e-6, 1e-1), st.floats(0, 1e-6))
def test_cosine_by_step(steps: int, epochs: int, lr: float, floor: float) -> None:
    protocol = Protocol(lr=lr, lr_min=floor, schedule="cosine", schedule_step="step")
    found = [
        learning_rate(protocol, step, Budget(steps, steps * epochs, by_steps=False)) for step in range(steps * epochs)
    ]
    assert found == pytest.approx(of_torch(lr, floor, steps * epochs, steps * epochs), rel=1e-9)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 12), st.integers(1, 6))
def test_cosine_by_epoch(steps: int, epochs: int) -> None:
    protocol = Protocol(lr=2e-4, lr_min=2e-6, schedule="cosine", schedule_step="epoch")
    found = [
        learning_rate(protocol, step, Budget(steps, steps * epochs, by_steps=False)) for step in range(steps * epochs)
    ]
    due = [rate for rate in of_torch(2e-4, 2e-6, epochs, epochs) for _ in range(steps)]
    assert found == pytest.approx(due, rel=1e-9)


def test_the_papers_schedule_starts_at_the_rate_and_ends_just_above_the_floor() -> None:
    protocol = Protocol(lr=2e-4, lr_min=2e-6, schedule="cosine", schedule_step="step")
    rates = [learning_rate(protocol, step, Budget(53, 530, by_steps=False)) for step in range(530)]
    assert rates[0] == 2e-4
    assert rates == sorted(rates, reverse=True)
    assert 2e-6 < rates[-1] < 2.01e-6


def test_constant() -> None:
    protocol = Protocol(lr=2e-4, lr_min=2e-6, schedule="constant", schedule_step="step")
    assert {learning_rate(protocol, step, Budget(5, 20, by_steps=False)) for step in range(20)} == {2e-4}


def test_training_beyond_the_schedules_period_is_pytorchs() -> None:
    protocol = Protocol(
        lr=2e-4, lr_min=2e-6, schedule="cosine", schedule_step="step", step_budget="few-shot", budget_steps=8000,
        epochs=10, batch_size=32, drop_last=False,
    )  # fmt: skip
    due = budget(protocol, 3200)
    assert (due.steps, due.period, due.steps_per_epoch) == (8000, 1000, 100)
    found = [learning_rate(protocol, step, due) for step in range(2500)]
    assert found == pytest.approx(of_torch(2e-4, 2e-6, 2500, 1000), rel=1e-6)


def test_the_warm_up_is_dassls() -> None:
    """The official scheduler's rates of every epoch (tests/parity/official/schedule_and_optimiser.json)."""
    official = json.loads((Path(__file__).parents[1] / "parity/official/schedule_and_optimiser.json").read_text())
    for total, due in official["learning_rate_of_epoch"].items():
        protocol = Protocol(
            lr=2e-3,
            lr_min=0.0,
            schedule="cosine",
            schedule_step="epoch",
            warmup_epochs=1,
            warmup_lr=1e-5,
            warmup_shape="constant",
        )
        steps = Budget(3, 3 * int(total), by_steps=False)
        found = [learning_rate(protocol, 3 * epoch, steps) for epoch in range(int(total))]
        assert found == pytest.approx(due, rel=1e-12)


def test_multistep_is_torchs() -> None:
    protocol = Protocol(lr=1e-3, schedule="multistep", milestones=(2, 5), schedule_factor=0.1)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 5], 0.1)
    for epoch in range(8):
        found = [learning_rate(protocol, 3 * epoch + step, Budget(3, 24, by_steps=False)) for step in range(3)]
        assert found == pytest.approx([optimizer.param_groups[0]["lr"]] * 3, rel=1e-9)
        optimizer.step()
        scheduler.step()


def test_linear_warm_up_then_cosine_over_what_is_left() -> None:
    protocol = Protocol(
        lr=1e-3, lr_min=0.0, schedule="cosine", schedule_step="step", warmup_epochs=2, warmup_lr=0.0,
        warmup_shape="linear",
    )  # fmt: skip
    found = [learning_rate(protocol, step, Budget(4, 40, by_steps=False)) for step in range(40)]
    assert found[:8] == pytest.approx([1e-3 * step / 8 for step in range(8)])
    assert found[8:] == pytest.approx(of_torch(1e-3, 0.0, 32, 32), rel=1e-9)
