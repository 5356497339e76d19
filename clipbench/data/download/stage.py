"""The files of a data set on their way: brought to one folder, then unpacked into another as they will lie."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from clipbench.data.catalogue.acquisition import UNKNOWN, Acquisition, Source
from clipbench.data.download.disk import make_folder
from clipbench.data.download.download import Patience, digest, download
from clipbench.data.download.faults import not_written
from clipbench.data.download.move import move_into
from clipbench.data.download.transfer import looks_like_a_page
from clipbench.data.download.unpack import DamagedArchiveError, unpack
from clipbench.errors import UserError


def fetch(
    plan: Acquisition,
    todo: list[Source],
    downloads: Path,
    given: Path | None,
    say: Callable[[str], None],
    patience: Patience,
) -> tuple[list[tuple[Source, Path]], tuple[str, ...]]:
    """Every file that is to do, from the user's hand (``given``) or the network, and why optional ones are missing."""
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
    archives = [file for file in todo if file.archive != "none" and not file.optional]
    itself = given.is_file() and (given.name == source.name or archives == [source])
    path = given if itself else given / source.name
    if not path.is_file():
        if source.fetchable:
            return None
        raise UserError(f"there is no file {path}; --from takes a folder that holds {source.name}, or the one archive.")
    _refuse_page(path, source)
    algorithm = source.checksum.partition(":")[0]
    if source.checksum != UNKNOWN and (found := digest(path, algorithm)) != source.checksum:
        raise UserError(
            f"{path} is not the file that the catalogue means: its checksum is {found}, not {source.checksum}. "
            f"Fetch it again, or unpack it yourself if you trust it."
        )
    return path


def _refuse_page(path: Path, source: Source) -> None:
    """Browsers save a login or an error under the name of the file that was asked for."""
    with path.open("rb") as file:
        page = looks_like_a_page(file.read(1024))
    if page:
        due = "an archive" if source.archive != "none" else f"the file {source.name}"
        raise UserError(
            f"{path} is a web page, not {due}: the download in the browser failed. Open it in a browser to see what is "
            f"asked (often to log in, or to accept terms), download again, and pass the file that comes with --from."
        )


def stage(source: Source, path: Path, unpacked: Path, plan: Acquisition, downloads: Path) -> None:
    """Unpack or copy one file to where it will lie below ``unpacked``. Raises ``UserError`` where that fails."""
    if source.archive == "none":
        put(path, unpacked / source.into / source.name)
        return
    with _damage_told(path, downloads):
        _unpack(source, path, unpacked, plan)


def put(path: Path, target: Path) -> None:
    """Copy one file. Raises ``UserError`` where that fails."""
    make_folder(target.parent)
    try:
        shutil.copyfile(path, target)
    except OSError as error:
        raise not_written(error, target) from error


@contextmanager
def _damage_told(path: Path, downloads: Path) -> Iterator[None]:
    """A download that is no whole archive is not met again by the next call; a file from the user's hand is kept."""
    try:
        yield
    except DamagedArchiveError as error:
        if path.parent == downloads:
            path.unlink(missing_ok=True)
            what_now = "Nothing of it is kept; run the same command again to fetch it anew."
        else:
            what_now = f"{path} is left as it is; download it again, and pass the new file with --from."
        raise DamagedArchiveError(f"{error} {what_now}") from error


def _unpack(source: Source, path: Path, unpacked: Path, plan: Acquisition) -> None:
    """An archive, or the one folder of it that is taken; then the archives inside."""
    into = unpacked / source.into
    if not source.take:
        unpack(path, source.archive, into, plan.unpacked_bytes)
    else:
        aside = unpacked.parent / "aside"
        shutil.rmtree(aside, ignore_errors=True)
        unpack(path, source.archive, aside, plan.unpacked_bytes)
        if not (aside / source.take).is_dir():
            raise UserError(f"{path} holds no folder {source.take}; it is not the archive that the catalogue means.")
        list(move_into(aside / source.take, into))
        shutil.rmtree(aside, ignore_errors=True)
    for name in source.inner:
        unpack(into / name, "zip" if name.endswith(".zip") else "tar", (into / name).parent, plan.unpacked_bytes)
        (into / name).unlink()
