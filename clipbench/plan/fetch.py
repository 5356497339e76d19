"""What would have to be fetched for runs that wait for data or weights: bytes, as far as their sources state sizes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from clipbench.data.catalogue import entry, known
from clipbench.models.weights.catalogue import checkpoint
from clipbench.plan.outlook import Obstacle, Outlook


@dataclass(frozen=True)
class Fetch:
    """``bytes`` to download, ``disk`` they take unpacked, and the names of what nobody states a size of."""

    bytes: int
    disk: int
    unknown: Sequence[str]


def to_fetch(runs: Iterable[Outlook]) -> Fetch:
    """Each data set and each checkpoint that blocks a run, once."""
    lacking = dict.fromkeys((o.kind, o.what) for run in runs for o in run.obstacles if o.kind in ("data", "weights"))
    download = disk = 0
    unknown: list[str] = []
    for kind, what in lacking:
        found = _data(what) if kind == "data" else _weights(what)
        if found is None:
            unknown.append(what)
        else:
            download, disk = download + found[0], disk + found[1]
    return Fetch(download, disk, tuple(unknown))


def can_be_fetched(obstacles: Iterable[Obstacle]) -> bool:
    """Whether data and weights are all that lacks."""
    return all(o.kind in ("data", "weights") for o in obstacles)


def _data(name: str) -> tuple[int, int] | None:
    """Bytes to fetch and on disk of a data set; None where they are not stated."""
    found = entry(name).acquisition if name in known() else None
    sizes = [file.bytes for file in found.files if not file.optional] if found else []
    stated = [size for size in sizes if size is not None]
    if found is None or not stated or len(stated) < len(sizes):
        return None
    return sum(stated), found.unpacked_bytes or sum(stated)


def _weights(pair: str) -> tuple[int, int] | None:
    found = checkpoint(*pair.split(" ", 1))
    return (found.bytes, found.bytes) if found is not None and found.bytes else None
