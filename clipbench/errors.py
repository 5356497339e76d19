"""The exceptions that end a command with a paragraph instead of a traceback."""

from __future__ import annotations

from collections.abc import Iterable


class UserError(Exception):
    """A mistake or a lack on the user's side: the message says what is wrong, where, and what to do.

    The command line prints the message and exits with code 2.
    """


class MissingWeightsError(UserError):
    """Pretrained weights that are not to be had, or do not fit: every run with them meets the same fault."""


class MissingTowerError(MissingWeightsError):
    """Weights without a part that one method needs: every run of that method with them meets the same fault."""


def near(name: str, known: Iterable[str], count: int = 1) -> str:
    """`` Did you mean table2?``, for the end of a sentence on an unknown name; empty where nothing is like it."""
    from difflib import get_close_matches

    found = get_close_matches(name, list(known), n=count, cutoff=0.5)
    return f" Did you mean {' or '.join(found)}?" if found else ""
