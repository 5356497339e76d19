"""A wish to stop: a signal asks for it, and a run ends at the next moment at which nothing is lost."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

PREEMPTED = 75
"""The exit code of a process that a batch system has asked to go: the same command goes on where it stopped."""
_ASKS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGBREAK")


class StoppedError(KeyboardInterrupt):
    """Raised where a stop takes effect; ``code`` is the exit code of the command."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.code = 130 if name == "SIGINT" else PREEMPTED


class Stop:
    """Whether somebody has asked to stop.

    While ``delayed``, a request waits for a moment at which a checkpoint or a record holds all that was done; a second
    one takes effect at once, as the first does where there is nothing to save.
    """

    def __init__(self) -> None:
        self.requested = ""
        self.delayed = False

    def request(self, name: str) -> None:
        """Ask, by the name of a signal. Raises ``StoppedError`` where nothing need be waited for."""
        again, self.requested = bool(self.requested), self.requested or name
        if again or not self.delayed:
            raise StoppedError(self.requested)

    def check(self) -> None:
        """Raises ``StoppedError`` where somebody has asked; for moments at which nothing is lost."""
        if self.requested:
            raise StoppedError(self.requested)

    @contextmanager
    def delay(self, *, delayed: bool = True) -> Iterator[None]:
        """A time in which a stop has to wait; or, within one, a time in which it need not."""
        before, self.delayed = self.delayed, delayed
        try:
            yield
        finally:
            self.delayed = before


@contextmanager
def listening(stop: Stop) -> Iterator[Stop]:
    """Signals ask ``stop``, in the main thread of a process; elsewhere they do what they did.

    A hang-up that is ignored (``nohup``) stays so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    leader = os.getpid()

    def ask(number: int, _: FrameType | None) -> None:
        if os.getpid() == leader:  # a forked helper of the data loader inherits the handler
            stop.request(signal.Signals(number).name)

    before = {}
    for name in _ASKS:
        if (number := getattr(signal, name, None)) is not None:
            if name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN:
                continue
            with suppress(OSError, ValueError):
                before[number] = signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
