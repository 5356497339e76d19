"""Dropout streams: one per replica, restartable, replayed by gradient checkpointing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from clipbench.adapters import AdapterConfig, adapt, dropout_state, set_dropout_seeds, set_dropout_state
from clipbench.adapters.dropout import new_stream, replica_mask
from clipbench.errors import UserError
from tests.adapters.models import adapter_parameters, gradients, images, perturb, relative, tokens

CONFIG: dict[str, Any] = {"kind": "dora", "rank": 2, "dropout": 0.25}


def _adapted(model: Any, **options: Any) -> Any:
    torch.manual_seed(0)
    return perturb(adapt(model, AdapterConfig(**{**CONFIG, **options}))).train()


def _features(model: Any, x: Tensor, t: Tensor) -> Tensor:
    return torch.cat([model.encode_image(x), model.encode_text(t)], 1)


def test_a_replica_draws_what_a_model_of_its_own_draws(tiny: Callable[[], Any]) -> None:
    joint = _adapted(tiny(), replicas=2)
    set_dropout_seeds(joint, (3, 9))
    single = _adapted(tiny())
    set_dropout_seeds(single, (9,))
    for one, many in zip(adapter_parameters(single), adapter_parameters(joint), strict=True):
        one.data.copy_(many.data[1:])
    for step in range(2):
        x, t = images(4, seed=step), tokens(4, seed=step)
        assert relative(_features(joint, x, t)[2:], _features(single, x[2:], t[2:])) < 1e-6


def test_seeds_restart_the_streams_and_every_call_draws_anew(tiny: Callable[[], Any]) -> None:
    model, x, t = _adapted(tiny()), images(2), tokens(2)
    set_dropout_seeds(model, (1,))
    first, second = _features(model, x, t), _features(model, x, t)
    assert not torch.equal(first, second)
    torch.manual_seed(123)  # nothing outside the streams matters
    set_dropout_seeds(model, (1,))
    assert torch.equal(_features(model, x, t), first)
    state = dropout_state(model)
    assert torch.equal(_features(model, x, t), second)
    set_dropout_state(model, state)
    assert torch.equal(_features(model, x, t), second)


def test_one_tower_does_not_move_the_stream_of_the_other(tiny: Callable[[], Any]) -> None:
    model, x, t = _adapted(tiny()), images(2), tokens(2)
    set_dropout_seeds(model, (1,))
    alone = model.encode_text(t)
    set_dropout_seeds(model, (1,))
    model.encode_image(x)
    assert torch.equal(model.encode_text(t), alone)


def test_without_seeds_torchs_own_generator_decides(tiny: Callable[[], Any]) -> None:
    model, x, t = _adapted(tiny()), images(2), tokens(2)
    torch.manual_seed(5)
    first = _features(model, x, t)
    torch.manual_seed(5)
    assert torch.equal(_features(model, x, t), first)
    assert not torch.equal(_features(model, x, t), first)


def test_evaluation_drops_nothing(tiny: Callable[[], Any]) -> None:
    model, x, t = _adapted(tiny()).eval(), images(2), tokens(2)
    assert torch.equal(_features(model, x, t), _features(model, x, t))


@pytest.mark.parametrize("seeds", [None, (4,)])
@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_gradient_checkpointing_sees_the_same_masks(tiny: Callable[[], Any], seeds: Any, kind: Any) -> None:
    results = []
    for checkpointing in (False, True):
        model = _adapted(tiny(), kind=kind)
        model.set_grad_checkpointing(checkpointing)
        torch.manual_seed(0)
        if seeds:
            set_dropout_seeds(model, seeds)
        losses = [_features(model, images(2, seed=s), tokens(2, seed=s)).square().sum() for s in range(2)]
        torch.stack(losses).sum().backward()  # two forward passes wait for one backward pass
        _features(model, images(2), tokens(2)).sum().backward()
        results.append((gradients(model), dropout_state(model)))
    for plain, again in zip(results[0][0], results[1][0], strict=True):
        assert relative(again, plain) < 1e-5
    assert all(torch.equal(stream[:, :2], results[1][1][name][:, :2]) for name, stream in results[0][1].items())


def test_masks_keep_the_right_share() -> None:
    x = torch.empty(2, 500, 400)
    mask = replica_mask(x, new_stream(2), 0.9)
    assert mask.shape == x.shape
    assert set(mask.unique().tolist()) == {0, 1}
    assert mask.float().mean().item() == pytest.approx(0.9, abs=5 * (0.09 / x.numel()) ** 0.5)
    assert not torch.equal(mask[0], mask[1])


def test_mistakes(tiny: Callable[[], Any]) -> None:
    model = _adapted(tiny(), replicas=2)
    with pytest.raises(UserError, match="got 1 seeds for 2 replicas"):
        set_dropout_seeds(model, (1,))
    with pytest.raises(UserError, match="other adapters"):
        set_dropout_state(model, dropout_state(_adapted(tiny())))
