"""What the validation images decide while one run trains: its learning rate, its end, and which epoch is tested."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from clipbench.registry import Protocol

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


def validates(protocol: Protocol) -> bool:
    """Whether a protocol asks for the validation images."""
    return protocol.schedule == "plateau" or protocol.early_stop is not None or protocol.selection == "best-val"


def trains_alone(protocol: Protocol) -> bool:
    """Whether its runs train one by one: one optimiser has one rate, one end, one gradient norm, one backbone."""
    return validates(protocol) or protocol.gradient_clip is not None or protocol.batch_norm == "trained"


class Validation:
    """Plateau schedule on the validation loss; early stop and best epoch on the validation score (CLIP-DoRA sec. 4.4).

    ``best`` holds the parameters of the best epoch so far; ``ended`` is set once the early stop has struck.
    """

    def __init__(self, protocol: Protocol) -> None:
        need = protocol.need
        plateau = protocol.schedule == "plateau"
        self._plateau = Plateau(need("lr"), need("schedule_factor"), need("patience")) if plateau else None
        self._stop = EarlyStop(need("early_stop"), need("min_delta")) if protocol.early_stop else None
        self._best = Best() if protocol.selection == "best-val" else None
        self.best: dict[str, Tensor] = {}
        self.ended = False

    @property
    def rate(self) -> float | None:
        """The learning rate of the next epoch; None where another schedule has it."""
        return None if self._plateau is None else self._plateau.rate

    def step(self, epoch: int, loss: float, score: float, parameters: Mapping[str, Tensor]) -> None:
        """Take an epoch's validation loss and score (in percent), and what was trained by its end."""
        share = score / 100.0
        if self._plateau is not None:
            self._plateau.step(loss)
        if self._best is not None and self._best.step(epoch, share):
            self.best = {name: value.detach().clone() for name, value in parameters.items()}
        self.ended = self._stop is not None and self._stop.step(share)

    def state(self) -> dict[str, Any]:
        """All that changes."""
        parts = {"plateau": self._plateau, "stop": self._stop, "best": self._best}
        numbers = {name: part.state() for name, part in parts.items() if part is not None}
        return {"numbers": numbers, "parameters": self.best, "ended": self.ended}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a ``state``."""
        parts = {"plateau": self._plateau, "stop": self._stop, "best": self._best}
        for name, numbers in state["numbers"].items():
            part: Any = parts[name]
            part.restore(numbers)
        self.best, self.ended = dict(state["parameters"]), state["ended"]
