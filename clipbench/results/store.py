"""Records on disk: one directory per run, whole or absent, safe with many writers on a shared file system."""

from __future__ import annotations

import errno
import hashlib
import json
import os
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
from clipbench.results.locks import Claim, alone, entries, sweep_claims
from clipbench.results.record import Record

_SEAL = "sha256"
"""The key of ``record.json`` that holds the digest of all others."""
_READY, _REPLACING = ".ready-", ".ready-replacing-"
_MOST_BYTES = 200_000_000
"""A ``record.json`` is some 100 kB; one that is larger than this is none."""


@dataclass(frozen=True)
class Fault:
    """A directory that is no trustworthy record: reported, never used, never deleted."""

    path: Path
    reason: str

    def __str__(self) -> str:
        """Path and reason in one line, without signs that steer a terminal: both may come from foreign hands."""
        return _one_line(f"{self.path}: {self.reason}")


@dataclass(frozen=True)
class Draft:
    """A record about to be written, with the bytes of the files that belong to it."""

    record: Record
    files: Mapping[str, bytes]


class Store:
    """A results folder.

    ``<id>/record.json`` and its companions are a record. ``.ready-*`` folders hold records that are whole but not yet
    in place (a kill between two renames); they are moved in on the next opening. ``.claims`` says who works on what.
    Raises ``UserError`` where there can be no such folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            root.stat()
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            pass
        except OSError as error:
            raise UserError(f"{_shown(root)} can be no results folder: {reason(error)}. {ANOTHER_OUT}") from error
        self._promote_all()
        sweep(root)
        sweep_claims(root / ".claims")

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

    def publish(self, drafts: Sequence[Draft], *, replacing: bool = False) -> None:
        """Write the records of one pass all together: after a kill at any moment either all of them count or none.

        A whole record that is there already stays, and the new one is kept as ``.duplicate-<id>-<time>``; with
        ``replacing`` the new one takes its place, and the old one is kept as ``.replaced-<id>-<time>``. It stays in its
        place until the new one is whole on disk.

        Raises ``UserError`` on a full disk or a folder that cannot be written; the records are then saved in the
        system's temporary folder, which the message names.
        """
        if not drafts:
            return
        name = uuid.uuid4().hex
        partial, ready = self.root / partial_name(name), self.root / f"{_REPLACING if replacing else _READY}{name}"
        try:
            for draft in drafts:
                _write(partial / draft.record.id, draft)
            partial.rename(ready)
        except OSError as error:
            remove(partial)
            lost = f"the records cannot be written to {self.root}: {reason(error)}. {ANOTHER_OUT}"
            raise UserError(f"{lost} {_rescue(drafts, self.root)}") from error
        self._promote(ready)

    @contextmanager
    def claim(self, run_ids: Sequence[str]) -> Iterator[Claim | None]:
        """Mark runs as being worked on; yields None where another living process holds one of them."""
        claim = Claim(self.root / ".claims", run_ids)
        try:
            yield claim if claim.take() else None
        finally:
            claim.release()

    def _directories(self) -> list[Path]:
        return [p for p in entries(self.root) if not p.name.startswith(".") and p.is_dir()]

    def _promote_all(self) -> None:
        for ready in self.root.glob(f"{_READY}*") if self.root.is_dir() else ():
            # A reader of a folder that it may not write (somebody else's) leaves the moving to its owner.
            with suppress(PermissionError):
                self._promote(ready)

    def _promote(self, ready: Path) -> None:
        """Rename each record into place. Another process may be doing the same; whoever comes second finds it done."""
        for source in entries(ready):
            try:
                source.rename(self.root / source.name)
            except OSError as error:
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    self._settle(source, replacing=ready.name.startswith(_REPLACING))
                elif error.errno != errno.ENOENT:
                    raise
        with suppress(OSError):  # not empty: another process is about to move the rest
            ready.rmdir()

    def _settle(self, source: Path, *, replacing: bool) -> None:
        """The name is taken: by something torn or a record to be replaced, which is kept, or by a record that stays."""
        kept = f"{source.name}-{time.time_ns()}"
        # FileNotFoundError: another process has moved the newcomer in the meantime.
        with alone(self.root / f".settling-{source.name}") as mine, suppress(FileNotFoundError):
            if not mine:
                return
            whole = self.has(source.name)
            if whole and not replacing:
                source.rename(self.root / f".duplicate-{kept}")
                return
            (self.root / source.name).rename(self.root / f"{'.replaced' if whole else '.torn'}-{kept}")
            source.rename(self.root / source.name)


def _shown(path: Path) -> str:
    text = str(path)
    return text if len(text) < 300 else f"{text[:60]}...{text[-60:]}"


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


def _read(path: Path) -> Record | Fault:
    """The record in a directory; whatever else lies there is a fault with its reason, and never an exception."""
    try:
        record, values, seal = _parsed(path / "record.json")
        altered = [name for name, digest in record.files.items() if _digest(path / name) != digest]
        sealed = _seal(values)
    except FileNotFoundError:
        return Fault(path, "it holds no record.json")
    except (RecursionError, MemoryError):
        return Fault(path, "its record.json cannot be used: it is nested or filled beyond any record")
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, UserError, OSError) as error:
        return Fault(path, f"its record.json cannot be used: {_one_line(error)[:300]}")
    why = ""
    if record.id != path.name:
        why = f"it holds the record of {record.id}"
    elif seal != sealed:
        what = "is of other content" if seal else "is missing"
        why = f"its record.json is not the one that was written (its {_SEAL} {what})"
    elif altered:
        why = f"its file {altered[0]} is missing or not the one that was written"
    return Fault(path, why) if why else record


def _parsed(file: Path) -> tuple[Record, Mapping[str, Any], object]:
    """The record, its values without the seal, and the seal."""
    size = file.stat().st_size
    if not file.is_file() or size > _MOST_BYTES:
        raise ValueError("it is no plain file of a record's size")
    values = json.loads(file.read_text(encoding="utf-8"))
    seal = values.pop(_SEAL, None)
    return Record.from_json(values), values, seal


def _one_line(error: Exception | str) -> str:
    """A message without what a foreign file could put into it: line breaks and signs that steer a terminal."""
    text = f"{error}" if not isinstance(error, KeyError) else f"{error.args[0]!r} is missing"
    return "".join(c if c.isprintable() else " " for c in text)


def _seal(values: Mapping[str, Any]) -> str:
    """SHA-256 of what ``record.json`` holds beside it, whatever the order and the spaces."""
    return hashlib.sha256(json.dumps(json.loads(json.dumps(values)), sort_keys=True).encode()).hexdigest()


def _digest(path: Path) -> str | None:
    """SHA-256 of a plain file; None of anything else."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
