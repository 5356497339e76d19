"""Where a data set may lie: folders that bear one of its names, however that is spelled, and what nests in them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from difflib import SequenceMatcher
from pathlib import Path

from clipbench.data import catalogue
from clipbench.data.catalogue import Entry
from clipbench.data.layouts.listing import folders_in, key
from clipbench.errors import UserError

_SIMILAR = 0.75
"""Of 1: how alike two names must be for the one to be told where the other was looked for."""


def locations(entry: Entry, data_root: Path, inside: Sequence[str] = (".",)) -> list[Path]:
    """Existing folders that bear one of the data set's names, in the order of ``entry.folders``.

    They lie below the data root, or are the data root itself where it bears the name. Archives are often unpacked into
    a folder of their own, so one more folder between is looked through: the only one, or one of a known name. A data
    root of any other name is no place: whether its content can be this data set alone is for each reader to say.
    """
    known = {key(part) for name in entry.folders for part in name.split("/")}
    named = [folder for name in entry.folders for folder in _named(data_root, name.split("/"), known)]
    return list(dict.fromkeys(folder / sub for folder in named for sub in inside if (folder / sub).is_dir()))


def owned(entry: Entry, name: str) -> bool:
    """Whether a folder of that name directly below the data root is one that the data set is looked for in."""
    return key(name) in {key(folder.split("/")[0]) for folder in entry.folders}


def _named(data_root: Path, parts: Sequence[str], known: Collection[str]) -> Iterator[Path]:
    """Folders at that path below the data root, or below a root whose own name is the path's beginning."""
    if not data_root.is_dir():
        return
    for name in _alike(data_root, parts[0]):
        yield from _below(data_root / name, parts[1:], known, nested=True)
    keys, above = [key(part) for part in parts], [key(part) for part in data_root.absolute().parts]
    for taken in range(1, len(parts) + 1):
        if above[-taken:] == keys[:taken]:
            yield from _below(data_root, parts[taken:], known, nested=True)


def _below(folder: Path, parts: Sequence[str], known: Collection[str], *, nested: bool) -> Iterator[Path]:
    if not parts:
        yield folder
    for name in _alike(folder, parts[0]) if parts else ():
        yield from _below(folder / name, parts[1:], known, nested=nested)
    if nested:
        subs = folders_in(folder)
        for name in subs if len(subs) == 1 else [sub for sub in subs if key(sub) in known]:
            yield from _below(folder / name, parts, known, nested=False)


def _alike(folder: Path, name: str) -> list[str]:
    """The folders in one folder that have this name in any spelling, the exact one first."""
    alike = [sub for sub in folders_in(folder) if key(sub) == key(name)]
    return sorted(alike, key=lambda sub: sub != name)


class MissingError(UserError):
    """A data set that is not there; ``what`` was looked for."""

    def __init__(self, said: str, what: str) -> None:
        super().__init__(said)
        self.what = what


def missing(entry: Entry, data_root: Path, what: str) -> MissingError:
    """The paragraph for a data set that is not there: what was looked for, where, and how to get it."""
    first, *others = _spelled_once(entry.folders)
    beside = f" (nor in {', '.join(others)} there, in any spelling)" if others else ""
    return MissingError(
        f"the data set {entry.name} is missing: no {what} in {data_root / first}{beside}. "
        f"{_likely(entry, data_root)}{entry.how} Home page: {entry.home}. "
        f"Then name the folder above it with --data DIR or CLIPBENCH_DATA. "
        f"To see the command work on tiny generated images instead, add --smoke.",
        what.rstrip(","),
    )


def _spelled_once(names: Sequence[str]) -> list[str]:
    """The names without those that differ from an earlier one in spelling only."""
    return [name for i, name in enumerate(names) if key(name) not in map(key, names[:i])]


def _likely(entry: Entry, data_root: Path) -> str:
    """A sentence on a folder that may be meant: one of the right name without the content, or one of a similar name."""
    if own := locations(entry, data_root):
        return f"{own[0]} has the right name, but does not hold that, nor does a folder just inside it. "
    names = {key(name.split("/")[0]) for name in entry.folders} | {key(entry.id)}
    similar = [sub for sub in folders_in(data_root) if _close(key(sub), names)] if data_root.is_dir() else []
    for sub in similar:
        if not any(owned(catalogue.entry(other), sub) for other in catalogue.known()):
            own_name = entry.folders[0].split("/")[0]
            return f"{data_root / sub} has a similar name; if it is this data set, rename it to {own_name}. "
    return ""


def _close(one: str, names: Collection[str]) -> bool:
    ratios = (SequenceMatcher(None, one, name).ratio() for name in names)
    return one.startswith(tuple(names)) or any(ratio >= _SIMILAR for ratio in ratios)
