"""Who works on which run: leases as small files, on a file system that several machines may share.

A lease is renewed by a thread of its owner. Another process takes it over when its owner is known to be gone (a process
of this machine that has ended, a machine that was started anew, a batch job that was requeued), or when it has not been
renewed for ``LEASE_SECONDS`` by the clock of the file system: the clocks of two machines need not agree, and a
suspended owner of this machine keeps what it holds.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from clipbench.errors import UserError
from clipbench.files import ANOTHER_OUT, boot, namespace, process_runs, process_start, reason

LEASE_SECONDS = 180.0
"""A lease that has not been renewed for this long has run out."""
RENEW_SECONDS = 20.0
"""How often a lease is renewed."""
TORN_SECONDS = 3.0
"""A lease without content, or a lock on a single step, is what a kill left behind once it is this old."""
_MOST_BYTES = 100_000
"""A claim has some 300."""
_CLEARING = ".clearing-"
_JOB_VARIABLES = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID")


class Claim:
    """Files ``.claims/<run id>`` with their owner; renewed while the work goes on, removed at its end."""

    def __init__(self, folder: Path, run_ids: Sequence[str]) -> None:
        self._folder = folder
        self._owner = _myself() | {"claim": uuid.uuid4().hex}
        self._paths = [folder / run_id for run_id in sorted(run_ids)]
        self._held: list[Path] = []
        self._over = threading.Event()

    def take(self) -> bool:
        """Claim all runs, or none. Raises ``UserError`` where the folder cannot be written."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for path in self._paths:
                if not self._take_one(path):
                    self.release()
                    return False
        except OSError as error:
            where = self._folder.parent
            raise UserError(f"the results folder {where} cannot be written: {reason(error)}. {ANOTHER_OUT}") from error
        threading.Thread(target=self._keep, name="claim", daemon=True).start()
        return True

    def renew(self) -> None:
        """Say that the work goes on. What another process has taken over, because this one seemed gone, is let be."""
        for path in list(self._held):
            if _content(path) == self._owner:
                with suppress(OSError):
                    os.utime(path)

    def release(self) -> None:
        """Let go of what is held, and of nothing that another process has taken over."""
        self._over.set()
        for path in self._held:
            if _content(path) in (self._owner, None):
                path.unlink(missing_ok=True)
        self._held = []

    def _keep(self) -> None:
        while not self._over.wait(RENEW_SECONDS):
            self.renew()

    def _take_one(self, path: Path) -> bool:
        try:
            with path.open("x", encoding="utf-8") as file:
                self._held.append(path)
                json.dump(self._owner, file)
        except FileExistsError:
            return _abandoned(path) and _clear(path) and self._take_one(path)
        return True


def sweep_claims(folder: Path) -> None:
    """Remove the claims of the gone: a run whose owner died after writing its record is never claimed again."""
    for path in entries(folder):
        with suppress(OSError):  # a folder that this process may not write is its owner's to sweep
            if path.name.startswith(_CLEARING):
                _left_behind(path)
            elif _abandoned(path):
                _clear(path)


def entries(folder: Path) -> list[Path]:
    """What lies in a folder; nothing where another process has just removed it."""
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


@contextmanager
def alone(lock: Path) -> Iterator[bool]:
    """Whether this process alone holds the lock for a step of a few milliseconds; nobody waits."""
    if not _made(lock) and not (_left_behind(lock) and _made(lock)):
        yield False
        return
    try:
        yield True
    finally:
        with suppress(OSError):
            lock.rmdir()


def _myself() -> dict[str, Any]:
    pid = os.getpid()
    return {
        "host": socket.gethostname(),
        "pid": pid,
        "started": process_start(pid),
        "boot": boot(),
        "namespace": namespace(),
        "job": next((os.environ[name] for name in _JOB_VARIABLES if os.environ.get(name)), ""),
        "restart": _number(os.environ.get("SLURM_RESTART_COUNT")) or 0,
    }


def _clear(path: Path) -> bool:
    """Remove an abandoned claim, one process at a time: a second one must not remove the claim of the first."""
    with alone(path.with_name(f"{_CLEARING}{path.name}")) as mine:
        if mine and _abandoned(path):
            path.unlink(missing_ok=True)
        return mine


def _made(lock: Path) -> bool:
    try:
        lock.mkdir()
    except FileExistsError:
        return False
    return True


def _left_behind(lock: Path) -> bool:
    """Remove a lock that is older than any step takes: a kill has left it."""
    with suppress(OSError):
        if _age(lock) > TORN_SECONDS:
            lock.rmdir()
    return not lock.exists()


def _abandoned(path: Path) -> bool:
    """Whether the owner is known to be gone, or its lease has run out."""
    owner = _content(path)
    try:
        if owner is None:
            return path.exists() and _age(path) > TORN_SECONDS
        gone = _is_gone(owner)
        return _age(path) > LEASE_SECONDS if gone is None else gone
    except FileNotFoundError:
        return False


def _is_gone(owner: dict[str, Any]) -> bool | None:
    """Whether the owner has ended; None where this machine cannot tell."""
    me = _myself()
    if owner.get("job") and owner.get("job") == me["job"] and (_number(owner.get("restart")) or 0) < me["restart"]:
        return True
    if owner.get("host") != me["host"]:
        return None
    if owner.get("boot", me["boot"]) != me["boot"]:
        return True
    if owner.get("namespace", me["namespace"]) != me["namespace"]:
        return None
    pid = _number(owner.get("pid"))
    return pid is None or pid >= 2**31 or not process_runs(pid, _number(owner.get("started")))


def _age(path: Path) -> float:
    """Seconds since the last change, both ends by the clock of the file system where it can be asked."""
    changed = path.stat().st_mtime
    probe = path.with_name(f".clock-{uuid.uuid4().hex}")
    try:
        probe.touch(exist_ok=False)
        now = probe.stat().st_mtime
        probe.unlink()
    except OSError:
        now = time.time()
    return now - changed


def _number(value: object) -> int | None:
    """A number of a process or of a restart; None for what can be none."""
    with suppress(ValueError):
        if isinstance(value, int | str) and not isinstance(value, bool) and 0 <= int(value) < 2**63:
            return int(value)
    return None


def _content(path: Path) -> dict[str, Any] | None:
    """What a claim says; None where it was torn, or is no plain file (a pipe would be waited for)."""
    try:
        if not path.is_file() or path.stat().st_size > _MOST_BYTES:
            return None
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
