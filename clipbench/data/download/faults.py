"""What can go wrong on the way of a file, told apart by what helps: another try, another address, or the user."""

from __future__ import annotations

import math
from pathlib import Path

from clipbench.errors import UserError
from clipbench.files import reason


class _TransferError(Exception):
    """Its message may quote a server: line breaks and signs that steer a terminal are left out of it."""

    def __init__(self, why: str) -> None:
        super().__init__(" ".join("".join(c if c.isprintable() else " " for c in why).split())[:500])


class BrokenOffError(_TransferError):
    """The transfer broke off: what came is kept, and another try goes on from there, ``wait`` seconds later or more.

    ``fruitless`` says that the try counts as one without progress, whatever it brought.
    """

    def __init__(self, why: str, wait: float = 0.0, *, fruitless: bool = False) -> None:
        super().__init__(why)
        self.wait, self.fruitless = wait, fruitless


class RefusedError(_TransferError):
    """This address does not give the file, and would not at the next try; another address may."""


def not_written(error: OSError, path: Path) -> UserError:
    """The paragraph for a folder that cannot be written."""
    return UserError(
        f"{path} cannot be written: {reason(error)}. Make room or change its permissions, or name another folder with "
        f"--data DIR or CLIPBENCH_DATA; then run the same command again, it goes on from what has come."
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
