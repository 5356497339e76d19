"""A file from the first address that gives it: with retries, mirrors in order, and its checksum."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from clipbench.data.catalogue.acquisition import UNKNOWN, Source
from clipbench.data.download.connection import Floor
from clipbench.data.download.drive import from_drive
from clipbench.data.download.faults import BrokenOffError, RefusedError, not_written
from clipbench.data.download.meter import Meter
from clipbench.data.download.transfer import forget, looks_like_a_page, transfer
from clipbench.errors import UserError


@dataclass(frozen=True)
class Patience:
    """How long an address is tried.

    Attributes:
        tries: attempts in a row without any progress.
        pause: seconds before the second attempt; the pause then doubles.
        most: attempts in all.
        slowest: bytes a second, over ``window`` seconds, below which an attempt ends without progress.
    """

    tries: int = 5
    pause: float = 1.0
    most: int = 500
    slowest: float = 1000.0
    window: float = 60.0


_PATIENCE = Patience()


def download(source: Source, folder: Path, say: Callable[[str], None], patience: Patience = _PATIENCE) -> Path:
    """``folder/NAME``, whole and with the right checksum, from an earlier call, an address or Google Drive.

    What came before an interruption stays in ``NAME.partial`` and is gone on from. Raises ``UserError`` that says what
    every address answered.
    """
    target = folder / source.name
    if target.is_file() and _fault(target, source) is None:
        return target
    partial = folder / f"{source.name}.partial"
    reasons: list[str] = []
    for url in source.urls:
        try:
            _persist(url, partial, source, say, patience)
            return _accepted(partial, target, source)
        except RefusedError as why:
            say(f"{url}: {why}")
            reasons.append(f"{url}: {why}")
    if source.gdrive:
        try:
            from_drive(source.gdrive, partial)
            return _accepted(partial, target, source)
        except RefusedError as why:
            reasons.append(f"Google Drive file {source.gdrive}: {why}")
    raise UserError(f"{source.name} cannot be had: {'; '.join(reasons) or 'the catalogue knows no address of it'}.")


def digest(path: Path, algorithm: str) -> str:
    """``md5:...`` or ``sha256:...`` of a file."""
    with path.open("rb") as file:
        return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"


def _persist(url: str, partial: Path, source: Source, say: Callable[[str], None], patience: Patience) -> None:
    """Try until the file is there; tries that bring something do not count. Raises ``RefusedError`` in the end."""
    failed, most = 0, _size(partial)
    with Meter(source.name, source.bytes) as meter:
        for attempt in count(1):
            try:
                transfer(url, partial, meter.at, Floor(patience.slowest, patience.window))
                return
            except BrokenOffError as why:
                # Bytes that a server takes back and sends again are no progress.
                failed = 1 if _size(partial) > most and not why.fruitless else failed + 1
                most = max(most, _size(partial))
                if failed >= patience.tries or attempt >= patience.most:
                    raise RefusedError(f"{why}, {failed} tries in a row, {attempt} in all") from why
                pause = max(why.wait, patience.pause * 2.0 ** (failed - 1))
                say(f"{source.name}: {why}; trying again in {pause:.0f} s")
                time.sleep(pause)


def _accepted(partial: Path, target: Path, source: Source) -> Path:
    """The partial file under its final name, once it is known to be the file; a wrong one is removed."""
    if wrong := _fault(partial, source):
        forget(partial)
        raise RefusedError(wrong)
    try:
        partial.replace(target)
    except OSError as error:
        raise not_written(error, target.parent) from error
    forget(partial)
    return target


def _fault(path: Path, source: Source) -> str | None:
    """Why this is not the file that the catalogue describes."""
    with path.open("rb") as file:
        if looks_like_a_page(file.read(1024)):
            return "a web page came in place of the file"
    size = _size(path)
    if not size:
        return "it is empty"
    if source.bytes is not None and size != source.bytes:
        return f"it has {size:,} bytes, the catalogue says {source.bytes:,}; it is cut, or was changed"
    if source.checksum == UNKNOWN:
        return None
    found = digest(path, source.checksum.partition(":")[0])
    if found == source.checksum:
        return None
    return f"its checksum is {found}, the catalogue says {source.checksum}; it is damaged, or was changed"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
