"""The exceptions that end a command with a paragraph instead of a traceback."""

from __future__ import annotations


class UserError(Exception):
    """A mistake or a lack on the user's side: the message says what is wrong, where, and what to do.

    The command line prints the message and exits with code 2.
    """


class MissingWeightsError(UserError):
    """Pretrained weights that are not to be had, or do not fit: every run with them meets the same fault."""
