"""Writing a subset to disk: whole or absent, and never a stale one."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from clipbench.data.painted.layouts import files_of
from clipbench.data.painted.subset import Subset
from clipbench.data.painted.subsets import SUBSETS
from clipbench.errors import UserError
from clipbench.files import beside, sweep


@cache
def generator_version() -> str:
    """A digest of the generator's sources, eight hex digits: any change to them makes new subsets."""
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for source in sorted(here.rglob("*.py")):
        digest.update(source.relative_to(here).as_posix().encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()[:8]


def data_folder(root: Path) -> Path:
    """The folder below `root` that holds the data sets of this version of the generator, each in its own folder."""
    return root / f"smoke-{generator_version()}"


def write_subset(dataset: str, root: Path) -> Path:
    """Write one data set's smoke subset in its genuine layout, unless it is there already.

    The subset is written beside its place and renamed, so that it is whole or absent; of two processes that write at
    the same time one wins and the other uses its result.

    Args:
        dataset: a key of `SUBSETS`.
        root: where generated data may live; made if need be.

    Returns:
        The data set's folder, `data_folder(root) / folder`.

    Raises:
        UserError: for a data set without a subset, or where `root` cannot be written.
    """
    if dataset not in SUBSETS:
        raise UserError(f"There is no smoke subset of {dataset!r}; there is one of: {', '.join(SUBSETS)}.")
    subset = SUBSETS[dataset]
    final = data_folder(root) / subset.folder
    if final.is_dir():
        sweep(final.parent)
        return final
    with beside(final, "Make room there, or name another folder with CLIPBENCH_CACHE.") as partial:
        _write_files(subset, partial)
    return final


def _write_files(subset: Subset, folder: Path) -> None:
    for name, content in files_of(subset):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            path.write_text(content, encoding="utf-8", newline="")
        else:
            content.save(path, quality=92)  # which tif and png ignore
