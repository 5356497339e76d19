"""What the validation images decide while one run trains: its learning rate, its end, and which epoch is tested."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from clipbench.engine.plateau import Best, EarlyStop, Plateau
from clipbench.registry import Protocol


def watches(protocol: Protocol) -> bool:
    """Whether a protocol asks for the validation images."""
    return protocol.schedule == "plateau" or protocol.early_stop is not None or protocol.selection == "best-val"


def trains_alone(protocol: Protocol) -> bool:
    """Whether its runs need a pass each: one optimiser has one rate, one end and one gradient norm."""
    return watches(protocol) or protocol.gradient_clip is not None


class Watch:
    """Plateau schedule on the validation loss; early stop and best epoch on the validation score (CLIP-DoRA sec. 4.4).

    ``best`` holds the parameters of the best epoch so far; ``ended`` is set once the early stop has struck.
    """

    def __init__(self, protocol: Protocol) -> None:
        rate, factor = protocol.lr or 0.0, protocol.schedule_factor or 0.1
        self._plateau = Plateau(rate, factor, protocol.patience or 0) if protocol.schedule == "plateau" else None
        self._stop = EarlyStop(protocol.early_stop, protocol.min_delta or 0.0) if protocol.early_stop else None
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
