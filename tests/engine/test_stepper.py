"""fp16's loss scale and skipped steps, one for each replica; against separate steppers and a loop written by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from clipbench.engine.optimiser import Optimiser
from clipbench.registry import Protocol

SEEDS, WIDTH, STEPS = 3, 5, 12
CPU = torch.device("cpu")
ADAMW: dict[str, Any] = {"optimiser": "adamw", "betas": (0.9, 0.999), "eps": 1e-8, "lr": 0.05, "weight_decay": 0.1}
FP16 = Protocol(**ADAMW, precision="fp16")


class _Quadratic(nn.Module):
    """Replica r's loss is ``slope |weight[r] x + shift[r]|^2``; a slope of 1e35 overflows float32 once scaled."""

    def __init__(self, weight: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.weight, self.shift = nn.Parameter(weight.clone()), nn.Parameter(shift.clone())
        self.unused = nn.Parameter(torch.ones(len(weight), 2))

    def forward(self, x: Tensor, slope: Tensor) -> Tensor:
        return slope * ((self.weight * x).sum(dim=1) + self.shift).square()


def _problem() -> tuple[_Quadratic, Tensor, Tensor]:
    """A model of three replicas; inputs ``[steps, R, D]`` and slopes ``[steps, R]`` with overflows at will."""
    draw = torch.Generator().manual_seed(int(torch.randint(2**31, ())))
    model = _Quadratic(torch.randn(SEEDS, WIDTH, generator=draw), torch.randn(SEEDS, generator=draw))
    slopes = torch.rand(STEPS, SEEDS, generator=draw) + 0.1
    slopes[1, 0] = slopes[4, 1] = slopes[5, 1] = slopes[8, 2] = 1e35
    return model, torch.randn(STEPS, SEEDS, WIDTH, generator=draw), slopes


def optimiser(model: _Quadratic, protocol: Protocol, seeds: int, *, spared: bool = False) -> Optimiser:
    free = [model.shift] if spared else []
    rest = [p for p in model.parameters() if not any(p is q for q in free)]
    groups = [{"params": rest, "weight_decay": protocol.weight_decay}, {"params": free, "weight_decay": 0.0}]
    return Optimiser(groups, protocol, CPU, seeds)


def _rate(step: int) -> float:
    return 0.05 / (1 + step)


def _train(model: _Quadratic, stepper: Optimiser, x: Tensor, slopes: Tensor, steps: range) -> None:
    for step in steps:
        stepper.step(model(x[step], slopes[step]), _rate(step))


@pytest.mark.parametrize("spared", [False, True])
def test_replicas_step_and_overflow_as_if_alone(spared: bool) -> None:
    """Bit for bit; a replica that overflows neither moves nor ages, and the others do not notice."""
    model, x, slopes = _problem()
    alone = [_Quadratic(model.weight.detach()[[r]], model.shift.detach()[[r]]) for r in range(SEEDS)]
    together = optimiser(model, FP16, SEEDS, spared=spared)
    before = model.weight.detach().clone()
    _train(model, together, x, slopes, range(2))
    assert all(not torch.equal(model.weight[r], before[r]) for r in range(SEEDS))
    _train(model, together, x, slopes, range(2, STEPS))
    for r, one in enumerate(alone):
        own = optimiser(one, FP16, 1, spared=spared)
        _train(one, own, x[:, [r]], slopes[:, [r]], range(STEPS))
        torch.testing.assert_close(model.weight[[r]], one.weight, rtol=0, atol=0)
        torch.testing.assert_close(model.shift[[r]], one.shift, rtol=0, atol=0)
    scales = [state["scale"] for state in together.state()["scalers"]]
    assert scales == [2.0**15, 2.0**14, 2.0**15]


def test_a_replica_against_adamw_written_by_hand() -> None:
    """Float64, textbook AdamW (Loshchilov and Hutter, algorithm 2), steps with an infinite gradient left out: 1e-5."""
    model, x, slopes = _problem()
    weight, shift = model.weight.detach().double().numpy(), model.shift.detach().double().numpy()
    _train(model, optimiser(model, FP16, SEEDS), x, slopes, range(STEPS))
    for r in range(SEEDS):
        theta = np.append(weight[r], shift[r])
        first, second, age = np.zeros_like(theta), np.zeros_like(theta), 0
        for step in range(STEPS):
            if slopes[step, r] > 1e30:
                continue
            inputs = np.append(x[step, r].double().numpy(), 1.0)
            gradient = 2 * float(slopes[step, r]) * (theta @ inputs) * inputs
            age += 1
            first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
            update = first / (1 - 0.9**age) / (np.sqrt(second / (1 - 0.999**age)) + 1e-8)
            theta = theta - _rate(step) * 0.1 * theta - _rate(step) * update
        found = np.append(model.weight[r].detach().numpy(), model.shift[r].detach().numpy())
        np.testing.assert_allclose(found, theta, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_going_on_from_a_state_equals_never_having_stopped(precision: str) -> None:
    protocol = Protocol(**ADAMW, precision=precision)
    model, x, slopes = _problem()
    slopes = slopes if precision == "fp16" else slopes.clamp(max=1.0)
    stopped = _Quadratic(model.weight.detach(), model.shift.detach())
    _train(model, optimiser(model, protocol, SEEDS), x, slopes, range(STEPS))
    first = optimiser(stopped, protocol, SEEDS)
    _train(stopped, first, x, slopes, range(6))
    second = optimiser(stopped, protocol, SEEDS)
    second.restore(first.state())
    _train(stopped, second, x, slopes, range(6, STEPS))
    torch.testing.assert_close(stopped.weight, model.weight, rtol=0, atol=0)


def test_fp16_clips_the_gradient_and_not_its_scaled_form() -> None:
    """One replica, as a gradient norm asks for: the first step of AdamW without decay is the rate, times the sign."""
    model = _Quadratic(torch.ones(1, WIDTH), torch.zeros(1))
    protocol = Protocol(**ADAMW | {"weight_decay": 0.0, "eps": 1e-6}, precision="fp16", gradient_clip=1e-6)
    optimiser(model, protocol, 1).step(model(torch.ones(1, WIDTH), torch.ones(1)), 0.05)
    clipped = 1e-6 / math.sqrt(WIDTH + 1)  # each of six equal gradients, once their norm is 1e-6
    moved = 0.05 * clipped / (clipped + 1e-6)
    torch.testing.assert_close(model.weight.detach(), torch.full((1, WIDTH), 1.0 - moved), rtol=1e-5, atol=0)
