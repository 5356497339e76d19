"""Records on disk: one directory per run, whole or absent, safe with many writers on a shared file system."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import socket
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clipbench.errors import UserError
from clipbench.files import ANOTHER_OUT, partial_name, reason, remove, sweep
from clipbench.results.record import Record

CLAIM_SECONDS = 900.0
"""A claim whose owner has not renewed it for this long is taken over."""
RENEW_SECONDS = 30.0
"""A claim is renewed at most this often."""
TORN_SECONDS = 3.0
"""A claim without content, or a lock on a single step, is what a kill left behind once it is this old."""
_CLEARING = ".clearing-"
_SEAL = "sha256"
"""The key of ``record.json`` that holds the digest of all others; records of earlier versions have none."""


@dataclass(frozen=True)
class Fault:
    """A directory that is no trustworthy record: reported, never used, never deleted."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Draft:
    """A record about to be written, with the bytes of the files that belong to it."""

    record: Record
    files: Mapping[str, bytes]


class Store:
    """A results folder.

    ``<id>/record.json`` and its companions are a record. ``.ready-*`` folders hold records that are whole but not yet
    in place (a kill between two renames); they are moved in on the next opening. ``.claims`` says who works on what.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._promote_all()
        self._sweep()

    def has(self, run_id: str) -> bool:
        """Whether a trustworthy record of that run is here."""
        return self.get(run_id) is not None

    def get(self, run_id: str) -> Record | None:
        """The record of that run, or None where it is absent or not to be trusted."""
        found = _read(self.root / run_id) if (self.root / run_id).is_dir() else None
        return found if isinstance(found, Record) else None

    def scan(self) -> tuple[list[Record], list[Fault]]:
        """Every record of the folder (oldest first), and every directory that cannot be trusted."""
        found = [_read(path) for path in self._directories()]
        records = sorted((r for r in found if isinstance(r, Record)), key=lambda r: (r.finished, r.id))
        return records, [f for f in found if isinstance(f, Fault)]

    def path(self, run_id: str, name: str) -> Path:
        """Where a companion file of a run lies."""
        return self.root / run_id / name

    def publish(self, drafts: Sequence[Draft]) -> None:
        """Write the records of one pass all together: after a kill at any moment either all of them count or none.

        Raises ``UserError`` on a full disk or a folder that cannot be written; the records are then saved in the
        system's temporary folder, which the message names.
        """
        if not drafts:
            return
        name = uuid.uuid4().hex
        partial, ready = self.root / partial_name(name), self.root / f".ready-{name}"
        try:
            for draft in drafts:
                _write(partial / draft.record.id, draft)
            partial.rename(ready)
        except OSError as error:
            remove(partial)
            lost = f"the records cannot be written to {self.root}: {reason(error)}. {ANOTHER_OUT}"
            raise UserError(f"{lost} {_rescue(drafts, self.root)}") from error
        self._promote(ready)

    def set_aside(self, run_id: str) -> None:
        """Move a record out of the way (``--force``): it is kept as ``.replaced-<id>-<time>``."""
        if (self.root / run_id).exists():
            (self.root / run_id).rename(self.root / f".replaced-{run_id}-{time.time_ns()}")

    @contextmanager
    def claim(self, run_ids: Sequence[str]) -> Iterator[Claim | None]:
        """Mark runs as being worked on; yields None where another living process holds one of them."""
        claim = Claim(self.root / ".claims", run_ids)
        try:
            yield claim if claim.take() else None
        finally:
            claim.release()

    def _directories(self) -> list[Path]:
        if not self.root.is_dir():
            return []
        return sorted(p for p in self.root.iterdir() if p.is_dir() and not p.name.startswith("."))

    def _promote_all(self) -> None:
        for ready in self.root.glob(".ready-*") if self.root.is_dir() else ():
            # A reader of a folder that it may not write (somebody else's) leaves the moving to its owner.
            with suppress(PermissionError):
                self._promote(ready)

    def _sweep(self) -> None:
        """Remove what the dead have left: half-written records, and claims that nobody will ask for again."""
        sweep(self.root)
        for path in _entries(self.root / ".claims"):
            with suppress(OSError):  # a folder that this process may not write is its owner's to sweep
                if path.name.startswith(_CLEARING):
                    _left_behind(path)
                elif _abandoned(path):
                    _clear(path)

    def _promote(self, ready: Path) -> None:
        """Rename each record into place. Another process may be doing the same; whoever comes second finds it done."""
        for source in _entries(ready):
            try:
                source.rename(self.root / source.name)
            except OSError as error:
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    self._settle(source)
                elif error.errno != errno.ENOENT:
                    raise
        with suppress(OSError):  # not empty: another process is about to move the rest
            ready.rmdir()

    def _settle(self, source: Path) -> None:
        """The place is taken: what is torn makes way and is kept, a whole record stays and the newcomer is kept."""
        kept = f"{source.name}-{time.time_ns()}"
        # FileNotFoundError: another process has moved the newcomer in the meantime.
        with _alone(self.root / f".settling-{source.name}") as alone, suppress(FileNotFoundError):
            if alone and self.has(source.name):
                source.rename(self.root / f".duplicate-{kept}")
            elif alone:
                (self.root / source.name).rename(self.root / f".torn-{kept}")
                source.rename(self.root / source.name)


class Claim:
    """Files ``.claims/<run id>`` with host and process; renewed while the work goes on, removed at its end."""

    def __init__(self, folder: Path, run_ids: Sequence[str]) -> None:
        self._folder = folder
        pid = os.getpid()
        self._owner = {"host": socket.gethostname(), "pid": pid, "started": _started(pid), "claim": uuid.uuid4().hex}
        self._paths = [folder / run_id for run_id in sorted(run_ids)]
        self._held: list[Path] = []
        self._renewed = time.monotonic()

    def take(self) -> bool:
        """Claim all runs, or none."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for path in self._paths:
                if not self._take_one(path):
                    self.release()
                    return False
        except OSError as error:
            where = self._folder.parent
            raise UserError(f"the results folder {where} cannot be written: {reason(error)}. {ANOTHER_OUT}") from error
        return True

    def renew(self) -> None:
        """Say that the work goes on; cheap enough to be called at every step."""
        if time.monotonic() - self._renewed > RENEW_SECONDS:
            self._renewed = time.monotonic()
            for path in self._held:
                with suppress(FileNotFoundError):  # taken over, as this process seemed dead: both finish, no harm done
                    os.utime(path)

    def release(self) -> None:
        """Let go of what is held, and of nothing that another process has taken over."""
        for path in self._held:
            if _content(path) in (self._owner, None):
                path.unlink(missing_ok=True)
        self._held = []

    def _take_one(self, path: Path) -> bool:
        try:
            with path.open("x", encoding="utf-8") as file:
                self._held.append(path)
                json.dump(self._owner, file)
        except FileExistsError:
            return _abandoned(path) and _clear(path) and self._take_one(path)
        return True


def _clear(path: Path) -> bool:
    """Remove an abandoned claim, one process at a time: a second one must not remove the claim of the first."""
    with _alone(path.with_name(f"{_CLEARING}{path.name}")) as alone:
        if alone and _abandoned(path):
            path.unlink(missing_ok=True)
        return alone


@contextmanager
def _alone(lock: Path) -> Iterator[bool]:
    """Whether this process alone holds the lock for a step of a few milliseconds; nobody waits."""
    if not _made(lock) and not (_left_behind(lock) and _made(lock)):
        yield False
        return
    try:
        yield True
    finally:
        with suppress(OSError):
            lock.rmdir()


def _made(lock: Path) -> bool:
    try:
        lock.mkdir()
    except FileExistsError:
        return False
    return True


def _left_behind(lock: Path) -> bool:
    """Remove a lock that is older than any step takes: a kill has left it."""
    with suppress(OSError):
        if time.time() - lock.stat().st_mtime > TORN_SECONDS:
            lock.rmdir()
    return not lock.exists()


def _abandoned(path: Path) -> bool:
    """The owner died on this host, or has not renewed its claim for long."""
    try:
        age = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return False
    owner = _content(path)
    if owner is None:
        return age > TORN_SECONDS
    if owner.get("host") != socket.gethostname():
        return age > CLAIM_SECONDS
    pid = owner.get("pid")
    return not (isinstance(pid, int) and _alive(pid) and owner.get("started") in (None, _started(pid)))


def _content(path: Path) -> dict[str, Any] | None:
    """What a claim says; None where it was torn."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _started(pid: int) -> str | None:
    """When a process began, in the kernel's ticks (Linux): a number that was given out again is another process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
    return stat.rpartition(")")[2].split()[19]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _write(folder: Path, draft: Draft) -> None:
    folder.mkdir(parents=True)
    for name, content in draft.files.items():
        _durable(folder / name, content)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in draft.files.items()}
    record = replace(draft.record, files=digests)
    values = record.to_json()
    _durable(folder / "record.json", (json.dumps(values | {_SEAL: _seal(values)}, indent=1) + "\n").encode())


def _rescue(drafts: Sequence[Draft], root: Path) -> str:
    """Save the records of a finished pass elsewhere; the sentence that says where, or that even this failed."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="clipbench-rescued-"))
        for draft in drafts:
            _write(folder / draft.record.id, draft)
    except OSError:
        return f"The {len(drafts)} records of this pass could not be saved anywhere else either and are lost."
    return f"The {len(drafts)} records of this pass are in {folder}: move its folders into {root}, and nothing is lost."


def _durable(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _entries(folder: Path) -> list[Path]:
    """What lies in a folder; nothing where another process has just removed it."""
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _read(path: Path) -> Record | Fault:
    try:
        values = json.loads((path / "record.json").read_text(encoding="utf-8"))
        seal = values.pop(_SEAL, None)
        record = Record.from_json(values)
        altered = [name for name, digest in record.files.items() if _digest(path / name) != digest]
    except FileNotFoundError:
        return Fault(path, "it holds no record.json")
    except (ValueError, KeyError, TypeError, AttributeError, UserError, OSError) as error:
        return Fault(path, f"its record.json cannot be used: {error}")
    if record.id != path.name:
        return Fault(path, f"it holds the record of {record.id}")
    if seal not in (None, _seal(values)):
        return Fault(path, f"its record.json is not the one that was written (its {_SEAL} is of other content)")
    if altered:
        return Fault(path, f"its file {altered[0]} is missing or not the one that was written")
    return record


def _seal(values: Mapping[str, Any]) -> str:
    """SHA-256 of what ``record.json`` holds beside it, whatever the order and the spaces."""
    return hashlib.sha256(json.dumps(json.loads(json.dumps(values)), sort_keys=True).encode()).hexdigest()


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"
