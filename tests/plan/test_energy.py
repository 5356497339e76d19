"""Energy of runs to come: their time at the power of earlier ones on a device of the kind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from clipbench.data.load import Datasets
from clipbench.plan.cost import estimate
from clipbench.plan.speed import Rates
from clipbench.results.store import Draft, Store
from tests.factory import protocol_of, record

CELL = ("clip-dora/table1", "zero-shot", "eurosat")


def with_cost(seed: int, device: str, seconds: float, joules: float | None) -> Draft:
    one = record(CELL, seed, 48.0)
    made = replace(
        one,
        environment=replace(one.environment, device=device),
        cost=replace(one.cost, seconds=seconds, energy_joules=joules, replicas=1),
    )
    return Draft(made, {})


def test_the_power_of_earlier_runs_on_this_kind_of_device(tmp_path: Path) -> None:
    store = Store(tmp_path)
    gpu = "cuda: a card"
    store.publish([with_cost(1, gpu, 10.0, 2000.0), with_cost(2, gpu, 30.0, 10000.0), with_cost(3, gpu, 5.0, None)])
    store.publish([with_cost(4, "cpu: a server", 100.0, None)])
    todo = [protocol_of(*CELL)] * 3
    found = estimate(todo, store, Datasets(Path("nowhere")), Rates("cuda", {}))
    assert found.watts == pytest.approx(12000 / 40)
    assert found.seconds is not None
    assert found.kilowatt_hours == pytest.approx(300 * found.seconds / 1000 / 3600)
    assert estimate(todo, store, Datasets(Path("nowhere")), Rates("cpu", {})).kilowatt_hours is None
