"""From the staging folder to the data folder by renaming; nothing that is there is replaced."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from clipbench.data.acquire.disk import make_folder
from clipbench.data.acquire.faults import not_written


def place(staged: Path, target: Path) -> Iterator[str]:
    """Move what is in ``staged`` into ``target``; the names of what was moved.

    A folder that ``target`` does not have moves in one rename, so that it is whole or absent. Where both have a folder
    their contents are joined the same way; a file that is there stays, and the new one is dropped.
    """
    make_folder(target)
    for path in sorted(staged.iterdir()):
        new = target / path.name
        try:
            if path.is_dir() and new.is_dir():
                yield from (f"{path.name}/{name}" for name in place(path, new))
            elif not new.exists():
                path.rename(new)
                yield path.name
        except OSError as error:
            raise not_written(error, new) from error
