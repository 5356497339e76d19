"""Progress: a bar with the time left on a terminal, plain lines with the time of day elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any, TextIO

from tqdm import tqdm

_SECONDS_BETWEEN_LINES = 15.0
_TICK = 1.0


class Running:
    """Seconds in which this process ran: a suspended laptop or a stopped process does not count."""

    def __init__(self) -> None:
        self._seconds, self._at = 0.0, time.monotonic()
        self._lock, self._over = threading.Lock(), threading.Event()
        threading.Thread(target=self._tick, name="progress", daemon=True).start()

    def seconds(self) -> float:
        """Since the beginning, without pauses."""
        self._note()
        return self._seconds

    def stop(self) -> None:
        """No more is counted."""
        self._over.set()

    def _tick(self) -> None:
        while not self._over.wait(_TICK):
            self._note()

    def _note(self) -> None:
        with self._lock:
            now = time.monotonic()
            # Nothing but a pause keeps the thread from its next tick for so long.
            self._seconds += min(now - self._at, 10.0 * _TICK)
            self._at = now


class Progress:
    """Counts images over all runs of a command, and says where it is."""

    def __init__(self, total: int, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._bar: tqdm[Any] | None = None
        self._total, self._done, self._what = max(total, 1), 0, ""
        self._running, self._said = Running(), time.monotonic()
        if self._stream.isatty():
            self._bar = tqdm(
                total=self._total, unit="img", unit_scale=True, file=self._stream, dynamic_ncols=True, smoothing=0.1
            )

    def expect(self, total: int) -> None:
        """So many images there are in all."""
        self._total = max(total, 1)
        if self._bar is not None:
            self._bar.total = self._total
            self._bar.refresh()

    def more(self, images: int) -> None:
        """There are so many images more to do than was said, or fewer."""
        self.expect(self._total + images)

    def start(self, what: str) -> None:
        """Name the job that begins."""
        self._what = what
        if self._bar is not None:
            self._bar.set_description(what)

    def advance(self, images: int) -> None:
        """So many more images are done."""
        self._done += images
        if self._bar is not None:
            self._bar.update(images)
        elif time.monotonic() - self._said > _SECONDS_BETWEEN_LINES:
            self.say(f"{self.share()}  {self._what}  {self.left()} left")

    def made(self, ids: Sequence[str]) -> None:
        """The records of these runs are in place; a line says so, with their scores."""

    def say(self, line: str) -> None:
        """Print a line without breaking the bar; in a file, behind the time of day."""
        self._said = time.monotonic()
        if self._bar is not None:
            self._bar.write(line, file=self._stream)
        else:
            print(f"{datetime.now():%H:%M:%S} {line}", file=self._stream, flush=True)

    def close(self) -> None:
        """Leave the bar as it is and end its line."""
        self._running.stop()
        if self._bar is not None:
            self._bar.close()

    def share(self) -> str:
        """How much is done: `` 42%``."""
        return f"{min(100 * self._done / self._total, 100):3.0f}%"

    def left(self) -> str:
        """How long the rest will take at the pace so far, pauses left out."""
        if self._done < 0.02 * self._total:
            return "unknown time"
        return duration(self._running.seconds() * max(self._total - self._done, 0) / self._done)


def duration(seconds: float) -> str:
    """45 s, 12 min, 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
