"""What runs will cost: images that pass through the model, and time where earlier runs on this machine tell."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from clipbench.data.load import Datasets
from clipbench.registry import Protocol
from clipbench.registry.budget import images_trained
from clipbench.results.store import Store


@dataclass(frozen=True)
class Cost:
    """Images trained and tested on over all epochs and runs; seconds, None where no earlier run tells."""

    train_images: int
    test_images: int
    seconds: float | None


def images_seen(protocol: Protocol, datasets: Datasets) -> tuple[int, int]:
    """Training and test images that one run passes through the model, by the data at hand or the official counts."""
    return _passed(protocol, *datasets.sizes(protocol))


def estimate(protocols: Iterable[Protocol], store: Store, datasets: Datasets) -> Cost:
    """Sum over the runs; the speed is that of the newest record of the same backbone and method."""
    speed = {
        (r.protocol.backbone, r.protocol.method): r.cost.seconds
        / r.cost.replicas
        / max(sum(_passed(r.protocol, r.data.train_images, r.data.test_images)), 1)
        for r in store.scan()[0]
    }
    train = test = 0
    seconds: float | None = 0.0
    for protocol in protocols:
        trained, tested = images_seen(protocol, datasets)
        train, test = train + trained, test + tested
        per_image = speed.get((protocol.backbone, protocol.method))
        seconds = None if per_image is None or seconds is None else seconds + per_image * (trained + tested)
    return Cost(train, test, seconds)


def _passed(protocol: Protocol, train: int, test: int) -> tuple[int, int]:
    """How many images pass in training and in tests, from how many there are."""
    times = protocol.epochs if protocol.tested == "every-epoch" and protocol.epochs else 1
    return images_trained(protocol, train), test * times
