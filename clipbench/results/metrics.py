"""What a cell's number measures, and where a record keeps it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from clipbench.results.record import Record


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
        Metric("unknown_accuracy", "accuracy on unknown classes", lambda r: r.metrics["unknown_accuracy"]),
        Metric("h_score", "H-score of known and unknown classes", lambda r: r.metrics["h_score"]),
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


def headline(record: Record) -> float:
    """The number that a run is known by: its accuracy, or its Dice."""
    return next(record.metrics[name] for name in ("accuracy", "dice") if name in record.metrics)
