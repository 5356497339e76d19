"""How long a run trains: optimiser steps from images, batch size, and epochs or steps per shot. No PyTorch here."""

from __future__ import annotations

from dataclasses import dataclass

from clipbench.registry import Protocol

_LINES = 20
"""History lines of a run that is measured in steps: hundreds of epochs of a few steps each would say little apiece."""


@dataclass(frozen=True)
class Budget:
    """Optimiser steps of one epoch, and of the whole run; 0 and 0 where nothing is trained.

    ``period`` are the steps that the schedule of the rate spans, where training does not end with it.
    """

    steps_per_epoch: int
    steps: int
    by_steps: bool
    period: int = 0

    @property
    def epochs(self) -> int:
        """Epochs that are begun; the last one may end early."""
        return -(-self.steps // self.steps_per_epoch) if self.steps else 0

    def line_due(self, before: int, after: int) -> bool:
        """Whether a history line is written at the end of the epoch that went from one step to the other."""
        if not self.by_steps or after >= self.steps:
            return True
        return before * _LINES // self.steps < after * _LINES // self.steps


def budget(protocol: Protocol, train_images: int) -> Budget:
    """CLIP-LoRA trains 500 steps per shot whatever the number of classes (lora.py:73); others count epochs."""
    if not train_images or not (protocol.steps_per_shot or protocol.epochs):
        return Budget(0, 0, by_steps=False)
    size = min(protocol.need("batch_size"), train_images)
    per_epoch = train_images // size if protocol.need("drop_last") else -(-train_images // size)
    if protocol.steps_per_shot:
        return Budget(per_epoch, protocol.steps_per_shot * protocol.need("shots"), by_steps=True)
    scheduled = per_epoch * protocol.need("epochs")
    if protocol.step_budget == "few-shot":
        return Budget(per_epoch, protocol.need("budget_steps"), by_steps=True, period=scheduled)
    return Budget(per_epoch, scheduled, by_steps=False)


def synthetic_per_domain(protocol: Protocol) -> int:
    """Synthetic images of each source domain in a step: a share of the batch, and one at least.

    As ODG-CLIP has it (trainer/odgclip.py:282-285).
    """
    return max(1, int(protocol.need("synthetic_share") * protocol.need("batch_size")))


def images_trained(protocol: Protocol, train_images: int, steps: int | None = None) -> int:
    """Images that pass through the model in so many steps (None: all that the protocol allows).

    The short last batches are counted as what they hold; synthetic images beside them are not counted.
    """
    due = budget(protocol, train_images)
    if not due.steps:
        return 0
    size: int = min(protocol.need("batch_size"), train_images)
    in_epoch = due.steps_per_epoch * size if protocol.need("drop_last") else train_images
    whole, rest = divmod(due.steps if steps is None else steps, due.steps_per_epoch)
    return whole * in_epoch + rest * size
