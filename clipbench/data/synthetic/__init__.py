"""Synthetic images of no known class: a folder of them per source domain with its manifest, and who makes one."""

from __future__ import annotations

from clipbench.data.synthetic.folder import folder_of, with_synthetic
from clipbench.data.synthetic.manifest import MANIFEST

__all__ = ["MANIFEST", "folder_of", "with_synthetic"]
