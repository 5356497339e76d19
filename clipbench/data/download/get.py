"""A whole data set: downloaded, unpacked beside its place, checked, and renamed into it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from clipbench.data.catalogue import Entry
from clipbench.data.catalogue.acquisition import Acquisition, Source
from clipbench.data.download.check import check
from clipbench.data.download.disk import check_room, make_folder
from clipbench.data.download.download import Patience
from clipbench.data.download.faults import not_written
from clipbench.data.download.move import move_into
from clipbench.data.download.presence import Presence, look
from clipbench.data.download.stage import fetch, stage
from clipbench.errors import UserError

STAGING = ".clipbench-get"
"""Below the data root: downloads under way and half-unpacked archives, which no reader looks at."""


@dataclass(frozen=True)
class Got:
    """What ``get`` did: how the data set stands now, and which optional files could not be had, with the reason."""

    presence: Presence
    placed: tuple[str, ...]
    without: tuple[str, ...]


def get(
    entry: Entry,
    data_root: Path,
    say: Callable[[str], None],
    given: Path | None = None,
    patience: Patience | None = None,
) -> Got:
    """Make the data set present below ``data_root``; what is there stays untouched.

    ``given`` is an archive, or a folder of them, that the user has fetched by hand. Raises ``UserError`` for a data set
    that no program can fetch (with what a person can do), one that is there in part, and whatever goes wrong on the
    way; then nothing half-made lies where a reader would look, and the next call goes on from what has come.
    """
    plan = entry.acquisition
    wanted = [] if plan is None else [file for file in plan.files if file.fetchable or given]
    if plan is None or not wanted:
        raise UserError(_by_hand(entry))
    if given is not None and not given.exists():
        raise UserError(f"--from {given}: there is no such file or folder.")
    if blocked := _file_in_the_way(plan, data_root):
        raise UserError(
            f"{blocked} is a file, where {entry.name} needs a folder. Move it away, or name another folder with --data "
            f"DIR, and run the command again; nothing has been downloaded."
        )
    staging = data_root / STAGING / entry.id
    make_folder(staging)
    with _alone(staging, entry, say):
        before = look(entry, data_root)
        todo = [file for file in wanted if not _there(file, data_root, before)]
        if before.state == "incomplete" and any(file.archive != "none" for file in todo):
            raise UserError(_in_the_way(entry, before))
        without, placed = _bring(entry, plan, todo, data_root, given, say, patience or Patience())
        now = look(entry, data_root) if placed else before
    if now.state == "missing":
        raise UserError(" ".join([_by_hand(entry), *(f"{name} is there now." for name in placed)]))
    return Got(now, placed, without)


def _file_in_the_way(plan: Acquisition, data_root: Path) -> Path | None:
    """A file that bears the name of a folder which the data set is going to have."""
    folders = [data_root / folder for folder in (plan.folder, *(file.into for file in plan.files))]
    above = [parent for folder in folders for parent in (folder, *folder.parents) if parent.is_relative_to(data_root)]
    return next((path for path in above if path.exists() and not path.is_dir()), None)


def _bring(
    entry: Entry,
    plan: Acquisition,
    todo: list[Source],
    data_root: Path,
    given: Path | None,
    say: Callable[[str], None],
    patience: Patience,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Fetch, unpack and place what is to do; what could not be had and what was placed."""
    staging = data_root / STAGING / entry.id
    unpacked, downloads = staging / "unpacked", staging / "downloads"
    make_folder(downloads)
    check_room(_needed(plan, todo, downloads), data_root, entry.name)
    brought, without = fetch(plan, todo, downloads, given, say, patience)
    shutil.rmtree(unpacked, ignore_errors=True)
    # Images hardly shrink in an archive: it unpacks to about its own size at least.
    check_room(sum(p.stat().st_size for s, p in brought if s.archive != "none"), data_root, f"unpacking {entry.name}")
    try:
        for source, path in brought:
            say(f"unpacking {path.name}" if source.archive != "none" else f"placing {path.name}")
            stage(source, path, unpacked, plan, downloads)
        check(entry, plan, unpacked, data_root, brought)
        placed = tuple(move_into(unpacked, data_root)) if brought else ()
    finally:  # refused or interrupted, it may be gigabytes, and the next call unpacks anew
        for half_made in (unpacked, staging / "aside"):
            shutil.rmtree(half_made, ignore_errors=True)
    shutil.rmtree(downloads, ignore_errors=True)
    return without, placed


def _alone(staging: Path, entry: Entry, say: Callable[[str], None]) -> AbstractContextManager[object]:
    """The lock that one process holds; the system lets go of it when the process ends, however it ends."""
    lock = FileLock(staging / "lock")
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        say(f"another process is getting {entry.name} into the same folder; waiting for it")
        return lock.acquire()
    except OSError as error:
        raise not_written(error, staging) from error


def _there(source: Source, data_root: Path, before: Presence) -> bool:
    """Archives are done where the images are, lists too unless a reader had to do without; else files by their name."""
    if before.state == "complete" and (source.archive != "none" or not before.rebuilt):
        return True
    return source.archive == "none" and (data_root / source.into / source.name).exists()


def _needed(plan: Acquisition, todo: list[Source], downloads: Path) -> int:
    """Bytes still to be written, as far as they are known."""
    fetch = sum(file.bytes or 0 for file in todo) - sum(p.stat().st_size for p in downloads.iterdir() if p.is_file())
    archives = any(file.archive != "none" for file in todo)
    return max(fetch, 0) + ((plan.unpacked_bytes or sum(file.bytes or 0 for file in todo)) if archives else 0)


def _by_hand(entry: Entry) -> str:
    plan = entry.acquisition
    if plan is None:
        return f"the catalogue knows no address of {entry.name}. {entry.how} Home page: {entry.home}."
    return (
        f"no program can fetch {entry.name}: {plan.standing.replace('-', ' ')} as of {plan.standing_date} "
        f"({plan.standing_source}). {plan.by_hand} Home page: {entry.home}. "
        f"Then `clipbench data verify {entry.id} --data DIR` checks it."
    )


def _in_the_way(entry: Entry, found: Presence) -> str:
    return (
        f"{found.where} holds a part of {entry.name}: {found.message} It is left as it is, and nothing is put beside "
        f"it, lest two sources mix. Move it away, or name another folder with --data DIR, and run the command again."
    )
