"""How far a download is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

from clipbench.data.download.faults import size
from clipbench.data.progress import duration

_SECONDS_BETWEEN_LINES = 15.0


class Meter:
    """Shows the bytes of one file; on leaving, its bar ends."""

    def __init__(self, name: str, expected: int | None) -> None:
        self._name, self._expected = name, expected
        self._bar: Any = None
        self._began = self._said = time.monotonic()
        self._first: int | None = None

    def __enter__(self) -> Meter:
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=self._expected, desc=self._name, unit="B", unit_scale=True, dynamic_ncols=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def at(self, there: int, total: int | None) -> None:
        """So many bytes are there, of so many (None where nobody says)."""
        total = total or self._expected
        if self._first is None:
            self._first = there
        if self._bar is not None:
            self._bar.total = total
            self._bar.update(there - self._bar.n)
        elif time.monotonic() - self._said > _SECONDS_BETWEEN_LINES:
            self._said = time.monotonic()
            print(self._line(there, total), file=sys.stderr, flush=True)

    def _line(self, there: int, total: int | None) -> str:
        if total is None:
            return f"{self._name}: {size(there)}"
        rate = (there - (self._first or 0)) / max(time.monotonic() - self._began, 1e-6)
        left = f", {duration((total - there) / rate)} left" if rate > 0 else ""
        return f"{self._name}: {100 * there / total:.0f}% of {size(total)}, {size(rate)} a second{left}"
