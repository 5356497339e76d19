"""The embedded smoke subsets: small generated stand-ins for the real data sets, in their genuine layouts.

They prove the machinery, never a paper's numbers. Everything is painted from a seed with numpy and Pillow; nothing is
downloaded and nothing of other people's is shipped.
"""

from __future__ import annotations

from clipbench.data.painted.subset import Subset
from clipbench.data.painted.subsets import SUBSETS
from clipbench.data.painted.write import data_folder, generator_version, write_subset

__all__ = ["SUBSETS", "Subset", "data_folder", "generator_version", "write_subset"]
