"""Generated stand-ins for the real data sets, in their genuine layouts, for the smoke profile.

They prove the machinery, never a paper's numbers. Everything is painted from names with numpy and Pillow (digits come
from scikit-learn); nothing is downloaded.
"""

from __future__ import annotations

from clipbench.data.painted.subset import Subset
from clipbench.data.painted.subsets import SUBSETS
from clipbench.data.painted.unknowns import write_unknowns
from clipbench.data.painted.write import data_folder, generator_version, write_subset

__all__ = ["SUBSETS", "Subset", "data_folder", "generator_version", "write_subset", "write_unknowns"]
