"""One attempt to bring a file over HTTP, going on from what an earlier attempt left.

The bytes lie in ``NAME.partial``; ``NAME.partial.origin`` says which version of which address they are a part of.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse, InvalidURL
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request

from clipbench import __version__
from clipbench.data.download.connection import Floor, opener
from clipbench.data.download.disk import check_room, opened, write
from clipbench.data.download.faults import BrokenOffError, RefusedError, not_written

CHUNK = 1 << 18
_TIMEOUT = 60.0
_PASSING = (408, 425, 429, 500, 502, 503, 504)
"""Answers that another try may change."""
_LONGEST_WAIT = 60.0


def transfer(url: str, partial: Path, tell: Callable[[int, int | None], None], floor: Floor) -> None:
    """Complete ``partial``; ``tell`` takes how many bytes are there, and of how many, where the server says so.

    Raises ``BrokenOffError`` where another try may help, ``RefusedError`` where only another address may, and
    ``UserError`` where the disk is the cause.
    """
    origin = origin_of(partial)
    headers = {"User-Agent": f"clipbench/{__version__}", "Accept-Encoding": "identity", **_range(url, partial, origin)}
    try:
        with opener(floor).open(Request(url, headers=headers), timeout=_TIMEOUT) as answer:  # noqa: S310 - the catalogue admits http(s) only
            _receive(answer, url, partial, tell)
    except HTTPError as error:
        _answered(error, partial)
    except URLError as error:
        raise _unreachable(error.reason) from error
    except (InvalidURL, ValueError, AssertionError, OverflowError) as error:  # an address or a length that is none
        raise RefusedError(f"the server's answer makes no sense ({type(error).__name__}: {error})") from error
    except (HTTPException, OSError) as error:
        raise BrokenOffError(f"the connection broke ({type(error).__name__}: {error})") from error


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
    return start.startswith((b"<!", b"<?", b"<html", b"<head", b"<body"))


def _range(url: str, partial: Path, origin: Path) -> dict[str, str]:
    """Ask for the rest, on the condition that the file is still the one that the beginning came from."""
    validator = _validator(url, origin)
    there = partial.stat().st_size if validator and partial.is_file() else 0
    return {"Range": f"bytes={there}-", "If-Range": validator} if there else {}


def _validator(url: str, origin: Path) -> str:
    """What the server called the version that the partial file is of; empty where nothing usable is noted."""
    try:
        noted = json.loads(origin.read_text(encoding="utf-8"))
        return str(noted["validator"]) if noted["url"] == url else ""
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return ""


def _receive(answer: HTTPResponse, url: str, partial: Path, tell: Callable[[int, int | None], None]) -> None:
    _refuse_encoded(answer, partial)
    start, total = _extent(answer, url, partial)
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
            tell(there, total)
            chunk = answer.read1(CHUNK)  # what has come: a full chunk may take a slow server for ever
    if total is not None and there > total:
        forget(partial)
        raise BrokenOffError(f"the server sent {there:,} bytes of a file that has {total:,}; starting again")
    if total is not None and there < total:
        raise BrokenOffError(f"the connection ended after {there:,} of {total:,} bytes")


def _refuse_encoded(answer: HTTPResponse, partial: Path) -> None:
    """Compressed on the way, the bytes are not the file's. Of a .gz file some servers say so, and send it as it is."""
    coding = answer.headers.get("Content-Encoding", "identity").strip().lower()
    transfer_coding = answer.headers.get("Transfer-Encoding", "chunked").strip().lower()
    as_it_is = coding == "identity" or partial.name.endswith((".gz.partial", ".tgz.partial"))
    if not as_it_is or transfer_coding not in ("chunked", "identity"):
        raise RefusedError(f"the server sends it compressed ({coding}, {transfer_coding}), which it was asked not to")


def _extent(answer: HTTPResponse, url: str, partial: Path) -> tuple[int, int | None]:
    """From which byte on the answer is, 0 or (with 206) where the partial file ends; how long the file is, if known."""
    if answer.status != 206:
        length = answer.headers.get("Content-Length", "")
        return 0, int(length) if length.isdecimal() else None
    there = partial.stat().st_size if partial.exists() else 0
    given = re.match(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""), re.IGNORECASE)
    version, noted = answer.headers.get("ETag", ""), _validator(url, origin_of(partial))
    if given is None or int(given[1]) != there or (noted.startswith('"') and version not in ("", noted)):
        forget(partial)
        raise BrokenOffError("the server sent another part than the one asked for; starting again")
    return there, int(given[2]) if given[2].isdecimal() else None


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
