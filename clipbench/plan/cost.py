"""What runs will cost: images that pass through the model, and time where earlier runs on this machine tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from clipbench.data.load import part_sizes
from clipbench.data.user import UserData
from clipbench.registry import Protocol
from clipbench.registry.budget import images_trained
from clipbench.results.store import Store

_NO_FOLDERS: Mapping[str, UserData] = {}


@dataclass(frozen=True)
class Cost:
    """Images trained and tested on over all epochs and runs; seconds, None where no earlier run tells."""

    train_images: int
    test_images: int
    seconds: float | None


def images_seen(protocol: Protocol, own: Mapping[str, UserData] = _NO_FOLDERS) -> tuple[int, int]:
    """Training and test images that one run passes through the model, from the official counts (or ``own`` folders)."""
    return _passed(protocol, *part_sizes(protocol, own))


def estimate(protocols: Iterable[Protocol], store: Store, own: Mapping[str, UserData] = _NO_FOLDERS) -> Cost:
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
        trained, tested = images_seen(protocol, own)
        train, test = train + trained, test + tested
        per_image = speed.get((protocol.backbone, protocol.method))
        seconds = None if per_image is None or seconds is None else seconds + per_image * (trained + tested)
    return Cost(train, test, seconds)


def _passed(protocol: Protocol, train: int, test: int) -> tuple[int, int]:
    """How many images pass in training and in tests, from how many there are."""
    times = protocol.epochs if protocol.tested == "every-epoch" and protocol.epochs else 1
    return images_trained(protocol, train), test * times
