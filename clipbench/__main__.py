"""``python -m clipbench``."""

from clipbench.cli.main import entry

entry()
