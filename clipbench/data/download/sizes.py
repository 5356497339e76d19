"""How much a data set is to download: what the catalogue states, else what the server says of each file."""

from __future__ import annotations

from collections.abc import Iterable
from http.client import HTTPException
from urllib.request import Request, urlopen

from clipbench import __version__
from clipbench.data.catalogue import Entry
from clipbench.data.catalogue.acquisition import Source

_SECONDS = 10.0


def download_size(entry: Entry, *, ask_servers: bool) -> int | None:
    """Bytes of all files that a program can fetch; None where neither the catalogue nor a server says."""
    files = [file for file in entry.acquisition.files if file.fetchable] if entry.acquisition else []
    return _sum(_size(file, ask_servers=ask_servers) for file in files if not file.optional) if files else None


def _sum(sizes: Iterable[int | None]) -> int | None:
    total = 0
    for size in sizes:
        if size is None:
            return None
        total += size
    return total


def _size(file: Source, *, ask_servers: bool) -> int | None:
    if file.bytes is not None or not ask_servers:
        return file.bytes
    return next(filter(None, map(_by_server, file.urls)), None)


def _by_server(url: str) -> int | None:
    """The length that a server states without sending the file."""
    request = Request(url, headers={"User-Agent": f"clipbench/{__version__}"}, method="HEAD")  # noqa: S310 - http(s) only
    try:
        with urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310
            length = str(answer.headers.get("Content-Length", ""))
    except (OSError, HTTPException, ValueError):
        return None
    return int(length) if length.isascii() and length.isdecimal() and int(length) else None
