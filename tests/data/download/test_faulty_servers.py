"""Servers that would keep a download busy for ever, or whose answers make no sense: each is given up with a reason."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from clipbench.data.download.download import Patience, download
from clipbench.errors import UserError
from tests.data.download.made import source

Answer = Callable[[socket.socket, str], None]
BODY = b"x" * 20_000
HEAD = b'HTTP/1.1 200 OK\r\nETag: "a"\r\nConnection: close\r\nContent-Length: %d\r\n\r\n' % len(BODY)


@contextmanager
def serving(answer: Answer) -> Iterator[tuple[str, list[str]]]:
    """The address of a server on loopback that gives this answer, and the requests that it had."""
    listener, requests = socket.create_server(("127.0.0.1", 0)), []

    def loop() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    requests.append(connection.recv(65536).decode())
                    answer(connection, requests[-1])
                except OSError:
                    pass

    threading.Thread(target=loop, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/made.zip", requests
    finally:
        listener.close()


def slowly(connection: socket.socket, _: str) -> None:
    connection.sendall(HEAD)
    for _ in range(2000):
        connection.sendall(b"x")
        time.sleep(0.01)


def another_range(connection: socket.socket, request: str) -> None:
    if "Range:" in request:
        connection.sendall(b"HTTP/1.1 206 P\r\nContent-Range: bytes 5-14/20\r\nContent-Length: 10\r\n\r\n" + b"x" * 10)
    else:
        connection.sendall(HEAD + BODY[:5000])


def no_such_range(connection: socket.socket, request: str) -> None:
    if "Range:" in request:
        connection.sendall(b"HTTP/1.1 416 No\r\nContent-Range: bytes */7\r\nContent-Length: 0\r\n\r\n")
    else:
        connection.sendall(HEAD + BODY[:5000])


def bad_redirect(connection: socket.socket, _: str) -> None:
    connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://[::1/made.zip\r\nContent-Length: 0\r\n\r\n")


def negative_chunk(connection: socket.socket, _: str) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n")


def slow_head(connection: socket.socket, _: str) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    for _ in range(2000):
        connection.sendall(b"x")
        time.sleep(0.01)


def rest_cut(connection: socket.socket, request: str) -> None:
    """Sends 100 bytes of the rest, and a length that is theirs."""
    if "Range:" in request:
        start = int(request.partition("bytes=")[2].partition("-")[0])
        told = b"Content-Range: bytes %d-%d/20000\r\nContent-Length: 100\r\n\r\n" % (start, start + 99)
        connection.sendall(b"HTTP/1.1 206 P\r\n" + told + b"x" * 100)
    else:
        connection.sendall(HEAD + BODY[:5000])


def rest_of_another_version(connection: socket.socket, request: str) -> None:
    if "Range:" in request:
        told = b'ETag: "b"\r\nContent-Range: bytes 5000-19999/20000\r\n\r\n'
        connection.sendall(b"HTTP/1.1 206 P\r\n" + told + b"y" * 15_000)
    else:
        connection.sendall(HEAD + BODY[:5000])


def plainly(head: bytes, body: bytes) -> Answer:
    told = b"HTTP/1.1 " + head + b"\r\nContent-Length: %d\r\n\r\n" % len(body)
    return lambda connection, _: connection.sendall(told + body)


@pytest.mark.parametrize(
    ("answer", "said", "most"),
    [
        (slow_head, "bytes a second came", 3),
        (rest_cut, "of 20,000 bytes", 10),
        (rest_of_another_version, "3 tries in a row", 6),
        (plainly(b"200 OK", b""), "it is empty", 1),
        (plainly(b"206 P", BODY), "another part", 3),
        (plainly(b"200 OK\r\nContent-Encoding: gzip", gzip.compress(BODY)), "compressed (gzip", 1),
        (plainly(b"200 OK", b'<?xml version="1.0"?><Error/>'), "a web page", 1),
        (plainly(b"302 F\r\nLocation: ftp://127.0.0.1:1/a.zip", b""), "no web address", 1),
        (plainly(b"404 \x1b[31mNot here", b""), "404 [31mNot here", 1),
        (slowly, "bytes a second came", 3),
        (another_range, "3 tries in a row", 6),
        (no_such_range, "3 tries in a row", 6),
        (bad_redirect, "makes no sense", 1),
        (negative_chunk, "", 3),
    ],
)
def test_it_is_given_up_with_a_reason(tmp_path: Path, answer: Answer, said: str, most: int) -> None:
    patience = Patience(tries=3, pause=0.01, most=10, slowest=10_000.0, window=0.2)
    with serving(answer) as (url, requests), pytest.raises(UserError, match="cannot be had") as given_up:
        download(source(url), tmp_path, lambda _: None, patience)
    assert said in str(given_up.value)
    assert 1 <= len(requests) <= most
    assert not (tmp_path / "made.zip").exists()


def test_a_bound_on_all_attempts_ends_a_download_that_creeps(tmp_path: Path) -> None:
    def one_more_byte(connection: socket.socket, request: str) -> None:
        start = int(request.partition("bytes=")[2].partition("-")[0] or 0)
        whole = (
            b'HTTP/1.1 206 P\r\nETag: "a"\r\nContent-Range: bytes %d-19999/20000\r\n' % start if start else HEAD[:-2]
        )
        length = b"" if not start else b"Content-Length: %d\r\n" % (len(BODY) - start)
        connection.sendall(whole + length + b"\r\n" + b"x")

    with serving(one_more_byte) as (url, requests), pytest.raises(UserError, match="8 in all"):
        download(source(url), tmp_path, lambda _: None, Patience(tries=3, pause=0.001, most=8))
    assert len(requests) == 8
