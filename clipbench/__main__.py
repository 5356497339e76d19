"""``python -m clipbench``."""

from clipbench.cli import entry

entry()
