"""What an archive is by its first bytes, whatever its name says."""

from __future__ import annotations

from pathlib import Path

from clipbench.errors import UserError

_TAR_AT, _TAR = 257, b"ustar"
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")
"""gzip, bzip2, xz: what a tar is compressed with, as far as Python reads it."""
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_OTHER = {
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive (.7z)",
    b"Rar!\x1a\x07": "a RAR archive",
    b"\x28\xb5\x2f\xfd": "compressed with Zstandard",
    b"PK\x07\x08": "the first part of a zip archive in several parts",
    b"MZ": "a Windows program, perhaps an archive that unpacks itself",
    b"%PDF": "a PDF document",
}


def kind_of(archive: Path, expected: str) -> str:
    """``zip`` or ``tar``, by the first bytes; ``expected`` where they do not tell.

    Raises ``UserError`` that names the kind of an archive which is not unpacked here, and what to do with it.
    """
    with archive.open("rb") as file:
        head = file.read(_TAR_AT + len(_TAR))
    for start, what in _OTHER.items():
        if head.startswith(start):
            raise UserError(_not_unpacked(archive, what))
    if head.startswith(_ZIP):
        return "zip"
    if head.startswith(_COMPRESSED) or head[_TAR_AT:].startswith(_TAR):
        return "tar"
    return expected


def several_parts(archive: Path) -> UserError:
    """The paragraph for the last part of a zip archive in several parts."""
    return UserError(_not_unpacked(archive, "one part of a zip archive in several parts"))


def unknown_packing(archive: Path, error: Exception) -> UserError:
    """The paragraph for a zip archive whose members are packed as Python does not know (Windows: Deflate64)."""
    return UserError(_not_unpacked(archive, f"a zip archive packed in an uncommon manner ({error})"))


def _not_unpacked(archive: Path, what: str) -> str:
    return (
        f"{archive} is {what}, which is not unpacked here; it may well be sound. Unpack it yourself (7z x, unrar x, or "
        f"zip -s 0 IN.zip --out WHOLE.zip for one in parts), pack the content as .zip or .tar, and pass that with "
        f"--from; or put the unpacked folder into the data folder and run `clipbench data verify`."
    )
