"""Fetching pretrained weights through another library's own download, with one paragraph where that fails."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from clipbench.errors import MissingWeightsError
from clipbench.models.weights.files import first_line


@contextmanager
def fetching(what: str) -> Iterator[None]:
    """The body downloads ``what``; a fault of the network or of the hub becomes a ``MissingWeightsError``.

    The hub's client logs each of its retries; the paragraph says it once.
    """
    logging.disable(logging.ERROR)
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        raise MissingWeightsError(
            f"the weights {what} could not be fetched ({first_line(error)}). They are looked for in the caches of "
            f"Hugging Face and open_clip and then downloaded. Without network, fetch them elsewhere and pass "
            f"--weights FILE, or add --smoke to see the command work with a tiny model."
        ) from error
    finally:
        logging.disable(logging.NOTSET)
