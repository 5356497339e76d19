"""Random streams by purpose: what a seed means does not depend on what else ran before, or beside."""

from __future__ import annotations

import hashlib

import torch


def stream_seed(seed: int, purpose: str, epoch: int = 0) -> int:
    """A 63-bit seed for one purpose (``order``, ``flips``, ``adapter``, ``head``, ``dropout``) of one run and epoch.

    Streams restart at every epoch, so that a checkpoint needs no generator states.
    """
    digest = hashlib.sha256(f"{seed} {purpose} {epoch}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def stream(seed: int, purpose: str, epoch: int = 0) -> torch.Generator:
    """A CPU generator for :func:`stream_seed`: the same draws whatever the device of the model."""
    return torch.Generator().manual_seed(stream_seed(seed, purpose, epoch))
