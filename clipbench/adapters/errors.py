"""The one exception of this package."""

from __future__ import annotations

from clipbench.errors import UserError


class AdapterError(UserError, ValueError):
    """A mistake in what was asked of an adapter: the message says what is wrong, where, and what to do."""
