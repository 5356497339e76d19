"""The replicated linear head against ``torch.nn.Linear`` and its cross-entropy."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from clipbench.engine.tasks.head import LinearHead
from clipbench.methods.base import Method
from clipbench.registry import Protocol


def head(seeds: tuple[int, ...], **fields: object) -> LinearHead:
    return LinearHead(
        seeds, 7, 12, Protocol.of({"head_bias": True, "head_init": "torch-linear", "head_dropout": 0.0} | fields)
    )


@pytest.mark.parametrize("bias", [True, False])
def test_logits_losses_and_gradients_are_those_of_plain_linear_layers(bias: bool) -> None:
    generator = torch.Generator().manual_seed(torch.seed())  # fresh inputs every time
    ours = head((1, 2, 3), head_bias=bias)
    features = torch.randn(3 * 5, 12, generator=generator, requires_grad=True)
    labels = torch.randint(0, 7, (3, 5), generator=generator)
    logits = ours(features)
    losses = Method().loss(logits, labels)
    losses.sum().backward()
    assert (logits.shape, losses.shape) == ((3, 5, 7), (3,))
    for r in range(3):
        plain = nn.Linear(12, 7, bias=bias)
        with torch.no_grad():
            plain.weight.copy_(ours.weight[r])
            if bias:
                plain.bias.copy_(ours.bias[r])  # type: ignore[index]
        inputs = features.detach()[5 * r : 5 * r + 5].requires_grad_()
        due = plain(inputs)
        loss = nn.functional.cross_entropy(due, labels[r])
        loss.backward()
        torch.testing.assert_close(logits[r], due)
        torch.testing.assert_close(losses[r], loss)
        torch.testing.assert_close(ours.weight.grad[r], plain.weight.grad)  # type: ignore[index]
        torch.testing.assert_close(features.grad[5 * r : 5 * r + 5], inputs.grad)  # type: ignore[index]
        if bias:
            torch.testing.assert_close(ours.bias.grad[r], plain.bias.grad)  # type: ignore[index, union-attr]


def test_a_seed_means_the_same_head_alone_or_among_others() -> None:
    together, alone = head((4, 5, 6)), head((5,))
    assert torch.equal(together.weight[1], alone.weight[0])
    assert torch.equal(together.bias[1], alone.bias[0])  # type: ignore[index]


def test_the_draws() -> None:
    wide = LinearHead((1,), 500, 64, Protocol(head_bias=True, head_init="torch-linear", head_dropout=0.0))
    plain = nn.Linear(64, 500)
    bound = 1 / math.sqrt(64)
    for ours, torchs in ((wide.weight, plain.weight), (wide.bias, plain.bias)):
        assert ours is not None
        assert ours.abs().max() <= bound
        assert ours.std().item() == pytest.approx(torchs.std().item(), rel=0.08)
        assert ours.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
    normal = LinearHead((1,), 500, 64, Protocol(head_bias=True, head_init="normal-0.01", head_dropout=0.0))
    assert normal.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert normal.bias is not None
    assert not normal.bias.any()
    assert not head((1,), head_init="zeros").weight.any()


def test_dropout_scales_drops_its_share_and_is_off_in_evaluation() -> None:
    ours = LinearHead((1, 2), 12, 12, Protocol(head_bias=False, head_init="zeros", head_dropout=0.25))
    with torch.no_grad():
        ours.weight.copy_(torch.eye(12).expand(2, 12, 12))  # logits are the dropped features themselves
    features = torch.ones(2 * 2000, 12)
    ours.start_epoch((1, 2), 0)
    found = ours(features)
    assert found.unique().tolist() == [0.0, pytest.approx(1 / 0.75)]
    assert (found == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    assert not torch.equal(found[0], found[1])
    alone = LinearHead((2,), 12, 12, Protocol(head_bias=False, head_init="zeros", head_dropout=0.25))
    with torch.no_grad():
        alone.weight.copy_(torch.eye(12)[None])
    alone.start_epoch((2,), 0)
    assert torch.equal(alone(features[:2000])[0], found[1])
    ours.eval()
    assert torch.equal(ours(features).view(-1, 12), features)


def test_logits_are_float32_under_autocast() -> None:
    """Among dozens of classes bf16's eight bits would make ties, and the lower class number would win them."""
    ours, features = head((1, 2)), torch.randn(10, 12)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = ours(features)
    assert found.dtype == torch.float32
    assert torch.equal(found, ours(features))
