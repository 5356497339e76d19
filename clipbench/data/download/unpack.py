"""Unpacking an archive of unknown hands: nothing outside its folder, no links, no more bytes than it may have."""

from __future__ import annotations

from pathlib import Path

from clipbench.data.download.disk import check_room, make_folder, opened, write
from clipbench.data.download.faults import first_line, size
from clipbench.data.download.kinds import perhaps_a_part, unknown_packing
from clipbench.data.download.members import DAMAGED, Member, members
from clipbench.errors import UserError

MOST_RATIO = 20
"""Unpacked bytes for every byte of the archive, at most, where the catalogue states no size: photos hardly shrink."""
LEAST_ALLOWED = 64 * 2**20
_MORE_THAN_STATED = 1.2
MOST_MEMBERS = 5_000_000
_CHUNK = 1 << 20


class DamagedArchiveError(UserError):
    """An archive that is cut, damaged or none at all."""


def unpack(archive: Path, kind: str, into: Path, stated: int | None = None) -> int:
    """Unpack into a folder that is made if need be; the bytes written.

    ``stated`` is the unpacked size that the catalogue knows. Raises ``UserError`` for an archive that is damaged, would
    write outside ``into``, holds devices, or unpacks to more than ``stated`` (20 times its own size where that is not
    known), and for a full disk. What was written before stays: ``into`` must be a folder that nobody takes for data.
    """
    allowed = _allowed(archive, stated)
    written = files = 0
    try:
        for count, member in enumerate(members(archive, kind)):
            if count > MOST_MEMBERS:
                raise _bomb(archive, f"has more than {MOST_MEMBERS:,} members")
            if member.junk:
                continue
            if written + member.size > allowed:
                raise _bomb(archive, f"unpacks to more than {size(allowed)}")
            check_room(member.size, into, f"unpacking {archive.name}")
            written += _write(member, into / member.name, archive, allowed - written)
            files += not member.folder
    except NotImplementedError as error:
        raise unknown_packing(archive, error) from error
    except DAMAGED as error:
        raise DamagedArchiveError(
            f"{archive} cannot be unpacked, it is cut or damaged ({first_line(error)}).{perhaps_a_part(archive)}"
        ) from error
    if not files:
        raise DamagedArchiveError(f"{archive} holds no file: it is empty, or cut after its first bytes.")
    return written


def _allowed(archive: Path, stated: int | None) -> int:
    if stated is not None:
        return int(stated * _MORE_THAN_STATED)
    return max(MOST_RATIO * archive.stat().st_size, LEAST_ALLOWED)


def _write(member: Member, path: Path, archive: Path, most: int) -> int:
    """Write one member; the bytes. Its header may lie about them, so they are counted."""
    make_folder(path if member.folder else path.parent)
    if member.folder:
        return 0
    written = 0
    with member.content() as content, opened(path, "wb") as file:
        while chunk := content.read(_CHUNK):
            written += len(chunk)
            if written > most:
                raise _bomb(archive, "unpacks to more than its headers say and the catalogue allows")
            write(file, chunk, path)
    return written


def _bomb(archive: Path, what: str) -> UserError:
    return UserError(
        f"{archive} is not unpacked: it {what}, far more than a data set of this kind holds. It is not what it claims "
        f"to be; get it from another source."
    )
