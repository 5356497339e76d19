"""What a validation set decides: when the rate is cut, when training stops, which epoch is kept. One run each.

The state of each is a plain dictionary, so that a checkpoint can hold it.
"""

from __future__ import annotations

import math

_THRESHOLD, _SMALLEST_CUT = 1e-4, 1e-8
"""PyTorch's defaults: the relative gain that counts, and the cut below which the rate stays."""


class Plateau:
    """``torch.optim.lr_scheduler.ReduceLROnPlateau`` for a loss, with its other settings at their defaults.

    ``rate`` is the learning rate of the next epoch. It is multiplied by ``factor`` once more than ``patience`` epochs
    in a row bring no loss below ``best * (1 - 1e-4)``.
    """

    def __init__(self, rate: float, factor: float, patience: int) -> None:
        self.rate = rate
        self._factor, self._patience = factor, patience
        self._best, self._bad = math.inf, 0

    def step(self, loss: float) -> float:
        """Take the validation loss of an epoch; the rate of the next."""
        if loss < self._best * (1.0 - _THRESHOLD):
            self._best, self._bad = loss, 0
        else:
            self._bad += 1
        if self._bad > self._patience:
            lower = self.rate * self._factor
            self.rate, self._bad = lower if self.rate - lower > _SMALLEST_CUT else self.rate, 0
        return self.rate

    def state(self) -> dict[str, float]:
        """All that changes."""
        return {"rate": self.rate, "best": self._best, "bad": self._bad}

    def restore(self, state: dict[str, float]) -> None:
        """Go on from a ``state``."""
        self.rate, self._best, self._bad = state["rate"], state["best"], int(state["bad"])


class EarlyStop:
    """Ends training after ``patience`` epochs in a row without a score above ``best + min_delta``.

    As Lightning's ``EarlyStopping`` with ``mode="max"``: a score that is no number ends it too. (medvlsm's smallest
    number of epochs, 10, can never bind: its patience is 20.)
    """

    def __init__(self, patience: int, min_delta: float) -> None:
        self._patience, self._min_delta = patience, min_delta
        self._best, self._bad = -math.inf, 0

    def step(self, score: float) -> bool:
        """Take the validation score of an epoch; whether training ends now."""
        if not math.isfinite(score):
            return True
        if score - self._min_delta > self._best:
            self._best, self._bad = score, 0
        else:
            self._bad += 1
        return self._bad >= self._patience

    def state(self) -> dict[str, float]:
        """All that changes."""
        return {"best": self._best, "bad": self._bad}

    def restore(self, state: dict[str, float]) -> None:
        """Go on from a ``state``."""
        self._best, self._bad = state["best"], int(state["bad"])


class Best:
    """The epoch with the highest score, the first of equals: whose weights are kept for the test."""

    def __init__(self) -> None:
        self.score, self.epoch = -math.inf, -1

    def step(self, epoch: int, score: float) -> bool:
        """Take the score of an epoch; whether it is the new best. A score that is no number never is."""
        if not score > self.score:
            return False
        self.score, self.epoch = score, epoch
        return True

    def state(self) -> dict[str, float]:
        """All that changes."""
        return {"score": self.score, "epoch": self.epoch}

    def restore(self, state: dict[str, float]) -> None:
        """Go on from a ``state``."""
        self.score, self.epoch = state["score"], int(state["epoch"])
