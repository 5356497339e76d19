"""Steps and epochs against counting them one by one."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipbench.registry import Protocol
from clipbench.registry.budget import budget, images_trained


def _counted(images: int, batch: int, steps: int, *, drop: bool) -> tuple[int, int]:
    """Images and epochs that a loop over batches sees until it has made its steps."""
    left, seen, epochs = steps, 0, 0
    while left:
        epochs += 1
        sizes = [min(batch, images - start) for start in range(0, images, batch)]
        if drop and len(sizes) > 1 and sizes[-1] < batch:
            sizes.pop()
        for size in sizes:
            if left:
                left, seen = left - 1, seen + size
    return seen, epochs


@given(st.integers(1, 200), st.integers(1, 64), st.integers(1, 9), st.sampled_from([1, 2, 16]), st.booleans())
def test_steps_per_shot(images: int, batch: int, per_shot: int, shots: int, drop: bool) -> None:
    protocol = Protocol(batch_size=batch, steps_per_shot=per_shot, shots=shots, drop_last=drop)
    due = budget(protocol, images)
    assert due.steps == per_shot * shots
    assert (images_trained(protocol, images), due.epochs) == _counted(images, batch, due.steps, drop=drop)


def test_clip_loras_steps() -> None:
    eurosat = budget(Protocol(batch_size=32, drop_last=False, steps_per_shot=500, shots=1), 10)
    assert (eurosat.steps_per_epoch, eurosat.steps, eurosat.epochs) == (1, 500, 500)
    imagenet = budget(Protocol(batch_size=32, drop_last=False, steps_per_shot=500, shots=16), 16_000)
    assert (imagenet.steps_per_epoch, imagenet.steps, imagenet.epochs) == (500, 8000, 16)


def test_nothing_to_train() -> None:
    assert budget(Protocol(shots=0), 0).steps == 0
    assert budget(Protocol(), 100).steps == 0
    assert images_trained(Protocol(), 100) == 0


@pytest.mark.parametrize(("per_epoch", "steps"), [(1, 500), (7, 8000), (500, 8000), (3, 5)])
def test_some_twenty_history_lines(per_epoch: int, steps: int) -> None:
    due = budget(Protocol(batch_size=1, drop_last=False, steps_per_shot=steps, shots=1), per_epoch)
    ends = [min(e * per_epoch, steps) for e in range(due.epochs + 1)]
    lines = [b for a, b in pairwise(ends) if due.line_due(a, b)]
    assert lines[-1] == steps
    assert len(lines) == min(due.epochs, 20) or 10 <= len(lines) <= 21
