"""How a server makes one adapter of many clients': rules of federated learning, on tensors of all clients `[K, ...]`.

Weights `[K]` are numbers of images; they need not add up to one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from clipbench.adapters.errors import AdapterError


def average(values: Tensor, weights: Tensor) -> Tensor:
    """The weighted mean of `values [K, ...]` over the clients, summed in fp64 (FedAvg: McMahan et al., AISTATS 2017).

    Of A and B apart it is FedIT's rule (Zhang et al., ICASSP 2024), which is not the mean of the products; with A
    frozen, so that B alone differs, it is (FFA-LoRA: Sun et al., ICLR 2024).

    Raises:
        AdapterError: The weights are not K numbers of at least zero, or are all zero.
    """
    shares = _shares(weights, len(values))
    mean: Tensor = torch.tensordot(shares.to(values.device), values.double(), dims=1)
    return mean.to(values.dtype)


def product_average(down: Tensor, up: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Factors `[r, in]` and `[out, r]` of the best rank-r approximation of the weighted mean of the products B A.

    The mean of K products has rank K r at most; its singular values come from the factors stacked, so that no
    `[out, in]` matrix is formed. ``A = V'`` and ``B = U S`` (FlexLoRA: Bai et al., NeurIPS 2024, sec. 3.2).

    Args:
        down: A of every client, `[K, r, in]`.
        up: B of every client, `[K, out, r]`.
        weights: As for `average`.

    Raises:
        AdapterError: As for `average`.
    """
    shares = _shares(weights, len(down)).to(down.device)
    rank = down.shape[1]
    left = (shares[:, None, None] * up.double()).movedim(0, 1).flatten(1)
    right = down.double().flatten(0, 1)
    q_left, r_left = torch.linalg.qr(left)
    q_right, r_right = torch.linalg.qr(right.mT)
    u, values, v = torch.linalg.svd(r_left @ r_right.mT, full_matrices=False)
    new_up = (q_left @ u)[:, :rank] * values[:rank]
    new_down = v[:rank] @ q_right.mT
    return new_down.to(down.dtype), new_up.to(up.dtype)


def _shares(weights: Tensor, count: int) -> Tensor:
    shares = weights.double()
    if shares.shape != (count,) or not bool((shares >= 0).all()) or not bool(shares.sum() > 0):
        raise AdapterError(f"federated: weights must be {count} numbers of at least zero, not all zero.")
    return shares / shares.sum()
