"""A whole data set: downloaded, unpacked beside its place, checked, and renamed into it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from clipbench.data.acquire.disk import check_room, make_folder
from clipbench.data.acquire.download import Patience, digest, download
from clipbench.data.acquire.faults import not_written
from clipbench.data.acquire.place import place
from clipbench.data.acquire.presence import Presence, look
from clipbench.data.acquire.unpack import DamagedArchiveError, unpack
from clipbench.data.catalogue import Entry
from clipbench.data.catalogue.acquisition import UNKNOWN, Acquisition, Source
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
    brought, without = _fetch(plan, todo, downloads, given, say, patience)
    shutil.rmtree(unpacked, ignore_errors=True)
    for source, path in brought:
        say(f"unpacking {path.name}" if source.archive != "none" else f"placing {path.name}")
        with _removed_if_damaged(path, downloads):
            _unpack(source, path, unpacked, plan)
    _check(entry, unpacked, brought)
    placed = tuple(place(unpacked, data_root)) if brought else ()
    shutil.rmtree(unpacked, ignore_errors=True)
    shutil.rmtree(downloads, ignore_errors=True)
    return without, placed


def _alone(staging: Path, entry: Entry, say: Callable[[str], None]) -> FileLock:
    """The lock that one process holds; the system lets go of it when the process ends, however it ends."""
    lock = FileLock(staging / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"another process is getting {entry.name} into the same folder; waiting for it")
        lock.acquire()
    except OSError as error:
        raise not_written(error, staging) from error
    return lock


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


def _fetch(
    plan: Acquisition,
    todo: list[Source],
    downloads: Path,
    given: Path | None,
    say: Callable[[str], None],
    patience: Patience,
) -> tuple[list[tuple[Source, Path]], tuple[str, ...]]:
    """Every file that is to do, from the user's hand or the network; optional ones may be missing, with the reason."""
    brought: list[tuple[Source, Path]] = []
    without: list[str] = []
    for source in todo:
        try:
            path = _from_hand(source, given, todo)
            brought.append((source, path or download(source, downloads, say, patience)))
        except UserError as error:
            if not source.optional:
                raise UserError(f"{error} {plan.by_hand} ({plan.standing_source})") from error
            without.append(f"{error} {source.optional}")
            say(without[-1])
    return brought, tuple(without)


def _from_hand(source: Source, given: Path | None, todo: list[Source]) -> Path | None:
    """The file that the user has fetched: of the same name in the folder, or the one archive itself."""
    if given is None:
        return None
    archives = [file for file in todo if file.archive != "none"]
    path = given if given.is_file() and archives == [source] else given / source.name
    if not path.is_file():
        if source.fetchable:
            return None
        raise UserError(f"there is no file {path}; --from takes a folder that holds {source.name}, or the one archive.")
    algorithm = source.checksum.partition(":")[0]
    if source.checksum != UNKNOWN and (found := digest(path, algorithm)) != source.checksum:
        raise UserError(
            f"{path} is not the file that the catalogue means: its checksum is {found}, not {source.checksum}. "
            f"Fetch it again, or unpack it yourself if you trust it."
        )
    return path


@contextmanager
def _removed_if_damaged(path: Path, downloads: Path) -> Iterator[None]:
    """A download that turns out to be no whole archive is not met again by the next call."""
    try:
        yield
    except DamagedArchiveError:
        if path.parent == downloads:
            path.unlink(missing_ok=True)
        raise


def _unpack(source: Source, path: Path, unpacked: Path, plan: Acquisition) -> None:
    into = unpacked / source.into
    if source.archive == "none":
        make_folder(into)
        shutil.copyfile(path, into / source.name)
        return
    if not source.take:
        unpack(path, source.archive, into, plan.unpacked_bytes)
    else:
        aside = unpacked.parent / "aside"
        shutil.rmtree(aside, ignore_errors=True)
        unpack(path, source.archive, aside, plan.unpacked_bytes)
        if not (aside / source.take).is_dir():
            raise UserError(f"{path} holds no folder {source.take}; it is not the archive that the catalogue means.")
        make_folder(into.parent)
        (aside / source.take).rename(into)
        shutil.rmtree(aside, ignore_errors=True)
    for name in source.inner:
        kind = "zip" if name.endswith(".zip") else "tar"
        unpack(into / name, kind, (into / name).parent, plan.unpacked_bytes)
        (into / name).unlink()


def _check(entry: Entry, unpacked: Path, brought: list[tuple[Source, Path]]) -> None:
    """Archives that do not hold the data set are not put in its place."""
    if any(source.archive != "none" for source, _ in brought) and (found := look(entry, unpacked)).state == "missing":
        raise UserError(
            f"what came is not {entry.name}: {found.told} The downloads are kept in {unpacked.parent / 'downloads'}."
        )


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
        f"{found.where} holds a part of {entry.name}: {found.told} It is left as it is, and nothing is put beside it, "
        f"lest two sources mix. Move it away, or name another folder with --data DIR, and run the command again."
    )
