"""Files and folders that are whole or absent: written beside their place, made durable, renamed into it."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from clipbench.errors import UserError

STALE_SECONDS = 24 * 3600.0
"""A partial file of another machine, whose processes cannot be asked, is left over if nothing changed it for a day."""
ANOTHER_OUT = "Make room or change its permissions, or name another folder with --out."
_NAME = re.compile(r"\.partial-[^-]+-(?P<machine>[0-9a-f]{8})-(?P<pid>\d+)-(?P<started>\d+)-[0-9a-f]{8}-")
_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your disk quota is used up",
    errno.EFBIG: "the file grows beyond what this disk or process may write",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "writing there is not permitted",
    errno.EPERM: "writing there is not permitted",
    errno.ENOTDIR: "a file stands where a folder should be",
    errno.EEXIST: "a file stands where a folder should be",
    errno.EISDIR: "a folder stands where the file should be",
    errno.ENAMETOOLONG: "its name is longer than this file system takes",
}


class WriteError(UserError):
    """Something cannot be written; the message says where, why and what helps."""


def reason(error: OSError) -> str:
    """Why the file system refused, in plain words."""
    return _REASONS.get(error.errno or 0, error.strerror or str(error))


def write_bytes(path: Path, content: bytes, advice: str = ANOTHER_OUT) -> Path:
    """Write a file whole or not at all; missing folders are made.

    Raises:
        WriteError: The disk is full, the folder is read-only, or the name is none. ``advice`` ends its message.
    """
    with beside(path, advice) as partial:
        partial.write_bytes(content)
    return path


def write_text(path: Path, content: str, advice: str = ANOTHER_OUT) -> Path:
    """As ``write_bytes``, in UTF-8."""
    return write_bytes(path, content.encode(), advice)


def write_json(path: Path, values: Any, advice: str = ANOTHER_OUT) -> Path:
    """As ``write_bytes``: plain values as indented JSON."""
    return write_text(path, json.dumps(values, indent=1, ensure_ascii=False) + "\n", advice)


@contextmanager
def beside(path: Path, advice: str = ANOTHER_OUT) -> Iterator[Path]:
    """A name beside ``path`` for the body to write a file or a folder to; at the end it takes the place of ``path``.

    An existing file is replaced. Of two processes that make the same folder the first one wins, and the second one's
    is removed. What killed processes have left in this place is removed first.

    Raises:
        WriteError: As ``write_bytes``, for every ``OSError`` of the body too.
    """
    partial = path.with_name(partial_name(path.name))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        yield partial
        _make_durable(partial)
        _put(partial, path)
    except OSError as error:
        shown = f"{path}" if len(str(path)) < 300 else f"{str(path)[:60]}...{str(path)[-60:]}"
        raise WriteError(f"{shown} cannot be written: {reason(error)}. {advice}") from error
    finally:
        remove(partial)


def partial_name(name: str) -> str:
    """A unique name that says whose it is: host, machine, process, and when that process began."""
    host = re.sub(r"[^A-Za-z0-9.]", "_", socket.gethostname())[:40]
    pid = os.getpid()
    return f".partial-{host}-{machine()}-{pid}-{process_start(pid) or 0}-{uuid.uuid4().hex[:8]}-{name[:80]}"


def sweep(folder: Path) -> None:
    """Remove the partial files and folders in ``folder`` whose process is gone."""
    with suppress(OSError):  # a folder that is not there, or that this process may not read
        for path in folder.glob(".partial-*"):
            if _left_behind(path):
                remove(path)


def remove(path: Path) -> None:
    """Remove a file or a folder as far as the file system lets us."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@cache
def boot() -> str:
    """Which start of the operating system this is; empty where the system does not say (it does on Linux)."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


@cache
def namespace() -> str:
    """Which numbering of processes this one belongs to: each container has its own. Empty where there is but one."""
    with suppress(OSError):
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - the link's text is no path
    return ""


def machine() -> str:
    """Eight hex digits: processes of one machine, one boot and one container share them, and know each other by pid."""
    return sha256(f"{socket.gethostname()} {boot()} {namespace()}".encode()).hexdigest()[:8]


def process_start(pid: int) -> int | None:
    """When a process of this machine began, in the kernel's ticks: a number that was given out again is another one.

    None where there is no such process, or the system is not Linux.
    """
    try:
        return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def process_runs(pid: int, started: int | None) -> bool:
    """Whether the process of that number on this machine is the one that began then (None: at any time)."""
    from psutil import pid_exists  # os.kill(pid, 0) ends the process on Windows

    return bool(pid_exists(pid)) and started in (None, 0, process_start(pid))


def _left_behind(path: Path) -> bool:
    match = _NAME.match(path.name)
    if match and match["machine"] == machine():
        return not process_runs(int(match["pid"]), int(match["started"]))
    return time.time() - path.lstat().st_mtime > STALE_SECONDS


def _make_durable(path: Path) -> None:
    """Have the disk hold a file's content before its name does; a folder's files are their writer's to see to."""
    if path.is_file():
        with path.open("rb+") as file:
            os.fsync(file.fileno())


def _put(partial: Path, path: Path) -> None:
    try:
        partial.replace(path)
    except OSError:
        if not (partial.is_dir() and path.is_dir()):
            raise
