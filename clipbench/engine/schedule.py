"""The learning rate as a pure function of progress, so that a resumed run needs no scheduler state."""

from __future__ import annotations

import math

from clipbench.registry import Protocol
from clipbench.registry.budget import Budget


def learning_rate(protocol: Protocol, step: int, budget: Budget) -> float:
    """The rate of optimiser step ``step`` (from 0) of a training of ``budget``.

    Cosine from ``lr`` to ``lr_min`` over all steps (or epochs, where the schedule moves once an epoch), as
    ``torch.optim.lr_scheduler.CosineAnnealingLR`` with that ``T_max``; ``multistep`` as its ``MultiStepLR``. The first
    ``warmup_epochs`` epochs train at the constant ``warmup_lr``; the cosine begins after them and keeps its length, so
    that it ends early (Dassl's ``ConstantWarmupScheduler`` with ``WARMUP_RECOUNT``). Under a linear warm-up the rate
    rises step by step from ``warmup_lr`` to ``lr``, and the cosine ends with training (GluonCV's ``LRSequential``).
    Where training goes on behind the cosine's period, the rate rises again, as PyTorch's does.
    """
    epoch = step // budget.steps_per_epoch
    warm = 0 if protocol.warmup_epochs is None else protocol.warmup_epochs
    linear = warm > 0 and protocol.need("warmup_shape") == "linear"
    start, before = float(protocol.need("lr")), warm * budget.steps_per_epoch
    if epoch < warm:
        first = float(protocol.need("warmup_lr"))
        return first + (start - first) * step / before if linear else first
    match protocol.need("schedule"):
        case "constant":
            return start
        case "multistep":
            cuts = sum(epoch >= milestone for milestone in protocol.need("milestones"))
            return float(start * protocol.need("schedule_factor") ** cuts)
    done, total = step - before, (budget.period or budget.steps) - linear * before
    if protocol.need("schedule_step") == "epoch":
        epochs = total // budget.steps_per_epoch if budget.period else budget.epochs - linear * warm
        done, total = epoch - warm, epochs
    floor = float(protocol.need("lr_min"))
    return floor + (start - floor) * (1.0 + math.cos(math.pi * done / total)) / 2.0
