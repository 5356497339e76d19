"""``python -m clipbench``."""

import sys

from clipbench.cli import main

sys.exit(main())
