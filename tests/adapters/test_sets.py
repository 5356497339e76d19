"""Several sets of adapters over one model, leaving them out, adding them up, and what is trained beside them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from clipbench.adapters import (
    AdapterConfig,
    AdapterError,
    adapt,
    adapted_modules,
    add_weighted,
    disabled,
    load,
    merge,
    names,
    remove,
    save,
    set_active,
    summary,
    trainable_parameters,
)
from clipbench.models.clipseg.training import PerReplica
from tests.adapters.models import images, perturb, relative, tokens


def _two(tiny: Callable[[], Any], **second: Any) -> tuple[Any, torch.Tensor, torch.Tensor, torch.Tensor]:
    """A model with sets "pets" and "cars", and the outputs of the base and of each."""
    model, x = tiny(), images(2)
    base = model.encode_image(x)
    pets = perturb(adapt(model, AdapterConfig(rank=3, towers="vision", init_seeds=(1,)), "pets"), 1).encode_image(x)
    config: dict[str, Any] = {"kind": "lora", "rank": 2, "targets": "qo", "init_seeds": (2,), **second}
    cars = perturb(adapt(model, AdapterConfig(**config), "cars"), 2).encode_image(x)
    return model, base, pets, cars


@torch.no_grad()
def test_sets_are_switched_left_out_and_removed(tiny: Callable[[], Any]) -> None:
    model, base, pets, cars = _two(tiny, kind="dora")
    x = images(2)
    assert names(model) == ["cars", "pets"]
    assert torch.equal(set_active(model, "pets").encode_image(x), pets)  # type: ignore[operator]
    assert len(adapted_modules(model)) == 8
    with disabled(model) as plain:
        assert relative(plain.encode_image(x), base) < 1e-6  # type: ignore[operator]
    assert torch.equal(model.encode_image(x), pets)
    merge(model)
    assert torch.equal(set_active(model, "cars").encode_image(x), cars)  # type: ignore[operator]
    assert torch.equal(set_active(model, "pets").encode_image(x), pets)  # type: ignore[operator]
    remove(model, "pets")
    assert names(model) == ["cars"]
    assert torch.equal(model.encode_image(x), cars)
    with pytest.raises(AdapterError, match="no adapters 'pets' in this model; it has cars"):
        set_active(model, "pets")
    assert relative(remove(model).encode_image(x), base) < 1e-6  # type: ignore[operator]
    with pytest.raises(AdapterError, match="no adapters"):
        names(model)


def test_only_the_active_set_is_trained_and_saved(tiny: Callable[[], Any], tmp_path: Path) -> None:
    model, *_ = _two(tiny)
    for name, total in (("pets", 2 * 4 * 3 * 64), ("cars", 2 * 2 * 2 * 64 + 3 * 2 * 2 * 48)):
        set_active(model, name)
        assert trainable_parameters(model).total == total
        x = images(2)
        fresh: Any = load(tiny(), save(model, tmp_path / name))
        assert relative(fresh.encode_image(x), model.encode_image(x)) < 1e-6


def test_a_second_set_that_cannot_be_leaves_the_first(tiny: Callable[[], Any]) -> None:
    model = perturb(adapt(tiny(), AdapterConfig(), "pets"))
    expected = model.encode_image(images(2))
    with pytest.raises(AdapterError, match="matches the whole name of no"):
        adapt(model, AdapterConfig(targets=(), patterns=("nothing",)), "cars")
    assert torch.equal(model.encode_image(images(2)), expected)
    with pytest.raises(AdapterError, match="share the frozen weights"):
        adapt(model, AdapterConfig("qlora"), "cars")
    with pytest.raises(AdapterError, match="adapters already"):
        adapt(model, AdapterConfig(), "pets")


@pytest.mark.parametrize(
    "second", [{}, {"kind": "vera", "rank": 8}, {"kind": "adalora", "rank": 3}, {"kind": "dylora"}]
)
def test_weighted_sums_of_updates(tiny: Callable[[], Any], second: dict[str, Any]) -> None:
    """Against weights that are added up densely, in fp64."""
    model, *_ = _two(tiny, **second)
    deltas: dict[str, torch.Tensor] = {}
    weights = {"pets": 0.7, "cars": -0.3}
    plain = {name: p.clone() for name, p in tiny().named_parameters()}
    for name, weight in weights.items():
        merge(set_active(model, name))
        for key, p in model.named_parameters():
            deltas[key] = deltas.get(key, torch.zeros_like(p)) + weight * (p - plain[key]).detach()
    add_weighted(model, weights, "mix")
    assert names(model)[0] == "mix"
    expected = tiny()
    with torch.no_grad():
        for key, p in expected.named_parameters():
            p.add_(deltas[key])
    x, t = images(2), tokens(2)
    assert relative(model.encode_image(x), expected.encode_image(x)) < 1e-5
    assert relative(model.encode_text(t), expected.encode_text(t)) < 1e-5


def test_dora_has_no_sum(tiny: Callable[[], Any]) -> None:
    model, *_ = _two(tiny, kind="dora")
    with pytest.raises(AdapterError, match="'cars' is of kind 'dora'"):
        add_weighted(model, {"pets": 1.0, "cars": 1.0}, "mix")


class _Classifier(nn.Module):
    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.norm, self.head = nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Linear(6, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.body(x)))  # type: ignore[no-any-return]


BODY: dict[str, Any] = {"targets": (), "patterns": ("body",)}


@pytest.mark.parametrize("how", ["also_trained", "requires_grad"])
def test_a_trained_head_is_saved_with_the_adapter(how: str, tmp_path: Path) -> None:
    config = AdapterConfig(**BODY, also_trained=("head", "norm") if how == "also_trained" else ())
    model = adapt(_Classifier(), config)
    if how == "requires_grad":
        model.get_submodule("head").requires_grad_(True)
    x = torch.randn(8, 6)
    optimiser = torch.optim.AdamW(trainable_parameters(model).parameters, 0.1)
    for _ in range(3):
        optimiser.zero_grad()
        model.train()(x).square().sum().backward()  # batch statistics move too, frozen or not
        optimiser.step()
    expected = model.eval()(x)
    assert "head.weight" in summary(model)
    assert "norm.running_mean" in summary(model)
    fresh = load(_Classifier(), save(model, tmp_path / "a")).eval()
    assert relative(fresh(x), expected) < 1e-6
    assert fresh.head.weight.requires_grad
    assert fresh.norm.weight.requires_grad == (how == "also_trained")
    with pytest.raises(AdapterError, match=r"holds head.weight \(3, 6\).*is \(4, 6\) here"):
        load(_Classifier(4), tmp_path / "a")
    with pytest.raises(AdapterError, match=r"no module .* matches"):
        adapt(_Classifier(), AdapterConfig(**BODY, also_trained="tail"))


def test_batch_statistics_that_stay_are_not_saved(tmp_path: Path) -> None:
    model = adapt(_Classifier().eval(), AdapterConfig(**BODY))
    model(torch.randn(8, 6))
    assert "beside" not in summary(model)


def test_a_part_with_a_copy_per_replica_is_saved_as_that_of_one(tmp_path: Path) -> None:
    model: Any = adapt(_Classifier(), AdapterConfig(**BODY, replicas=2))
    model.head = PerReplica(model.head.requires_grad_(True), 2)
    perturb(model)
    x = torch.randn(4, 6)
    expected = model.eval()(torch.cat([x, x]))
    for r in (0, 1):
        fresh = load(_Classifier(), save(model, tmp_path / f"{r}", replica=r)).eval()
        assert relative(fresh(x), expected.chunk(2)[r]) < 1e-6
