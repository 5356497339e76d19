"""The embedded subsets by data set."""

from __future__ import annotations

from collections.abc import Mapping

from clipbench.data.painted.domains import DOMAIN_SUBSETS
from clipbench.data.painted.fewshot import FEW_SHOT_SUBSETS
from clipbench.data.painted.overhead import OVERHEAD_SUBSETS
from clipbench.data.painted.segmentation import SEGMENTATION_SUBSETS
from clipbench.data.painted.subset import Subset

SUBSETS: Mapping[str, Subset] = {
    subset.dataset: subset
    for subset in (
        *OVERHEAD_SUBSETS,
        *FEW_SHOT_SUBSETS,
        *DOMAIN_SUBSETS,
        *SEGMENTATION_SUBSETS,
    )
}
