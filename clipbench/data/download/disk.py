"""Writing on a disk that may be full, read-only or too small: each ends in one paragraph."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import BinaryIO, cast

from clipbench.data.download.faults import no_room, not_written


def make_folder(folder: Path) -> None:
    """Make a folder with its parents. Raises ``UserError`` where that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise not_written(error, folder) from error


def opened(path: Path, mode: str) -> BinaryIO:
    """Open for writing (``wb``, ``ab``), unbuffered: a full disk shows at the write and not at the end.

    Raises ``UserError`` where that fails.
    """
    try:
        return cast(BinaryIO, path.open(mode, buffering=0))
    except OSError as error:
        raise not_written(error, path.parent) from error


def write(file: BinaryIO, chunk: bytes, path: Path) -> None:
    """Write all of a chunk. Raises ``UserError`` where the disk does not take it."""
    view = memoryview(chunk)
    try:
        while view:
            view = view[file.write(view) :]
    except OSError as error:
        raise not_written(error, path.parent) from error


def check_room(needed: int, folder: Path, what: str) -> None:
    """Raises ``UserError`` where the disk of ``folder``, which need not exist yet, has less than ``needed`` bytes."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise no_room(needed, free, folder, what)
