"""The learning rate as a pure function of progress, so that a resumed run needs no scheduler state."""

from __future__ import annotations

import math

from clipbench.registry import Protocol
from clipbench.registry.budget import Budget


def learning_rate(protocol: Protocol, step: int, budget: Budget) -> float:
    """The rate of optimiser step ``step`` (from 0) of a training of ``budget``.

    Cosine from ``lr`` to ``lr_min`` over all steps (or epochs, where the schedule moves once an epoch), as
    ``torch.optim.lr_scheduler.CosineAnnealingLR`` with that ``T_max``. The first ``warmup_epochs`` epochs train at
    the constant ``warmup_lr``; the cosine begins after them and keeps its length, so that it ends early (Dassl's
    ``ConstantWarmupScheduler`` with ``WARMUP_RECOUNT``). Where training goes on behind the cosine's period, the rate
    rises again, as PyTorch's does.
    """
    epoch = step // budget.steps_per_epoch
    warm = 0 if protocol.warmup_epochs is None else protocol.warmup_epochs
    if epoch < warm:
        return float(protocol.need("warmup_lr"))
    start = float(protocol.need("lr"))
    if protocol.need("schedule") == "constant":
        return start
    done, total = step - warm * budget.steps_per_epoch, budget.period or budget.steps
    if protocol.need("schedule_step") == "epoch":
        done, total = epoch - warm, total // budget.steps_per_epoch if budget.period else budget.epochs
    floor = float(protocol.need("lr_min"))
    return floor + (start - floor) * (1.0 + math.cos(math.pi * done / total)) / 2.0
