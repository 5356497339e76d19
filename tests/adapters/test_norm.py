"""DoRA's norm from r-sized products against the dense norm; and why the printed equation cannot be meant."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from clipbench.adapters import AdapterConfig, adapt, adapted_modules
from clipbench.adapters.kinds.low_rank import DoRA, squared_norms
from tests.adapters.models import relative

PROPERTY = settings(deadline=None, derandomize=True, max_examples=60)


def _branch(weight: Tensor, rank: int, replicas: int, seed: int, size: float, **options: Any) -> DoRA:
    branch = DoRA(weight, AdapterConfig(kind="dora", rank=rank, replicas=replicas, **options))
    generator = torch.Generator().manual_seed(seed)
    branch.draw([torch.Generator().manual_seed(r) for r in range(replicas)], weight)
    with torch.no_grad():
        branch.B.copy_(size * torch.randn(branch.B.shape, generator=generator))
    return branch


def _dense(branch: DoRA, weight: Tensor, r: int) -> Tensor:
    return weight.double() + branch.config.scale * branch.B[r].double() @ branch.A[r].double()


@PROPERTY
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 9),
    st.integers(1, 3),
    st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.float16]),
    st.integers(0, 10**6),
    st.sampled_from(["output", "input"]),
)
def test_the_factored_norm_is_the_dense_norm(
    o: int, i: int, rank: int, replicas: int, dtype: torch.dtype, seed: int, axis: Any
) -> None:
    weight = torch.randn(o, i, generator=torch.Generator().manual_seed(seed)).to(dtype)
    branch = _branch(weight, rank, replicas, seed, 0.3, norm_axis=axis)
    summed = 1 if axis == "output" else 0
    dense = torch.stack([_dense(branch, weight, r).norm(dim=summed) for r in range(replicas)])
    # Where W + sBA nearly cancels, the sum of squares keeps an error of eps |w|^2: no formula of this form does better.
    error = (branch._norm(weight).double().square() - dense.square()).abs()
    A, B = branch.A.double(), branch.B.double()
    rows = B.norm(dim=2) * A.norm(dim=(1, 2))[:, None]
    update = rows if axis == "output" else A.norm(dim=1) * B.norm(dim=(1, 2))[:, None]
    scale = (weight.double().norm(dim=summed) + branch.config.scale * update).square()
    assert (error / scale).max() < (1e-13 if dtype == torch.float64 else 2e-6)


@PROPERTY
@given(st.floats(-8, 8), st.floats(-8, 4), st.integers(0, 10**6))
def test_extreme_magnitudes_give_no_nan(log_weight: float, log_update: float, seed: int) -> None:
    weight = 10**log_weight * torch.randn(6, 5, generator=torch.Generator().manual_seed(seed))
    weight[0] = 0.0
    branch = _branch(weight, 3, 2, seed, 10**log_update, detach_norm=False)
    gain = branch.gain(weight)
    gain.sum().backward()
    assert gain.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in branch.parameters())


def test_a_row_that_cancels_exactly_stays_finite() -> None:
    weight = torch.eye(3)
    branch = DoRA(weight, AdapterConfig(kind="dora", rank=3, alpha=3.0))
    with torch.no_grad():
        branch.A[0], branch.B[0] = -torch.eye(3), torch.eye(3)
    assert branch.gain(weight).isfinite().all()
    assert branch.merged(weight, 0).isfinite().all()


@pytest.mark.parametrize("axis", ["output", "input"])
def test_at_the_start_the_gain_is_one_to_the_bit(axis: Any) -> None:
    weight = torch.randn(7, 5)
    branch = DoRA(weight, AdapterConfig(kind="dora", norm_axis=axis))
    assert branch.gain(weight).shape == (1, 7 if axis == "output" else 5)
    assert (branch.gain(weight) == 1.0).all()


@pytest.mark.parametrize("detach", [True, False])
def test_the_gradient_path_of_the_norm(detach: bool) -> None:
    """CLIP-DoRA section 3.3: the full gradient of eq. (3), or with the norm held constant."""
    weight = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    branch = _branch(weight, 2, 1, 0, 0.3, detach_norm=detach)
    A, B, m = branch.A, branch.B, branch.magnitude
    assert m is not None
    dense = weight + branch.config.scale * B @ A
    norm = dense.norm(dim=2)
    expected = m / (norm.detach() if detach else norm)
    assert relative(branch.gain(weight), expected) < 1e-14
    inputs = [m] if detach else [A, B, m]
    found = torch.autograd.grad(branch.gain(weight).square().sum(), inputs)
    for mine, dense_grad in zip(found, torch.autograd.grad(expected.square().sum(), inputs), strict=True):
        assert relative(mine, dense_grad) < 1e-12
    assert detach == (torch.autograd.grad(branch.gain(weight).sum(), A, allow_unused=True)[0] is None)


@PROPERTY
@given(st.integers(1, 300), st.integers(1, 30), st.sampled_from([torch.float32, torch.bfloat16, torch.float16]))
def test_squared_norms_are_summed_wide(o: int, i: int, dtype: torch.dtype) -> None:
    weight = torch.full((o, i), 300.0).to(dtype)  # 300^2 overflows fp16
    assert torch.equal(squared_norms(weight), torch.full((o,), float(weight[0, 0]) ** 2 * i))


def test_printed_equation_2_divides_twice_and_loses_the_pretrained_scales() -> None:
    """CLIP-DoRA prints W' = m / |V'| * V' / |V'| with V' = W0 + BA. With B = 0 that has rows of norm one: not W0.

    The paper's own merge formula, m V' / |V'|, returns W0, and is what this library and peft compute.
    """
    weight = 3.0 * torch.randn(4, 8)
    norm = weight.norm(dim=1, keepdim=True)
    printed = (norm / norm) * (weight / norm)
    assert torch.allclose(printed.norm(dim=1), torch.ones(4))
    assert not torch.allclose(printed, weight)
    branch = DoRA(weight, AdapterConfig(kind="dora"))
    assert torch.allclose(branch.merged(weight, 0), weight)


def test_casting_or_loading_the_frozen_matrix_refreshes_the_cached_norms() -> None:
    model = adapt(nn.Sequential(nn.Linear(9, 6)), AdapterConfig("dora", targets="", patterns=("0",)))
    branch = adapted_modules(model)["0.linear"]
    model.load_state_dict({"0.weight": torch.full((6, 9), 2.0)}, strict=False)
    assert torch.equal(branch.weight_sq, torch.full((6,), 36.0))
    model.bfloat16()
    assert branch.weight_sq.dtype == torch.float32
