"""Whether what came is the data set, before it is put in its place; else one paragraph that says what came instead."""

from __future__ import annotations

from pathlib import Path

from clipbench.data.catalogue import Entry
from clipbench.data.catalogue.acquisition import Acquisition, Source
from clipbench.data.download.move import under_one_folder
from clipbench.data.download.stage import put
from clipbench.data.images import first_few
from clipbench.data.layouts import reader
from clipbench.data.layouts.locations import MissingError
from clipbench.errors import UserError


def check(entry: Entry, plan: Acquisition, unpacked: Path, data_root: Path, brought: list[tuple[Source, Path]]) -> None:
    """Bring unpacked archives under the data set's own folder, where its reader must find it.

    Lists that are in the data root already help to tell. Raises ``UserError`` where the reader finds nothing: archives
    that do not hold the data set are not put in its place.
    """
    if all(source.archive == "none" for source, _ in brought):
        return
    top = sorted(path.name for path in unpacked.iterdir())
    under_one_folder(entry, unpacked, plan.folder)
    for file in plan.files:
        path = Path(file.into, file.name)
        if file.archive == "none" and (data_root / path).is_file() and not (unpacked / path).exists():
            put(data_root / path, unpacked / path)
    try:
        reader(entry.layout)(entry, unpacked)
    except UserError as why:
        lacks = f"no {why.what} in it" if isinstance(why, MissingError) else str(why)
        files = ", ".join(str(path) for source, path in brought if source.archive != "none")
        raise UserError(
            f"what came is not {entry.name}: {files} unpacks to {first_few(top)}; {lacks}. Nothing of it is placed. "
            f"{_kept(brought, unpacked.parent / 'downloads')} {plan.by_hand}"
        ) from why


def _kept(brought: list[tuple[Source, Path]], downloads: Path) -> str:
    """Where the files are now: what a person has passed never moves."""
    if any(path.parent == downloads for _, path in brought):
        return f"The downloads are kept in {downloads}."
    return "What you passed with --from is left as it is."
