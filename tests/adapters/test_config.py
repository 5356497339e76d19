"""The configuration: what it accepts, what it refuses, and that it survives JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from clipbench.adapters import AdapterConfig
from clipbench.errors import UserError


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("qkvo", ("q", "k", "v", "o")),
        ("vq", ("q", "v")),
        (("fc1", "q"), ("q", "fc1")),
        ("fc1", ("fc1",)),
        (["o"], ("o",)),
    ],
)
def test_targets_are_kept_in_one_order(given: Any, kept: tuple[str, ...]) -> None:
    assert AdapterConfig(targets=given).targets == kept


@pytest.mark.parametrize(
    ("given", "kept"), [(None, None), ("0-11", (0, 12)), ("3", (3, 4)), (range(2, 5), (2, 5)), ((2, 5), (2, 5))]
)
def test_layers_are_kept_as_start_and_stop(given: Any, kept: tuple[int, int] | None) -> None:
    config = AdapterConfig(layers=given)
    assert config.layers == kept
    if kept is not None:
        assert [config.has_layer(i) for i in (kept[0] - 1, kept[0], kept[1] - 1, kept[1])] == [False, True, True, False]


@pytest.mark.parametrize(("scaling", "scale"), [("alpha/r", 2.0), ("alpha/sqrt(r)", 4.0), ("alpha", 8.0)])
def test_every_reading_of_alpha_has_a_name(scaling: Any, scale: float) -> None:
    assert AdapterConfig(rank=4, alpha=8, scaling=scaling).scale == scale


def test_json_round_trip_and_hash() -> None:
    config = AdapterConfig(
        "dora", 2, 1.0, "alpha/sqrt(r)", "qkv", "vision", "0-3", 0.25, 2, False, (1, 2), (r".*\.head",)
    )
    again = AdapterConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    assert hash(again) == hash(config)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "prefix"}, "kind = 'prefix' is not one of 'lora', 'dora'"),
        ({"scaling": "alpha*r"}, "scaling"),
        ({"towers": "left"}, "towers"),
        ({"dora_dropout": "none"}, "dora_dropout"),
        ({"rank": 0}, "rank = 0 must be a whole number"),
        ({"rank": True}, "rank"),
        ({"replicas": 1.5}, "replicas"),
        ({"alpha": float("nan")}, "alpha"),
        ({"dropout": 1.0}, "dropout"),
        ({"targets": "qx"}, r"unknown parts \['x'\]"),
        ({"targets": ()}, "nothing to adapt"),
        ({"layers": "5-3"}, "names no blocks"),
        ({"layers": range(0, 8, 2)}, "names no blocks"),
        ({"init_seeds": (1,), "replicas": 2}, "1 seeds for replicas = 2"),
        ({"patterns": ("(",)}, "no regular expression"),
    ],
)
def test_mistakes_are_refused_with_the_key_and_what_is_allowed(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        AdapterConfig(**options)


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(UserError, match=r"unknown keys \['r'\]"):
        AdapterConfig.from_dict({"r": 8})
