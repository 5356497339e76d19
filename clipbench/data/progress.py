"""Progress: a bar with the time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from tqdm import tqdm

_SECONDS_BETWEEN_LINES = 15.0


class Progress:
    """Counts images over all runs of a command, and says where it is."""

    def __init__(self, total: int, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._bar = None
        self._total, self._done, self._what = max(total, 1), 0, ""
        self._began = self._said = time.monotonic()
        if self._stream.isatty():
            self._bar = tqdm(
                total=self._total, unit="img", unit_scale=True, file=self._stream, dynamic_ncols=True, smoothing=0.1
            )

    def start(self, what: str) -> None:
        """Name the pass that begins."""
        self._what = what
        if self._bar is not None:
            self._bar.set_description(what)

    def advance(self, images: int) -> None:
        """So many more images are done."""
        self._done += images
        if self._bar is not None:
            self._bar.update(images)
        elif time.monotonic() - self._said > _SECONDS_BETWEEN_LINES:
            self._said = time.monotonic()
            self.say(f"{100 * self._done / self._total:3.0f}%  {self._what}  {self._left()} left")

    def say(self, line: str) -> None:
        """Print a line without breaking the bar."""
        if self._bar is not None:
            self._bar.write(line, file=self._stream)
        else:
            print(line, file=self._stream, flush=True)

    def close(self) -> None:
        """Leave the bar as it is and end its line."""
        if self._bar is not None:
            self._bar.close()

    def _left(self) -> str:
        if self._done < 0.02 * self._total:
            return "unknown time"
        spent = time.monotonic() - self._began
        return duration(spent * max(self._total - self._done, 0) / self._done)


def duration(seconds: float) -> str:
    """45 s, 12 min, 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
