"""The one exception that ends a command with a paragraph instead of a traceback."""

from __future__ import annotations


class UserError(Exception):
    """A mistake or a lack on the user's side: the message says what is wrong, where, and what to do.

    The command line prints the message and exits with code 2.
    """
