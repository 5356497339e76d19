"""The Dirichlet split over clients: a partition, the same for a seed, uneven as alpha says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipbench.data.splits.clients import dirichlet_clients
from clipbench.errors import UserError


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(4, 40), min_size=2, max_size=8), clients=st.integers(1, 5),
    alpha=st.floats(0.3, 100.0), seed=st.integers(0, 2**32),
)  # fmt: skip
def test_every_image_goes_to_one_client_and_a_seed_gives_one_split(
    counts: list[int], clients: int, alpha: float, seed: int
) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    first, second = (dirichlet_clients(labels, clients, alpha, np.random.default_rng(seed)) for _ in range(2))
    assert len(first) == clients
    assert sorted(np.concatenate(first).tolist()) == list(range(len(labels)))
    assert min(map(len, first)) >= 1
    assert all((np.diff(part) > 0).all() for part in first)
    assert all((a == b).all() for a, b in zip(first, second, strict=True))


def test_a_large_alpha_deals_evenly_and_a_small_one_does_not() -> None:
    labels = np.repeat(np.arange(20), 100)

    def spread(alpha: float) -> float:
        parts = dirichlet_clients(labels, 10, alpha, np.random.default_rng(1))
        counts = np.array([np.bincount(labels[part], minlength=20) for part in parts])
        return float(counts.std(axis=0).mean())

    assert spread(1e6) < 0.5
    # A share of a symmetric Dirichlet over K has the variance (K - 1) / (K^2 (K alpha + 1)): 12.2 of 100 images.
    assert spread(0.5) == pytest.approx(100 * np.sqrt(9 / (100 * 6.0)), rel=0.1)
    assert spread(0.1) > spread(0.5) > spread(5.0)


def test_too_many_clients_are_refused_with_what_to_do() -> None:
    with pytest.raises(UserError, match=r"cannot be dealt out to 9 clients .*--set clients=N"):
        dirichlet_clients(np.zeros(8, dtype=np.int64), 9, 0.5, np.random.default_rng(0))
