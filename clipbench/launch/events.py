"""What a worker process tells the process that started it: one JSON object a line on its standard output."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from clipbench.launch.launcher import Summary

_SECONDS_BETWEEN = 0.5


_KINDS = {"total", "start", "advance", "more", "made", "say", "summary"}


def event_of(line: str) -> dict[str, Any] | None:
    """What a worker told by this line; None for a line that a user's method or a library has printed."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and event and _KINDS.issuperset(event) else None


class Events:
    """A reporter whose reader is a program; images are told in lumps, since there may be thousands of steps."""

    def __init__(self, total: int) -> None:
        self._images, self._told = 0, time.monotonic()
        self._tell(total=total)

    def start(self, what: str) -> None:
        """A job begins."""
        self._flush()
        self._tell(start=what)

    def advance(self, images: int) -> None:
        """So many more images are done."""
        self._images += images
        if time.monotonic() - self._told > _SECONDS_BETWEEN:
            self._flush()

    def more(self, images: int) -> None:
        """There are so many images more to do than was said, or fewer."""
        self._tell(more=images)

    def made(self, ids: Sequence[str]) -> None:
        """The records of these runs are in place: they count as made, should this process not live to sum up."""
        self._tell(made=list(ids))

    def say(self, line: str) -> None:
        """A line for the user."""
        self._tell(say=line)

    def close(self) -> None:
        """Nothing more comes but the summary."""
        self._flush()

    @staticmethod
    def summary(summary: Summary) -> None:
        """What became of each run."""
        Events._tell(summary=asdict(summary))

    def _flush(self) -> None:
        self._told = time.monotonic()
        if self._images:
            self._tell(advance=self._images)
            self._images = 0

    @staticmethod
    def _tell(**event: Any) -> None:
        # A line of its own, whatever a user's method has printed without ending its line.
        print("\n" + json.dumps(event), file=sys.stdout, flush=True)
