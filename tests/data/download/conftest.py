"""The server and random bytes that the tests of this folder share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.data.download.server import Server, serving


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


@pytest.fixture
def random_bytes() -> bytes:
    """Some 2 MB, different in every run."""
    return os.urandom(2_000_003)
