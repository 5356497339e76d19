"""What can go wrong on the way of a file, told apart by what helps: another try, another address, or the user."""

from __future__ import annotations

import errno
import math
from pathlib import Path

from clipbench.errors import UserError


class BrokenOffError(Exception):
    """The transfer broke off: what came is kept, and another try goes on from there, ``wait`` seconds later or more."""

    def __init__(self, why: str, wait: float = 0.0) -> None:
        super().__init__(why)
        self.wait = wait


class RefusedError(Exception):
    """This address does not give the file, and would not at the next try; another address may."""


_WORDS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your disk quota is used up",
    errno.EFBIG: "the file grows beyond what this disk or process may write",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "writing there is not permitted",
    errno.EPERM: "writing there is not permitted",
    errno.ENOTDIR: "a file stands where a folder should be",
    errno.EEXIST: "a file stands where a folder should be",
}


def not_written(error: OSError, path: Path) -> UserError:
    """The paragraph for a folder that cannot be written."""
    why = _WORDS.get(error.errno or 0, error.strerror or str(error))
    return UserError(
        f"{path} cannot be written: {why}. Make room or change its permissions, or name another folder with --data DIR "
        f"or CLIPBENCH_DATA; then run the same command again, it goes on from what has come."
    )


def no_room(needed: int, free: int, folder: Path, what: str) -> UserError:
    """The paragraph for a disk that is too small, before anything is written."""
    return UserError(
        f"{what} needs {size(needed)} in {folder}, but {size(free)} are free there. Make room, or name another folder "
        f"with --data DIR or CLIPBENCH_DATA; then run the same command again."
    )


def size(number: float) -> str:
    """Bytes as people read them: 332 MB, 5.1 GB."""
    if number < 1000:
        return f"{number:.0f} bytes"
    power = min(int(math.log10(number)) // 3, 4)
    scaled = number / 1000**power
    return f"{scaled:.{0 if scaled >= 10 else 1}f} {('', 'kB', 'MB', 'GB', 'TB')[power]}"


def first_line(error: Exception) -> str:
    """The first line of an exception's message, or its name where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
