"""What the tests of the adapters share: inputs, perturbed parameters, and a measure of difference."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from clipbench.adapters import adapted_modules


def perturb(model: nn.Module, seed: int = 0) -> Any:
    """Give every trained parameter a value that training could have given it."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator).to(parameter))
    return model


def relative(a: Tensor, b: Tensor) -> float:
    """|a - b| / |b|."""
    return ((a - b).norm() / b.norm().clamp_min(1e-30)).item()


def adapter_parameters(model: nn.Module) -> list[nn.Parameter]:
    return [p for module in adapted_modules(model).values() for p in module.parameters()]


def gradients(model: nn.Module) -> list[Tensor]:
    """The gradients of the adapters; every one must be there."""
    found = [p.grad for p in adapter_parameters(model)]
    assert all(grad is not None for grad in found)
    return [grad for grad in found if grad is not None]


def images(rows: int, size: int = 16, seed: int = 1) -> Tensor:
    return torch.randn(rows, 3, size, size, generator=torch.Generator().manual_seed(seed))


def tokens(rows: int, length: int = 12, vocabulary: int = 64, seed: int = 2) -> Tensor:
    return torch.randint(1, vocabulary, (rows, length), generator=torch.Generator().manual_seed(seed))
