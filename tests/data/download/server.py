"""A web server on loopback that behaves as badly as the test asks for."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class File:
    """What the server has under a path, and how it gives it.

    ``statuses`` are the codes of the next answers, ``cuts`` the bytes after which the next connections end; both are
    used up. ``ranges`` says whether parts are given at all, ``pause`` is slept after each 64 kB.
    """

    content: bytes
    statuses: list[int] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    ranges: bool = True
    length: bool = True
    kind: str = "application/octet-stream"
    pause: float = 0.0

    @property
    def etag(self) -> str:
        return f'"{hashlib.sha256(self.content).hexdigest()[:16]}"'


class Server:
    """``files`` by path; ``asked`` holds (path, Range header) of every request."""

    def __init__(self) -> None:
        self.files: dict[str, File] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.port = 0

    def put(self, path: str, content: bytes, **how: object) -> str:
        """Serve a file; its address."""
        self.files[path] = File(content, **how)  # type: ignore[arg-type]
        return self.url(path)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}/{path}"


class Handler(BaseHTTPRequestHandler):
    """Answers from the files of ``told``."""

    told: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""

    def do_GET(self) -> None:
        path, wanted = self.path.lstrip("/"), self.headers.get("Range")
        self.told.asked.append((path, wanted))
        file = self.told.files.get(path)
        if file is None:
            self._plain(404)
        elif file.statuses and (status := file.statuses.pop(0)) != 200:
            self._plain(status)
        else:
            self._give(file, wanted, self.headers.get("If-Range"))

    def _plain(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _give(self, file: File, wanted: str | None, condition: str | None) -> None:
        start = 0
        found = re.fullmatch(r"bytes=(\d+)-", wanted or "")
        if found and file.ranges and condition in (None, file.etag):
            start = int(found[1])
            if start >= len(file.content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(file.content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(file.content) - 1}/{len(file.content)}")
        else:
            self.send_response(200)
        self.send_header("ETag", file.etag)
        self.send_header("Content-Type", file.kind)
        if file.length:
            self.send_header("Content-Length", str(len(file.content) - start))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self._send(file, file.content[start:])

    def _send(self, file: File, body: bytes) -> None:
        cut = file.cuts.pop(0) if file.cuts else len(body)
        for at in range(0, min(cut, len(body)), 1 << 16):
            try:
                self.wfile.write(body[at : min(at + (1 << 16), cut)])
            except OSError:  # the other side was killed
                return
            time.sleep(file.pause)
        if cut < len(body):
            self.close_connection = True


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    web = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"told": server}))
    web.daemon_threads = True
    server.port = web.server_address[1]
    thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        web.shutdown()
        web.server_close()
        thread.join()
