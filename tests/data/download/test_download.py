"""Downloads from a real server on loopback: resumed, retried, mirrored, checked; and what is left when they fail."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from clipbench.data.download import meter
from clipbench.data.download.download import Patience, download
from clipbench.data.download.faults import size
from clipbench.data.download.transfer import origin_of
from clipbench.errors import UserError
from tests.data.download.made import source
from tests.data.download.server import Server

QUICK = Patience(tries=3, pause=0.01)


def silent(_: str) -> None:
    """Nobody listens."""


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_a_file_comes_whole_and_is_not_fetched_again(server: Server, tmp_path: Path, random_bytes: bytes) -> None:
    wanted = source(server.put("a", random_bytes), checksum=sha256(random_bytes), bytes=len(random_bytes))
    path = download(wanted, tmp_path, silent, QUICK)
    assert path == tmp_path / "made.zip"
    assert path.read_bytes() == random_bytes
    assert download(wanted, tmp_path, silent, QUICK) == path
    assert server.asked == [("a", None)]
    assert [p.name for p in tmp_path.iterdir()] == ["made.zip"]


def test_a_broken_connection_is_gone_on_from_where_it_broke(
    server: Server, tmp_path: Path, random_bytes: bytes
) -> None:
    url = server.put("a", random_bytes, cuts=[700_001, 5])
    said: list[str] = []
    path = download(source(url, checksum=sha256(random_bytes)), tmp_path, said.append, QUICK)
    assert path.read_bytes() == random_bytes
    assert server.asked == [("a", None), ("a", "bytes=700001-"), ("a", "bytes=700006-")]
    assert "the connection ended after 700,001 of 2,000,003 bytes; trying again" in said[0]


def test_an_interrupted_call_leaves_a_partial_file_that_the_next_call_completes(
    server: Server, tmp_path: Path, random_bytes: bytes
) -> None:
    url = server.put("a", random_bytes, cuts=[900_000], statuses=[200, 503, 503, 503])
    wanted = source(url, checksum=sha256(random_bytes))
    with pytest.raises(UserError, match="HTTP 503"):
        download(wanted, tmp_path, silent, QUICK)
    assert not (tmp_path / "made.zip").exists()
    assert (tmp_path / "made.zip.partial").read_bytes() == random_bytes[:900_000]
    assert download(wanted, tmp_path, silent, QUICK).read_bytes() == random_bytes
    assert server.asked[-1] == ("a", "bytes=900000-")


def test_a_file_that_changed_on_the_server_is_begun_anew(server: Server, tmp_path: Path, random_bytes: bytes) -> None:
    url = server.put("a", random_bytes, cuts=[900_000], statuses=[200, 500, 500, 500])
    with pytest.raises(UserError):
        download(source(url), tmp_path, silent, QUICK)
    changed = random_bytes[::-1]
    server.put("a", changed)
    assert download(source(url), tmp_path, silent, QUICK).read_bytes() == changed


@pytest.mark.parametrize("note", [None, "", "{}", '{"url": "http://elsewhere/", "validator": "x"}'])
def test_a_partial_file_of_unknown_origin_is_not_gone_on_from(
    server: Server, tmp_path: Path, random_bytes: bytes, note: str | None
) -> None:
    partial = tmp_path / "made.zip.partial"
    partial.write_bytes(b"of another file")
    if note is not None:
        origin_of(partial).write_text(note)
    assert download(source(server.put("a", random_bytes)), tmp_path, silent, QUICK).read_bytes() == random_bytes
    assert server.asked == [("a", None)]


def test_a_server_without_ranges_starts_again(server: Server, tmp_path: Path, random_bytes: bytes) -> None:
    url = server.put("a", random_bytes, cuts=[900_000], ranges=False)
    assert download(source(url), tmp_path, silent, QUICK).read_bytes() == random_bytes


def test_a_partial_file_that_is_whole_already_needs_no_more_bytes(
    server: Server, tmp_path: Path, random_bytes: bytes
) -> None:
    """A kill between the last byte and the renaming: the server then answers 416."""
    url = server.put("a", random_bytes, cuts=[1_999_999], statuses=[200, 500, 500, 500])
    with pytest.raises(UserError):
        download(source(url), tmp_path, silent, QUICK)
    with (tmp_path / "made.zip.partial").open("ab") as file:
        file.write(random_bytes[1_999_999:])
    assert download(source(url), tmp_path, silent, QUICK).read_bytes() == random_bytes
    assert server.asked[-1] == ("a", "bytes=2000003-")


def test_busy_answers_are_waited_for(server: Server, tmp_path: Path, random_bytes: bytes) -> None:
    url = server.put("a", random_bytes, statuses=[503, 429, 200])
    assert download(source(url), tmp_path, silent, QUICK).read_bytes() == random_bytes
    assert len(server.asked) == 3


def test_a_dead_link_leads_to_the_mirror_at_once(server: Server, tmp_path: Path, random_bytes: bytes) -> None:
    mirror = server.put("mirror", random_bytes)
    said: list[str] = []
    path = download(source(server.url("gone"), mirror), tmp_path, said.append, QUICK)
    assert path.read_bytes() == random_bytes
    assert [path for path, _ in server.asked] == ["gone", "mirror"]
    assert said == [f"{server.url('gone')}: HTTP 404 Not Found"]


def test_a_server_that_is_not_there_leads_to_the_mirror(server: Server, tmp_path: Path, random_bytes: bytes) -> None:
    urls = ("http://127.0.0.1:9/a", "http://no-such-host.invalid/a", server.put("mirror", random_bytes))
    assert download(source(*urls), tmp_path, silent, QUICK).read_bytes() == random_bytes


@pytest.mark.parametrize(
    "page", [b"<!DOCTYPE html><title>Sign in</title>", b"\xef\xbb\xbf\n  <HTML>", b"<html lang=en>"]
)
def test_a_web_page_in_place_of_the_file_is_refused(
    server: Server, tmp_path: Path, random_bytes: bytes, page: bytes
) -> None:
    url = server.put("page", page + b" " * 500)
    with pytest.raises(UserError, match="a web page in place of the file"):
        download(source(url), tmp_path, silent, QUICK)
    assert not list(tmp_path.iterdir())
    mirror = server.put("mirror", random_bytes)
    assert download(source(url, mirror), tmp_path, silent, QUICK).read_bytes() == random_bytes


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_a_wrong_checksum_is_refused_removed_and_told(
    server: Server, tmp_path: Path, random_bytes: bytes, algorithm: str
) -> None:
    due = f"{algorithm}:{hashlib.new(algorithm, random_bytes).hexdigest()}"
    bad = server.put("bad", b"x" + random_bytes[1:])
    with pytest.raises(UserError) as error:
        download(source(bad, checksum=due), tmp_path, silent, QUICK)
    assert due in str(error.value)
    assert bad in str(error.value)
    assert not list(tmp_path.iterdir())
    good = server.put("good", random_bytes)
    assert download(source(bad, good, checksum=due), tmp_path, silent, QUICK).read_bytes() == random_bytes


def test_a_file_of_the_wrong_size_is_refused(server: Server, tmp_path: Path, random_bytes: bytes) -> None:
    url = server.put("a", random_bytes[:-1])
    with pytest.raises(UserError, match=r"2,000,002 bytes, the catalogue says 2,000,003"):
        download(source(url, bytes=len(random_bytes)), tmp_path, silent, QUICK)


def test_a_server_that_does_not_state_the_length_is_believed(
    server: Server, tmp_path: Path, random_bytes: bytes
) -> None:
    url = server.put("a", random_bytes, length=False)
    assert download(source(url), tmp_path, silent, QUICK).read_bytes() == random_bytes


def test_without_any_address_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"made\.zip cannot be had: the catalogue knows no address of it"):
        download(source(), tmp_path, silent, QUICK)


# Progress


def test_without_a_terminal_a_line_now_and_then_says_how_far_it_is(
    server: Server,
    tmp_path: Path,
    random_bytes: bytes,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(meter, "_SECONDS_BETWEEN_LINES", 0.0)
    download(source(server.put("a", random_bytes)), tmp_path, silent, QUICK)
    lines = capsys.readouterr().err.splitlines()
    assert "made.zip: 100% of 2.0 MB" in lines[-1]
    assert " a second" in lines[0]


def test_on_a_terminal_a_bar_goes_on_from_what_is_there(
    server: Server,
    tmp_path: Path,
    random_bytes: bytes,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    download(source(server.put("a", random_bytes, cuts=[900_000])), tmp_path, silent, QUICK)
    assert "made.zip: 100%" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "said"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (15_300, "15 kB"), (3.32e8, "332 MB"), (4e13, "40 TB")],
)
def test_bytes_as_people_read_them(number: float, said: str) -> None:
    assert size(number) == said


# Google Drive


def test_google_drive_without_its_library_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gdown", None)
    with pytest.raises(UserError, match=r"pip install 'clipbench\[data\]'"):
        download(source(gdrive="abc"), tmp_path, silent, QUICK)


@pytest.mark.parametrize("content", [b"the file", b"<html>quota exceeded</html>", None])
def test_google_drive_is_asked_through_its_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    def fetch(*, id: str, output: str, quiet: bool, resume: bool) -> str | None:  # noqa: A002 - gdown's own name
        assert id == "abc"
        if content is None:
            return None
        Path(output).write_bytes(content)
        return output

    monkeypatch.setitem(sys.modules, "gdown", SimpleNamespace(download=fetch))
    if content == b"the file":
        assert download(source(gdrive="abc"), tmp_path, silent, QUICK).read_bytes() == content
        return
    with pytest.raises(UserError, match=r"a web page|declined"):
        download(source(gdrive="abc"), tmp_path, silent, QUICK)
    assert not list(tmp_path.iterdir())
