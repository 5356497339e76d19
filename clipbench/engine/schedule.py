"""Learning rate as a pure function of progress, so that a resumed run needs no scheduler state."""

from __future__ import annotations

import math

from clipbench.registry import Protocol
from clipbench.registry.budget import Budget


def learning_rate(protocol: Protocol, step: int, budget: Budget) -> float:
    """The rate of optimiser step ``step`` (from 0).

    Cosine from ``lr`` to ``lr_min`` over all steps (or epochs, where the schedule moves once an epoch), as
    ``torch.optim.lr_scheduler.CosineAnnealingLR`` with that ``T_max``.
    """
    start, floor = protocol.lr or 0.0, protocol.lr_min or 0.0
    if protocol.schedule == "constant":
        return start
    done, total = step, budget.steps
    if protocol.schedule_step == "epoch":
        done, total = step // budget.steps_per_epoch, budget.epochs
    return floor + (start - floor) * (1.0 + math.cos(math.pi * done / total)) / 2.0
