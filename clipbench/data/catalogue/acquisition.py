"""How a data set is obtained: where its files are, what is known of them, and how the catalogue says it stands."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from clipbench.errors import UserError
from clipbench.registry.toml_files import strict

UNKNOWN = "unknown"
"""What stands in the catalogue where nobody states a size or a checksum; it is never guessed."""

STANDINGS = ("available", "mirror", "by-request", "gone")
"""Its authors serve it; only copies by others are left; it must be asked for; neither original nor a known copy."""

ARCHIVES = ("none", "tar", "zip")
_CHECKSUM = re.compile(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}|unknown")
_KEYS = {
    "folder": str,
    "standing": str,
    "standing_date": str,
    "rechecked": bool,
    "standing_source": str,
    "by_hand": str,
}
_OPTIONAL: Mapping[str, type | tuple[type, ...]] = {
    "unpacked_bytes": (int, str),
    "split_files": list,
    "split_content": str,
    "other_contents": dict,
    "known_duplicates": int,
    "files": list,
}
_FILE = {"name": str, "into": str, "archive": str, "bytes": (int, str), "checksum": str, "stated_by": str}
_FILE_OPTIONAL: Mapping[str, type | tuple[type, ...]] = {
    "urls": list,
    "gdrive": str,
    "take": str,
    "inner": list,
    "optional": str,
}


@dataclass(frozen=True)
class Source:
    """One file of a data set: an archive, or a plain file such as a list.

    ``urls`` are tried in order, the genuine one first; ``gdrive`` is the id of a file on Google Drive. ``bytes`` and
    ``checksum`` (``md5:...``, ``sha256:...``) are None and ``unknown`` where nobody states them; ``stated_by`` says who
    does. An archive unpacks into the folder ``into`` below the data root; with ``take`` only that folder of it, whose
    content goes to ``into``; ``inner`` are archives inside it, unpacked where they lie. ``optional`` says what becomes
    of the data without this file; it is empty where there is no data without it.
    """

    name: str
    into: str
    archive: str
    bytes: int | None
    checksum: str
    stated_by: str
    urls: Sequence[str] = ()
    gdrive: str = ""
    take: str = ""
    inner: Sequence[str] = ()
    optional: str = ""

    @property
    def fetchable(self) -> bool:
        """Whether a program can fetch it."""
        return bool(self.urls or self.gdrive)


@dataclass(frozen=True)
class Acquisition:
    """How to get a data set.

    ``folder`` is what it makes below the data root. ``standing`` is a word of :data:`STANDINGS`, as of
    ``standing_date`` by ``standing_source``, and ``rechecked`` whether anybody asked the server then, rather than took
    the source's word; ``by_hand`` says what a person has to do. ``split_content`` is the digest of the content of the
    published ``split_files`` (see :mod:`clipbench.data.published`), ``other_contents`` names contents that circulate
    under the same file name by their digests, ``known_duplicates`` is the number of images that
    the official parts are known to share.
    """

    folder: str
    standing: str
    standing_date: date
    rechecked: bool
    standing_source: str
    by_hand: str
    unpacked_bytes: int | None = None
    split_files: Sequence[str] = ()
    split_content: str = ""
    other_contents: Mapping[str, str] = field(default_factory=dict)
    known_duplicates: int = 0
    files: Sequence[Source] = ()

    @property
    def fetchable(self) -> bool:
        """Whether a program can fetch the images and all else that is needed."""
        needed = [file for file in self.files if not file.optional]
        return any(file.archive != "none" for file in needed) and all(file.fetchable for file in needed)


def read_acquisition(table: Mapping[str, Any], where: str) -> Acquisition | None:
    """The ``[acquisition]`` table of a catalogue file; None for an empty one.

    Raises ``UserError`` with the file, the key and what is allowed.
    """
    if not table:
        return None
    values = dict(strict(dict(table), where, _KEYS, _OPTIONAL))
    _one_of(values["standing"], STANDINGS, where, "standing")
    try:
        values["standing_date"] = date.fromisoformat(values["standing_date"])
    except ValueError:
        raise UserError(f"{where}: standing_date = {values['standing_date']!r} is no date (2026-11-22)") from None
    values["unpacked_bytes"] = _bytes(values.get("unpacked_bytes", UNKNOWN), where, "unpacked_bytes")
    files = values.pop("files", [])
    values["files"] = tuple(_source(file, f"{where}, files[{i}]") for i, file in enumerate(files))
    return Acquisition(**values)


def _source(table: Any, where: str) -> Source:
    values = dict(strict(table, where, _FILE, _FILE_OPTIONAL))
    _one_of(values["archive"], ARCHIVES, where, "archive")
    values["bytes"] = _bytes(values["bytes"], where, "bytes")
    if not _CHECKSUM.fullmatch(values["checksum"]):
        raise UserError(f"{where}: checksum = {values['checksum']!r} is neither md5:... nor sha256:... nor 'unknown'")
    for key in ("urls", "inner"):
        values[key] = tuple(values.get(key, ()))
    if bad := [url for url in values["urls"] if not str(url).startswith(("http://", "https://"))]:
        raise UserError(f"{where}: {bad[0]!r} is no http or https address")
    for key in ("into", "take", "name", *values["inner"]):
        _check_inside(values.get(key, key), where)
    return Source(**values)


def _one_of(value: str, allowed: Sequence[str], where: str, key: str) -> None:
    if value not in allowed:
        raise UserError(f"{where}: {key} = {value!r}: allowed are {', '.join(allowed)}")


def _bytes(value: int | str, where: str, key: str) -> int | None:
    if value == UNKNOWN:
        return None
    if not isinstance(value, int) or value < 1:
        raise UserError(f"{where}: {key} = {value!r} is neither a number of bytes nor 'unknown'")
    return value


def _check_inside(path: str, where: str) -> None:
    """A path of the catalogue stays below the data root."""
    if path.startswith("/") or ".." in path.split("/"):
        raise UserError(f"{where}: {path!r} leaves the data folder")
