"""What a cell's number measures, and where a record keeps it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from clipbench.record import Record


@dataclass(frozen=True)
class Metric:
    """A kind of number. ``exact`` ones follow from the architecture alone: no seed, no spread, no test set."""

    name: str
    label: str
    read: Callable[[Record], float]
    exact: bool = False


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "accuracy", lambda r: r.metrics["accuracy"]),
        Metric("dice", "mean Dice", lambda r: r.metrics["dice"]),
        Metric(
            "trainable-share",
            "trainable / all parameters",
            lambda r: 100.0 * r.model.trainable_parameters / r.model.total_parameters,
            exact=True,
        ),
        Metric(
            "trainable-parameters", "trainable parameters", lambda r: r.model.trainable_parameters / 1e6, exact=True
        ),
    )
}
