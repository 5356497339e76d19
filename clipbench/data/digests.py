"""SHA-256 of files, remembered by path, size and times, so that a second look costs no more than a listing."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from clipbench.errors import UserError
from clipbench.files import WriteError, write_bytes

_FORM = "clipbench digests 1"
_SETTLED_SECONDS = 0.05
"""A file may change again within the same tick of the clock; one that is that young is hashed again next time."""

Stamp = tuple[int, int, int]
"""Size, and the times of the last change of content and of the file itself, in nanoseconds."""


def cache_dir() -> Path:
    """``$CLIPBENCH_CACHE``, else the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("CLIPBENCH_CACHE") or Path(base) / "clipbench")


def file_digests(root: Path, names: Sequence[str]) -> list[str]:
    """Hexadecimal SHA-256 of the files below ``root``, in the order of ``names``.

    What is known from earlier is read from a file in the cache folder; many processes may write it, and what one of
    them loses is hashed again. Raises ``UserError`` for a file that has gone or cannot be read.
    """
    store = cache_dir() / "digests" / f"{hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:24]}.tsv"
    known = _read(store)
    stamps = {name: _stamp(root / name) for name in names}
    unknown = [name for name, stamp in stamps.items() if known.get(name, ("", ()))[1] != stamp]
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        fresh = dict(zip(unknown, pool.map(lambda name: file_digest(root / name), unknown), strict=True))
    latest = time.time_ns() - int(_SETTLED_SECONDS * 1e9)
    settled = {name: (digest, stamps[name]) for name, digest in fresh.items() if max(stamps[name][1:]) < latest}
    if settled:
        _write(store, {**_read(store), **settled})
    return [fresh[name] if name in fresh else known[name][0] for name in names]


def file_digest(path: Path) -> str:
    """Hexadecimal SHA-256 of one file. Raises ``UserError`` where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except OSError:
        raise UserError(f"{path} has gone since the folder was read; run the command again.") from None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _read(store: Path) -> dict[str, tuple[str, Stamp]]:
    """What the cache file holds; nothing where it is absent, torn or of another form."""
    with suppress(OSError, ValueError):
        content = store.read_bytes() if store.is_file() else b""
        head, _, body = content.partition(b"\n")
        if head == _head(body):
            rows = (line.split("\t", 4) for line in os.fsdecode(body).split("\0") if line)
            return {name: (digest, (int(size), int(m), int(c))) for digest, size, m, c, name in rows}
    return {}


def _write(store: Path, entries: dict[str, tuple[str, Stamp]]) -> None:
    rows = (f"{digest}\t{size}\t{m}\t{c}\t{name}" for name, (digest, (size, m, c)) in entries.items())
    body = os.fsencode("\0".join(rows))
    with suppress(WriteError):  # without the file the next look takes as long as this one
        write_bytes(store, _head(body) + b"\n" + body)


def _head(body: bytes) -> bytes:
    return f"{_FORM} {hashlib.sha256(body).hexdigest()}".encode()
