"""Masks for the inputs of the branches, with one reproducible stream per replica.

The mask of a call is a pure function of (seed of the replica, name of the matrix, number of the call). So replica r of
R draws exactly what a single-replica model with the same seed draws, and the towers do not disturb each other's
streams. A matrix without a seed uses torch's default generator.
"""

from __future__ import annotations

import hashlib
from functools import cache

import torch
from torch import Tensor

UNSEEDED = -1
_SEED, _CALLS, _REPLAYED = range(3)


def new_stream(replicas: int) -> Tensor:
    """State of one matrix's masks, `[R, 3]` int64 on the CPU: seed of this matrix, calls so far, calls replayed."""
    return torch.tensor([[UNSEEDED, 0, 0]] * replicas, dtype=torch.int64)


def site_seed(seed: int, name: str) -> int:
    """The 62-bit seed that matrix `name` uses when its replica has `seed`."""
    return _hash(f"{seed}/{name}")


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 2


@cache
def _generator(device: torch.device) -> torch.Generator:
    return torch.Generator(device)


def _draw(x: Tensor, keep: float, generator: torch.Generator | None) -> Tensor:
    """Ones with probability `keep` (to 1/65536) like `x`, from 16 random bits each: CPUs take 10 x for bernoulli_."""
    words = torch.empty((x.numel() + 3) // 4, dtype=torch.int64, device=x.device)
    bits = words.random_(-(2**63), None, generator=generator).view(torch.int16)[: x.numel()]
    threshold = min(round(keep * 65536), 65535) - 32768
    return (bits < threshold).view(torch.uint8).view(x.shape)


def _call_number(row: list[int]) -> int:
    """Which call this is; steps the counters in `row`.

    Inside a backward pass a forward can only be gradient checkpointing computing again what it dropped, last call
    first: it must see the old mask, and must not advance the stream.
    """
    if torch._C._current_graph_task_id() != -1:
        row[_REPLAYED] += 1
        return row[_CALLS] - row[_REPLAYED]
    row[_CALLS] += 1
    row[_REPLAYED] = 0
    return row[_CALLS] - 1


# An operator of its own, so that torch.compile keeps it whole instead of breaking the graph at the generator.
@torch.library.custom_op(
    "clipbench::replica_mask", mutates_args=("stream",), schema="(Tensor x, Tensor(a!) stream, float keep) -> Tensor"
)
def replica_mask(x: Tensor, stream: Tensor, keep: float) -> Tensor:
    """A mask like `x` `[R, M, D]` in uint8, one with probability `keep`; advances `stream` (see `new_stream`)."""
    masks = []
    rows: list[list[int]] = stream.tolist()
    for row in rows:
        call = _call_number(row)
        generator = None
        if row[_SEED] != UNSEEDED:
            generator = _generator(x.device).manual_seed(_hash(f"{row[_SEED]}/{call}"))
        masks.append(_draw(x[0], keep, generator))
    stream.copy_(torch.tensor(rows, dtype=torch.int64))
    return torch.stack(masks)


@replica_mask.register_fake
def _(x: Tensor, stream: Tensor, keep: float) -> Tensor:  # noqa: ARG001
    return torch.empty(x.shape, dtype=torch.uint8, device=x.device)
