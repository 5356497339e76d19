"""Rules of aggregation in float64 against plain loops and numpy's SVD of the dense mean."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from clipbench.adapters import AdapterError
from clipbench.adapters.federated import average, product_average


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=30, deadline=None)
@given(clients=st.integers(1, 6), seed=st.integers(0, 1000))
def test_an_average_is_the_weighted_mean(clients: int, seed: int) -> None:
    values, weights = drawn(clients, 3, 4, seed=seed), torch.randint(1, 90, (clients,))
    due = np.zeros((3, 4))
    for value, weight in zip(values.numpy(), weights.tolist(), strict=True):
        due += weight * value
    np.testing.assert_allclose(average(values, weights).numpy(), due / int(weights.sum()), rtol=1e-12, atol=1e-14)


@settings(max_examples=30, deadline=None)
@given(
    clients=st.integers(1, 6), rank=st.integers(1, 4), inner=st.integers(4, 12), outer=st.integers(4, 12),
    seed=st.integers(0, 1000),
)  # fmt: skip
def test_a_product_average_is_the_best_approximation_of_the_mean_of_products(
    clients: int, rank: int, inner: int, outer: int, seed: int
) -> None:
    down, up = drawn(clients, rank, inner, seed=seed), drawn(clients, outer, rank, seed=seed + 1)
    weights = torch.randint(1, 90, (clients,))
    mean = np.zeros((outer, inner))
    for a, b, weight in zip(down.numpy(), up.numpy(), weights.tolist(), strict=True):
        mean += weight / int(weights.sum()) * (b @ a)
    u, values, v = np.linalg.svd(mean, full_matrices=False)
    due = (u[:, :rank] * values[:rank]) @ v[:rank]
    new_down, new_up = product_average(down, up, weights)
    assert new_down.shape == (rank, inner)
    assert new_up.shape == (outer, rank)
    np.testing.assert_allclose((new_up @ new_down).numpy(), due, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose((new_down @ new_down.T).numpy(), np.eye(rank), atol=1e-10)


def test_with_one_frozen_a_the_average_of_b_is_that_of_the_products_and_else_it_is_not() -> None:
    shared, up, weights = drawn(2, 8, seed=1), drawn(4, 6, 2, seed=2), torch.tensor([1, 5, 2, 9])
    exact = average(up @ shared, weights)
    torch.testing.assert_close(average(up, weights) @ shared, exact, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(torch.matmul(*product_average(shared.expand(4, -1, -1), up, weights)[::-1]), exact)
    apart = drawn(4, 2, 8, seed=3)
    assert (average(up, weights) @ average(apart, weights) - average(up @ apart, weights)).abs().max() > 0.1


@pytest.mark.parametrize(
    "weights", [torch.ones(3), torch.zeros(4), torch.tensor([1.0, -1.0, 1.0, 1.0]), torch.full((4,), torch.nan)]
)
def test_odd_weights_are_refused(weights: Tensor) -> None:
    with pytest.raises(AdapterError, match="weights must be 4 numbers"):
        average(torch.zeros(4, 2), weights)
