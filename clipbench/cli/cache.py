"""``clipbench cache``: how much room the cache takes, and ``--prune`` to free it."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from clipbench.cli import option_types as types
from clipbench.files import partial_name, remove

_DAY = 86_400.0
_KINDS = {
    "images": "decoded images and masks",
    "features": "image features of frozen towers",
    "digests": "digests of data files",
    "smoke": "generated images of the smoke profile",
}
"""The folders that clipbench makes in its cache, and what is in them. Nothing else is looked at or removed."""


@dataclass(frozen=True)
class Kind:
    """One folder of the cache: its files, their bytes, and what of it is (or was) to be removed."""

    name: str
    content: str
    files: int
    bytes: int
    removed_files: int
    removed_bytes: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``clipbench cache``."""
    parser.add_argument("--prune", action="store_true", help="remove the files; they are made again when needed")
    parser.add_argument("--unused", type=types.positive, metavar="DAYS", help="only those not used for so many days")
    parser.add_argument("--kind", choices=tuple(_KINDS), help="only this folder of the cache")
    types.add_format(parser)


def main(arguments: argparse.Namespace) -> int:
    """Print the sizes; with ``--prune`` after the files are removed."""
    from clipbench.data.digests import cache_dir
    from clipbench.data.download.faults import size
    from clipbench.report.terminal import text_table

    names = [arguments.kind] if arguments.kind else list(_KINDS)
    before = time.time() - _DAY * (arguments.unused or 0)
    kinds = [_looked_at(cache_dir() / name, before, prune=arguments.prune) for name in names]
    if arguments.format == "json":
        print(json.dumps({"folder": str(cache_dir()), "kinds": [asdict(kind) for kind in kinds]}, indent=1))
        return 0
    rows = [(kind.name, kind.content, kind.files, size(kind.bytes)) for kind in kinds]
    print(
        f"{cache_dir()} (CLIPBENCH_CACHE names another folder)\n\n{text_table(('', 'content', 'files', 'size'), rows)}"
    )
    total = sum(kind.removed_bytes for kind in kinds)
    files = sum(kind.removed_files for kind in kinds)
    done = "removed" if arguments.prune else "`clipbench cache --prune` with these options would remove"
    print(f"\n{done}: {files} files, {size(total)}")
    return 0


def _looked_at(folder: Path, before: float, *, prune: bool) -> Kind:
    found = list(_entries(folder))
    old = [one for one in found if one.used <= before]
    for one in old if prune else ():
        # Renamed first: half a folder would be taken for a whole one, after a kill on the way.
        with suppress(FileNotFoundError):
            remove(one.path.rename(one.path.with_name(partial_name(one.path.name))))
    return Kind(
        name=folder.name,
        content=_KINDS[folder.name],
        files=sum(one.files for one in found),
        bytes=sum(one.bytes for one in found),
        removed_files=sum(one.files for one in old),
        removed_bytes=sum(one.bytes for one in old),
    )


@dataclass(frozen=True)
class _Entry:
    """What goes as a whole: a file, or the folder of a generated data set."""

    path: Path
    files: int
    bytes: int
    used: float


def _entries(folder: Path) -> Iterator[_Entry]:
    """The entries of a folder of the cache. What another process is writing (``.partial-*``) is left alone."""
    pattern = "smoke-*/*" if folder.name == "smoke" else "*"
    for path in sorted(folder.glob(pattern)):
        if path.name.startswith(".") or path.is_symlink():
            continue
        files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
        states = [one.stat() for one in files]
        used = max((max(state.st_atime, state.st_mtime) for state in states), default=0.0)
        yield _Entry(path, len(files), sum(state.st_size for state in states), used)
