"""Connections of a download: each ends where its server is too slow, and follows redirects to web addresses alone."""

from __future__ import annotations

import io
import time
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPHandler, HTTPRedirectHandler, HTTPSHandler, OpenerDirector, Request, build_opener

from clipbench.data.download.faults import BrokenOffError


class Floor:
    """The least speed of a connection: ``slowest`` bytes a second over each ``window`` seconds.

    All bytes count, those of headers and of chunk sizes too: a server may send these one by one for ever, each within
    the time limit of a socket.
    """

    def __init__(self, slowest: float = 0.0, window: float = 60.0) -> None:
        self._slowest, self._window = slowest, window
        self.begin()

    def begin(self) -> None:
        """A new connection, or a new window."""
        self._began, self._came = time.monotonic(), 0

    def count(self, came: int) -> None:
        """So many more bytes. Raises ``BrokenOffError`` where fewer than the floor came in the window that ends."""
        self._came += came
        seconds = time.monotonic() - self._began
        if seconds < self._window:
            return
        rate = self._came / seconds
        if rate < self._slowest:
            raise BrokenOffError(f"only {rate:.0f} bytes a second came in the last {seconds:.0f} s", fruitless=True)
        self.begin()


class _Counted(io.RawIOBase):
    """What comes from a socket, counted."""

    def __init__(self, raw: Any, floor: Floor) -> None:
        self._raw, self._floor = raw, floor

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        came = int(self._raw.readinto(buffer) or 0)
        self._floor.count(came)
        return came

    def close(self) -> None:
        self._raw.close()
        super().close()


class _WebOnly(HTTPRedirectHandler):
    """urllib would follow a redirect to an FTP server too."""

    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        if not newurl.lower().startswith(("http://", "https://")):
            raise HTTPError(newurl, code, f"it leads to {newurl}, which is no web address", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def opener(floor: Floor) -> OpenerDirector:
    """Opens http and https addresses; every answer keeps to the floor."""

    class Answer(HTTPResponse):
        def __init__(self, sock: Any, *args: Any, **how: Any) -> None:
            super().__init__(sock, *args, **how)
            floor.begin()
            self.fp: Any = io.BufferedReader(_Counted(self.fp.detach(), floor))

    class Plain(HTTPConnection):
        response_class = Answer

    class Secure(HTTPSConnection):
        response_class = Answer

    class Handler(HTTPHandler, HTTPSHandler):
        def http_open(self, req: Request) -> Any:
            return self.do_open(Plain, req)

        def https_open(self, req: Request) -> Any:
            return self.do_open(Secure, req)

    return build_opener(Handler, _WebOnly)
