"""What an archive is by its first bytes, whatever its name says."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clipbench.errors import UserError

_TAR_AT, _TAR = 257, b"ustar"
_COMPRESSED: Mapping[bytes, Any] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
"""gzip, bzip2, xz: what a tar is compressed with, as far as Python reads it."""
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_OTHER = {
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive (.7z)",
    b"Rar!\x1a\x07": "a RAR archive",
    b"\x28\xb5\x2f\xfd": "compressed with Zstandard",
    b"PK\x07\x08": "the first part of a zip archive in several parts",
    b"MZ": "a Windows program, perhaps an archive that unpacks itself",
    b"LZIP": "compressed with lzip",
    b"\x04\x22\x4d\x18": "compressed with LZ4",
    b"\x1f\x9d": "compressed with compress (.Z)",
    b"\x5d\x00\x00": "compressed with LZMA (.lzma)",
    b"MSCF": "a Windows cabinet (.cab)",
    b"07070": "a cpio archive",
}
_NO_ARCHIVE = {
    b"%PDF": "a PDF document",
    b"version https://git-lfs": "a git-lfs pointer, which `git lfs pull` replaces by the archive",
    b"d8:announce": "a torrent, which a torrent program gets the archive with",
    b"{": "JSON, mostly a server's answer that says why there is no archive: open it in an editor",
    b"PAR1": "a Parquet table, as the Hugging Face hub makes them of data sets",
    b"ARROW1": "an Arrow table, as the Hugging Face hub makes them of data sets",
    b"\x89HDF": "an HDF5 file",
    b"\xff\xd8\xff": "a JPEG image",
    b"\x89PNG": "a PNG image",
}
_PART = re.compile(r"\.(\d{3}|z\d\d|part\d+)$|part\d+\.rar$|\.part-?\w\w$", re.IGNORECASE)
"""How parts of an archive are called: ``a.zip.001``, ``a.z01``, ``a.part2.rar``, ``a.tar.part-ab``."""


def kind_of(archive: Path, expected: str) -> str:
    """``zip`` or ``tar``, by the first bytes; ``expected`` where they do not tell.

    Raises ``UserError`` that names the kind of an archive which is not unpacked here, and what to do with it.
    """
    with archive.open("rb") as file:
        head = file.read(_TAR_AT + len(_TAR))
    if what := next((what for start, what in _NO_ARCHIVE.items() if head.startswith(start)), ""):
        raise UserError(f"{archive} is no archive but {what}. Get the archive itself, and pass that with --from.")
    for start, what in _OTHER.items():
        if head.startswith(start):
            raise UserError(_not_unpacked(archive, what))
    if head.startswith(_ZIP):
        return "zip"
    if head.startswith(tuple(_COMPRESSED)) or head[_TAR_AT:].startswith(_TAR):
        return "tar"
    return expected


def several_parts(archive: Path) -> UserError:
    """The paragraph for the last part of a zip archive in several parts."""
    return UserError(_not_unpacked(archive, "one part of a zip archive in several parts"))


def perhaps_a_part(archive: Path) -> str:
    """What to do with an archive that may be cut or one of several parts, by its name and its neighbours."""
    stem = _PART.sub("", archive.name)
    beside = sorted(p.name for p in archive.parent.iterdir() if p != archive and p.name.startswith(stem))
    parts = [name for name in beside if _PART.search(name)]
    if not parts and not _PART.search(archive.name):
        return ""
    return (
        f" By its name it is one of several parts: join them in order (cat {stem}.* > whole-{stem}, or 7z x for parts "
        f"of 7-Zip, RAR and zip), and pass the whole with --from."
    )


def compressed_alone(archive: Path) -> UserError:
    """The paragraph for a file that is compressed and holds no tar archive."""
    return UserError(
        f"{archive} is compressed with gzip, bzip2 or xz, and what is inside is no tar archive, but another archive or "
        f"a single file. Unpack it once (gunzip, bunzip2, unxz), and pass what comes with --from."
    )


def is_compressed_whole(archive: Path) -> bool:
    """Whether it begins as what tars are compressed with, and its beginning can be decompressed."""
    with archive.open("rb") as file:
        head = file.read(8)
    opened = next((opener for start, opener in _COMPRESSED.items() if head.startswith(start)), None)
    if opened is None:
        return False
    try:
        with opened(archive) as inside:
            return bool(inside.read(_TAR_AT))
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError):
        return False


def unknown_packing(archive: Path, error: Exception) -> UserError:
    """The paragraph for a zip archive whose members are packed as Python does not know (Windows: Deflate64)."""
    return UserError(_not_unpacked(archive, f"a zip archive packed in an uncommon manner ({error})"))


def _not_unpacked(archive: Path, what: str) -> str:
    return (
        f"{archive} is {what}, which is not unpacked here; it may well be sound. Unpack it yourself (7z x, unrar x, or "
        f"zip -s 0 IN.zip --out WHOLE.zip for one in parts), pack the content as .zip or .tar, and pass that with "
        f"--from; or put the unpacked folder into the data folder and run `clipbench data verify`."
    )
