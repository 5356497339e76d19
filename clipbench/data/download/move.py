"""From the staging folder to the data folder by renaming; nothing that is there is replaced, no two data sets mix."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from clipbench.data.catalogue import Entry
from clipbench.data.download.disk import make_folder
from clipbench.data.download.faults import not_written
from clipbench.data.layouts.locations import owned


def under_one_folder(entry: Entry, staged: Path, folder: str) -> None:
    """Move what lies at the top of ``staged`` into the one folder there that bears a name of the data set.

    Where there is none, or more than one, it goes into ``folder``. Archives may hold class folders at their top: in the
    data root those of one set would join those of another.
    """
    own = [path for path in staged.iterdir() if path.is_dir() and owned(entry, path.name)]
    strangers = [path for path in staged.iterdir() if path not in own]
    aside = staged.parent / "aside"
    shutil.rmtree(aside, ignore_errors=True)
    make_folder(aside)
    for path in strangers:
        path.rename(aside / path.name)
    if strangers:
        list(move_into(aside, own[0] if len(own) == 1 else staged / folder))
    shutil.rmtree(aside, ignore_errors=True)


def move_into(staged: Path, target: Path) -> Iterator[str]:
    """Move what is in ``staged`` into ``target``; the names of what was moved.

    A folder that ``target`` does not have moves in one rename, so that it is whole or absent. Where both have a folder
    their contents are joined the same way; a file that is there stays, and the new one is dropped.
    """
    make_folder(target)
    for path in sorted(staged.iterdir()):
        new = target / path.name
        try:
            if path.is_dir() and new.is_dir():
                yield from (f"{path.name}/{name}" for name in move_into(path, new))
            elif not new.exists():
                path.rename(new)
                yield path.name
        except OSError as error:
            raise not_written(error, new) from error
