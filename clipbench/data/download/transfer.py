"""One attempt to bring a file over HTTP, going on from what an earlier attempt left.

The bytes lie in ``NAME.partial``; ``NAME.partial.origin`` says which version of which address they are a part of.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import time
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from clipbench import __version__
from clipbench.data.download.disk import check_room, opened, write
from clipbench.data.download.faults import BrokenOffError, RefusedError, not_written

CHUNK = 1 << 18
_TIMEOUT = 60.0
_PASSING = (408, 425, 429, 500, 502, 503, 504)
"""Answers that another try may change."""
_LONGEST_WAIT = 60.0


class Watch:
    """Passes on how many bytes are there (and of how many, where the server says so), and ends what is too slow."""

    def __init__(self, tell: Callable[[int, int | None], None], slowest: float = 0.0, window: float = 60.0) -> None:
        self._tell, self._slowest, self._window = tell, slowest, window
        self._began: tuple[float, int] | None = None

    def at(self, there: int, total: int | None) -> None:
        """Raises ``BrokenOffError`` where fewer bytes than the floor came in the last window."""
        self._tell(there, total)
        now = time.monotonic()
        began, before = self._began or (now, there)
        if self._began is None or now - began >= self._window:
            self._began = now, there
            rate = (there - before) / max(now - began, 1e-9)
            if now > began and rate < self._slowest:
                raise BrokenOffError(
                    f"only {rate:.0f} bytes a second came in the last {now - began:.0f} s", fruitless=True
                )


def transfer(url: str, partial: Path, watch: Watch) -> None:
    """Complete ``partial``.

    Raises ``BrokenOffError`` where another try may help, ``RefusedError`` where only another address may, and
    ``UserError`` where the disk is the cause.
    """
    origin = origin_of(partial)
    headers = {"User-Agent": f"clipbench/{__version__}", "Accept-Encoding": "identity", **_range(url, partial, origin)}
    try:
        with urlopen(Request(url, headers=headers), timeout=_TIMEOUT) as answer:  # noqa: S310 - the catalogue admits http(s) only
            _receive(answer, url, partial, watch)
    except HTTPError as error:
        _answered(error, partial)
    except URLError as error:
        raise _unreachable(error.reason) from error
    except (HTTPException, OSError) as error:
        raise BrokenOffError(f"the connection broke ({type(error).__name__}: {error})") from error
    except (ValueError, AssertionError, OverflowError) as error:  # an address or a length that is none
        raise RefusedError(f"the server's answer makes no sense ({type(error).__name__}: {error})") from error


def origin_of(partial: Path) -> Path:
    """Where it is noted which version of which address ``partial`` is a part of."""
    return partial.with_name(f"{partial.name}.origin")


def forget(partial: Path) -> None:
    """Remove a partial file with its note."""
    partial.unlink(missing_ok=True)
    origin_of(partial).unlink(missing_ok=True)


def looks_like_a_page(head: bytes) -> bool:
    """Whether these first bytes are those of a web page (a login, an error, a virus-scan question)."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:100].lower()
    return start.startswith((b"<!doctype html", b"<html", b"<head", b"<body"))


def _range(url: str, partial: Path, origin: Path) -> dict[str, str]:
    """Ask for the rest, on the condition that the file is still the one that the beginning came from."""
    try:
        there, noted = partial.stat().st_size, json.loads(origin.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not there or noted.get("url") != url or not noted.get("validator"):
        return {}
    return {"Range": f"bytes={there}-", "If-Range": noted["validator"]}


def _receive(answer: HTTPResponse, url: str, partial: Path, watch: Watch) -> None:
    start = _start(answer, partial)
    length = answer.headers.get("Content-Length", "")
    total = start + int(length) if length.isdecimal() else None
    if total is not None:
        check_room(total - start, partial.parent, "the rest of the download" if start else "the download")
    first = answer.read1(CHUNK)
    if start == 0:
        if looks_like_a_page(first):
            raise RefusedError("the server answers with a web page in place of the file")
        _begin(answer, url, partial)
    there = start
    with opened(partial, "ab") as file:
        chunk = first
        while chunk:
            write(file, chunk, partial)
            there += len(chunk)
            watch.at(there, total)
            chunk = answer.read1(CHUNK)  # what has come: a full chunk may take a slow server for ever
    if total is not None and there < total:
        raise BrokenOffError(f"the connection ended after {there:,} of {total:,} bytes")


def _start(answer: HTTPResponse, partial: Path) -> int:
    """From which byte on the answer is: 0, or (with 206) where the partial file ends."""
    if answer.status != 206:
        return 0
    there = partial.stat().st_size
    given = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    if given is None or int(given[1]) != there:
        forget(partial)
        raise BrokenOffError("the server sent another part than the one asked for; starting again")
    return there


def _begin(answer: HTTPResponse, url: str, partial: Path) -> None:
    """Empty the partial file, then note what it is going to hold: a kill in between leaves nothing that lies."""
    etag = answer.headers.get("ETag", "")
    validator = answer.headers.get("Last-Modified", "") if not etag or etag.startswith("W/") else etag
    try:
        partial.write_bytes(b"")
        origin_of(partial).write_text(json.dumps({"url": url, "validator": validator}), encoding="utf-8")
    except OSError as error:
        raise not_written(error, partial.parent) from error


def _answered(error: HTTPError, partial: Path) -> None:
    """What an answer other than success means. Returns where the partial file turns out to be whole already."""
    told = f"HTTP {error.code} {error.reason}"
    if error.code == 416:
        whole = re.match(r"bytes \*/(\d+)", error.headers.get("Content-Range", ""))
        if whole and partial.exists() and int(whole[1]) == partial.stat().st_size:
            return
        forget(partial)
        raise BrokenOffError(f"{told}; starting again") from error
    if error.code not in _PASSING:
        raise RefusedError(told) from error
    after = error.headers.get("Retry-After", "")
    raise BrokenOffError(told, min(float(after), _LONGEST_WAIT) if after.isdecimal() else 0.0) from error


def _unreachable(reason: Any) -> Exception:
    if isinstance(reason, socket.gaierror):
        return RefusedError("its name cannot be resolved (is there a network?)")
    if isinstance(reason, ssl.SSLCertVerificationError):
        return RefusedError(f"its certificate is not valid ({reason.verify_message})")
    return BrokenOffError(f"it cannot be reached ({reason})")
