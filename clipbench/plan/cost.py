"""What runs will cost: images, time, memory and disk; by records of this machine, else from a model of the work.

Time is operations over the device's rate (see :mod:`clipbench.plan.speed`), memory the process, its weights and its
activations (see :mod:`clipbench.plan.work`). Where there are records, the estimate is held against them, and says by
how much it was off.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from clipbench.data.load import Datasets
from clipbench.errors import UserError
from clipbench.plan.speed import Rates
from clipbench.plan.work import Work, work
from clipbench.registry import Protocol
from clipbench.registry.budget import images_trained
from clipbench.results.record import Record
from clipbench.results.store import Store

_BESIDE_PRODUCTS = 1.3
"""Norms, activations, attention's softmax and the optimiser take about a quarter of a step beside the products."""
_PROCESS = 1.08e9
"""Bytes of a process on a CPU that has imported PyTorch, open_clip and torchvision, before it has a model."""


@dataclass(frozen=True)
class Error:
    """How far the estimate is from ``records`` runs here: the median factor in time, and the median share of memory."""

    records: int
    time_factor: float
    memory_share: float


@dataclass(frozen=True)
class Cost:
    """What runs take together; ``peak_memory_bytes`` is the largest one's, with one seed a pass.

    Attributes:
        train_images: Trained on over all epochs and runs.
        test_images: Tested on likewise.
        seconds: Of all runs; None where no run's time is known.
        by_records: Runs whose time is that of earlier runs of the same backbone and method here.
        estimated: Runs whose time follows from their operations.
        unknown: Runs with neither, which are in no sum of time and memory.
        peak_memory_bytes: None where no run's is known.
        decoded_bytes: Decoded images in the cache, on disk.
        error: The estimate against records; None where there are none that it applies to.
        watts: Mean power of the device over the runs that it was measured in; None where no record has it.
    """

    train_images: int
    test_images: int
    seconds: float | None
    by_records: int
    estimated: int
    unknown: int
    peak_memory_bytes: float | None
    decoded_bytes: float
    error: Error | None
    watts: float | None = None

    @property
    def kilowatt_hours(self) -> float | None:
        """Energy of all runs whose time is known, on this device at the power of earlier runs."""
        return None if self.watts is None or self.seconds is None else self.watts * self.seconds / 3.6e6


def images_seen(protocol: Protocol, datasets: Datasets) -> tuple[int, int]:
    """Training and test images that one run passes through the model, by the data at hand or the official counts."""
    return _passed(protocol, *datasets.sizes(protocol))


def estimate(
    protocols: Iterable[Protocol], store: Store, datasets: Datasets, rates: Rates, config: Path | None = None
) -> Cost:
    """Sum over the runs, of which each protocol stands for one; a device of the kind that ``rates`` are of.

    ``config`` is the file of a backbone of the user's.
    """
    records = [r for r in store.scan()[0] if r.environment.device.startswith(rates.device)]
    model = Model(datasets, rates, config)
    speeds = _speeds(records)
    train = test = by_records = 0
    seconds: list[float] = []
    peaks: list[float] = []
    decoded: dict[tuple[object, ...], float] = {}
    count = 0
    for protocol in protocols:
        count += 1
        trained, tested = images_seen(protocol, datasets)
        train, test = train + trained, test + tested
        per_image = speeds.get((protocol.backbone, protocol.method))
        found = model.work(protocol)
        if per_image is not None:
            by_records += 1
            seconds.append(per_image * (trained + tested))
        elif found is not None:
            seconds.append(model.seconds(protocol, found))
        if found is not None:
            peaks.append(model.memory(found))
            key = (protocol.dataset, protocol.image_size, protocol.test_domain)
            decoded[key] = max(decoded.get(key, 0.0), found.decoded)
    return Cost(
        train_images=train,
        test_images=test,
        seconds=sum(seconds) if seconds else None,
        by_records=by_records,
        estimated=len(seconds) - by_records,
        unknown=count - len(seconds),
        peak_memory_bytes=max(peaks, default=None),
        decoded_bytes=sum(decoded.values()),
        error=_error(records, model),
        watts=_power(records),
    )


class Model:
    """The model of the work on one kind of device; the work of each protocol is counted once."""

    def __init__(self, datasets: Datasets, rates: Rates, config: Path | None = None) -> None:
        self._datasets, self._rates, self._config = datasets, rates, config
        self._works: dict[Protocol, Work | None] = {}

    def work(self, protocol: Protocol) -> Work | None:
        """Operations and bytes of one run; None where they are not known."""
        if protocol not in self._works:
            self._works[protocol] = work(protocol, self._datasets, self._config)
        return self._works[protocol]

    def seconds(self, protocol: Protocol, found: Work) -> float:
        """Of one run that has the device for itself."""
        return _BESIDE_PRODUCTS * found.flops / self._rates.of(protocol.need("precision"))

    def memory(self, found: Work, replicas: int = 1) -> float:
        """Bytes at the peak: on a CPU of the process, which keeps a copy of the weights for the next job."""
        on_cpu = self._rates.device == "cpu"
        process = _PROCESS + found.weights + found.decoded if on_cpu else 0.0
        return process + found.weights + replicas * found.activations


def _speeds(records: Sequence[Record]) -> Mapping[tuple[str | None, str | None], float]:
    """Seconds per image that passes, by backbone and method, of the newest record."""
    return {
        (r.protocol.backbone, r.protocol.method): r.cost.seconds
        / r.cost.replicas
        / max(sum(_passed(r.protocol, r.data.train_images, r.data.test_images)), 1)
        for r in records
    }


def _power(records: Sequence[Record]) -> float | None:
    known = [(r.cost.energy_joules, r.cost.seconds) for r in records if r.cost.energy_joules]
    return sum(joules for joules, _ in known) / sum(seconds for _, seconds in known) if known else None


def _error(records: Sequence[Record], model: Model) -> Error | None:
    factors, shares = [], []
    for record in records:
        found = None
        with suppress(UserError):  # of a folder or method of the user's that this command does not name
            found = model.work(record.protocol)
        if found is None:
            continue
        ratio = model.seconds(record.protocol, found) * record.cost.replicas / record.cost.seconds
        factors.append(max(ratio, 1 / ratio))
        if record.cost.peak_memory_bytes:
            shares.append(abs(model.memory(found, record.cost.replicas) / record.cost.peak_memory_bytes - 1))
    return Error(len(factors), median(factors), median(shares)) if shares else None


def _passed(protocol: Protocol, train: int, test: int) -> tuple[int, int]:
    """How many images pass in training and in tests, from how many there are."""
    times = protocol.epochs if protocol.tested == "every-epoch" and protocol.epochs else 1
    return images_trained(protocol, train), test * times
