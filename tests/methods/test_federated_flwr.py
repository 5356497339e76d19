"""The example under flwr: its rounds are a plain loop over clients with the rules of `clipbench.adapters.federated`."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("flwr", reason="the extra [federated] is not installed")


def example() -> Any:
    path = Path(__file__).parents[2] / "examples" / "federated_flwr.py"
    spec = importlib.util.spec_from_file_location("federated_flwr", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("rule", ["fedavg", "ffa", "product"])
def test_a_round_under_flwr_is_one_of_a_plain_loop(rule: str) -> None:
    flower = example()
    found = flower.federate(rule, 1)
    start = flower.Network(rule)
    states, counts = [], []
    for client in range(flower.CLIENTS):
        network = flower.Network(rule)
        counts.append(flower.train(network, start.state(), client, 1))
        states.append(network.state())
    assert sum(counts) == flower.CLASSES * flower.PER_CLASS
    due = flower.aggregate(rule, states, torch.tensor(counts, dtype=torch.float32), start.factors())
    assert found == pytest.approx([flower.accuracy(rule, start.state()), flower.accuracy(rule, due)], abs=1.7)
    assert all(name.endswith("A") for name, _ in start.factors())
    assert any(name in due for name, _ in start.factors()) == (rule != "ffa")
