"""A run that collapsed: trained, it is no better than guessing, while the same protocol's other seeds learned."""

from __future__ import annotations

import math
from collections.abc import Sequence

from clipbench.results.record import Record

_SIGMAS = 3.0
_LEARNED = 2.0
"""Another seed has learned if its accuracy is that many times the most that guessing plausibly gives.

With few classes nothing can be: there it has learned once it is halfway from guessing to all right.
"""


def guessing(classes: int, images: int) -> float:
    """The accuracy in percent that guessing among equally frequent classes exceeds about once in a thousand times."""
    p = 1.0 / classes
    return 100.0 * (p + _SIGMAS * math.sqrt(p * (1.0 - p) / images))


def at_chance(record: Record) -> bool:
    """Whether a run that was trained is no better than guessing."""
    trained = record.history[-1].train_loss is not None
    score = record.metrics.get("accuracy")
    return trained and score is not None and score <= guessing(record.data.classes, record.data.test_images)


def collapsed(records: Sequence[Record]) -> list[Record]:
    """Those of one protocol's runs that are at chance although another one learned."""
    lost = [record for record in records if at_chance(record)]
    return lost if any(_learned(record) for record in records) else []


def _learned(record: Record) -> bool:
    most = guessing(record.data.classes, record.data.test_images)
    return record.metrics.get("accuracy", 0.0) > min(_LEARNED * most, (most + 100.0) / 2.0)


def described(lost: Sequence[Record], records: Sequence[Record]) -> str:
    """``seed 2 collapsed (accuracy 1.02 %, guessing 1.00 %; the others 91.2 to 92.0 %)``, and where its state is."""
    others = [r.metrics["accuracy"] for r in records if r not in lost]
    span = f"{min(others):.1f} to {max(others):.1f} %"
    each = [
        f"seed {r.seed} collapsed (accuracy {r.metrics['accuracy']:.2f} %, guessing {100 / r.data.classes:.2f} %; "
        f"the others {span}); it is not averaged in, its trained state is in results/{r.id}"
        for r in lost
    ]
    return "; ".join(each)
