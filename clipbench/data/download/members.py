"""The members of a tar or zip archive in one form, with what each may not be. Nothing is written here."""

from __future__ import annotations

import lzma
import posixpath
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tarfile import HeaderError, ReadError
from typing import IO, Self

from clipbench.data.download.kinds import compressed_alone, is_compressed_whole, kind_of, several_parts
from clipbench.errors import UserError

DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,
)
"""What Python's readers raise on an archive that is cut, damaged or in a form that they do not know (gzip: OSError)."""

_LONGEST_PATH = 4096
_CHUNK = 1 << 20
_JUNK = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class Member:
    """A file or folder of an archive. ``name`` is a clean relative path; ``content`` opens a file's content."""

    name: str
    size: int
    folder: bool
    content: Callable[[], IO[bytes]]

    @property
    def junk(self) -> bool:
        """Whether it is what a desktop leaves behind and nobody means to have."""
        parts = PurePosixPath(self.name).parts
        return any(part in _JUNK or part.startswith("._") for part in parts)


def members(archive: Path, kind: str) -> Iterator[Member]:
    """The files and folders of an archive (``tar``, with any compression, or ``zip``).

    A link is given as a copy of what it points to: a link on disk could lead later members anywhere. Raises
    ``UserError`` at the first member that would leave the folder or is neither file, folder nor link, and one of
    :data:`DAMAGED` where the archive cannot be read.
    """
    yield from (_of_zip(archive) if kind_of(archive, kind) == "zip" else _of_tar(archive))


class _Header(tarfile.TarInfo):
    """Python takes a damaged header for the end of the archive, unless it is the first one."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:
        try:
            found = super().fromtarfile(tarfile)
        except HeaderError as error:
            if not tarfile.offset or type(error).__name__ in ("EOFHeaderError", "EmptyHeaderError"):
                raise
            raise ReadError(f"the header of a member is damaged: {error}") from error
        if found.size < 0:
            raise ReadError(f"a member has {found.size} bytes")
        return found


def _of_tar(archive: Path) -> Iterator[Member]:
    with _opened_tar(archive) as tar:
        for info in tar:
            name = _clean(info.name, archive, folder=info.isdir())
            if info.issym() or info.islnk():
                base = posixpath.dirname(name) if info.issym() else ""
                target = _link_target(name, base, info.linkname, archive)
                yield _tar_copy(tar, name, target, archive)
            elif info.isdir() or info.isreg():
                yield _tar_member(tar, name, info)
            else:
                raise _refused(archive, info.name, "is a device or pipe")
        # The checksum of a compressed tar stands behind the tar's own end mark, and is compared when it is read.
        while tar.fileobj is not None and tar.fileobj.read(_CHUNK):
            pass


def _opened_tar(archive: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(archive, "r:*", tarinfo=_Header)
    except tarfile.ReadError as error:
        raise compressed_alone(archive) if is_compressed_whole(archive) else error from None


def _tar_copy(tar: tarfile.TarFile, name: str, target: str, archive: Path) -> Member:
    """A link as a copy of the file that it names, which must be in the archive."""
    found = next((info for info in tar.getmembers() if posixpath.normpath(info.name) == target and info.isreg()), None)
    if found is None:
        raise _refused(archive, name, f"is a link to {target!r}, which is no file of the archive")
    return _tar_member(tar, name, found)


def _tar_member(tar: tarfile.TarFile, name: str, info: tarfile.TarInfo) -> Member:
    return Member(name, info.size if info.isreg() else 0, info.isdir(), lambda: _content(tar, info))


def _content(tar: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    opened = tar.extractfile(info)
    if opened is None:
        raise ReadError(f"{info.name} has no content")
    return opened


def _of_zip(archive: Path) -> Iterator[Member]:
    with _opened_zip(archive) as zipped:
        for info in zipped.infolist():
            name = _clean(info.filename, archive, folder=info.filename.endswith("/"))
            mode = info.external_attr >> 16
            if info.flag_bits & 1:
                raise _refused(archive, info.filename, "is encrypted")
            if stat.S_ISLNK(mode):
                if info.file_size > _LONGEST_PATH:
                    raise _refused(archive, info.filename, "is a link with a target longer than any path")
                pointed = zipped.read(info).decode("utf-8", "replace")
                target = _link_target(name, posixpath.dirname(name), pointed, archive)
                yield _zip_member(zipped, name, _zip_target(zipped, target, archive))
            elif stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refused(archive, info.filename, "is a device or pipe")
            else:
                yield _zip_member(zipped, name, info)


def _opened_zip(archive: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(archive)
    except zipfile.BadZipFile as error:
        raise several_parts(archive) if "multiple disks" in str(error) else error from None


def _zip_member(zipped: zipfile.ZipFile, name: str, info: zipfile.ZipInfo) -> Member:
    return Member(name, info.file_size, info.is_dir(), lambda: zipped.open(info))


def _zip_target(zipped: zipfile.ZipFile, target: str, archive: Path) -> zipfile.ZipInfo:
    try:
        return zipped.getinfo(target)
    except KeyError:
        raise _refused(archive, target, "is the target of a link and no file of the archive") from None


def _clean(name: str, archive: Path, *, folder: bool) -> str:
    """A relative path without detours. Raises ``UserError`` for one that starts at the root, climbs, or is none."""
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or (len(parts[0]) == 2 and parts[0][1] == ":"):
        raise _refused(archive, name, "has an absolute path")
    if ".." in parts or "\0" in name:
        raise _refused(archive, name, "would leave the folder that it is unpacked into")
    clean = posixpath.normpath("/".join(parts))
    if clean == "." and not folder:
        raise _refused(archive, name, "has no name")
    return clean


def _link_target(name: str, base: str, pointed: str, archive: Path) -> str:
    target = posixpath.normpath(posixpath.join(base, pointed))
    if pointed.startswith("/") or target.startswith("../") or target == "..":
        raise _refused(archive, name, f"is a link to {pointed!r}, outside the folder that it is unpacked into")
    return target


def _refused(archive: Path, name: str, what: str) -> UserError:
    return UserError(
        f"{archive} is not unpacked: its member {name!r} {what}. No data set of the catalogue needs that; the archive "
        f"is not what it claims to be. Get it from another source."
    )
