"""What a reader hands back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Found:
    """The images that a reader found, column by column; the columns that do not apply stay empty.

    ``absent`` are images that a list of the data set names and that are not on disk, ``absent_parts`` the part of each,
    ``lists`` what names them.
    """

    root: Path
    classes: Sequence[str]
    files: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    domains: list[str] = field(default_factory=list)
    masks: list[Sequence[str]] = field(default_factory=list)
    prompts: list[Mapping[str, Sequence[str]]] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    absent_parts: list[str] = field(default_factory=list)
    lists: str = ""
    rebuilt: str = ""

    def add(self, file: str, label: int, *, part: str = "", domain: str = "") -> None:
        """One more image; ``part`` and ``domain`` where the data set has them."""
        self.files.append(file)
        self.labels.append(label)
        if part:
            self.parts.append(part)
        if domain:
            self.domains.append(domain)

    def lacks(self, file: str, part: str) -> None:
        """One image that should be there and is not."""
        self.absent.append(file)
        self.absent_parts.append(part)


def first_file(folders: Iterable[Path], names: Sequence[str]) -> Path | None:
    """The first of those files that is in one of those folders, folder by folder."""
    return next((folder / name for folder in folders for name in names if (folder / name).is_file()), None)


def listed(names: Sequence[str], most: int = 4) -> str:
    """The first few of the names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")
