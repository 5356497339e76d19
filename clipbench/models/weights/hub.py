"""Fetching pretrained files through another library's own download, with one paragraph where that fails."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from urllib.parse import urlsplit
from urllib.request import getproxies

from clipbench.errors import MissingWeightsError
from clipbench.models.weights.files import first_line

_PATIENCE = 5.0
"""Seconds for the first answer of the hub; its client would try for minutes."""


@contextmanager
def fetching(what: str, remedy: str = "fetch the file elsewhere and pass --weights FILE") -> Iterator[None]:
    """The body downloads ``what``; a fault of the network or of the hub becomes a ``MissingWeightsError``.

    Without network only the caches are looked into, at once. The hub's client logs each of its retries; the paragraph
    says it once, and ends with the ``remedy``.
    """
    from huggingface_hub import constants

    logging.disable(logging.ERROR)
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not _reachable(constants.ENDPOINT)
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        raise MissingWeightsError(
            f"{what} could not be fetched ({first_line(error)}). The caches of Hugging Face and open_clip were looked "
            f"into, then the hub was asked. Without network, {remedy}, or add --smoke to see the command work with a "
            f"tiny model."
        ) from error
    finally:
        constants.HF_HUB_OFFLINE = before
        logging.disable(logging.NOTSET)


@cache
def _reachable(endpoint: str) -> bool:
    """Whether the hub answers within seconds; behind a proxy nobody can tell, and the client shall try."""
    if getproxies() or os.environ.get("HF_HUB_OFFLINE"):
        return True
    parts = urlsplit(endpoint)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 443), timeout=_PATIENCE).close()
    except OSError:
        return False
    return True
