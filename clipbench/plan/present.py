"""Which runs are there: a record counts while the data have the content that it was measured on."""

from __future__ import annotations

from pathlib import Path

from clipbench.data.content import Content, content_of, differences
from clipbench.data.load import Datasets
from clipbench.data.splits import split
from clipbench.errors import UserError
from clipbench.registry import Run
from clipbench.results.store import Store


class Present:
    """Looks runs up in a results folder, and compares their records with the data on disk; each run's once."""

    def __init__(self, store: Store, datasets: Datasets) -> None:
        self._store, self._datasets = store, datasets
        self._contents: dict[str, Content | None] = {}
        self._digests: dict[Path, dict[str, str]] = {}
        self.outdated: dict[str, str] = {}
        """Of runs with a record that belongs to other data, how those differ."""

    def has(self, run: Run) -> bool:
        """Whether there is a record of the run on today's data; that of a data set that is no longer there counts."""
        record = self._store.get(run.id)
        if record is None:
            return False
        if run.id not in self._contents:
            self._contents[run.id] = self._content(run)
        now = self._contents[run.id]
        if now is None or record.data.content_sha256 == now.sha256:
            self.outdated.pop(run.id, None)
            return True
        recorded = {
            "list_sha256": record.data.split_sha256,
            "images_sha256": record.data.images_sha256,
            "class_names_sha256": record.data.class_names_sha256,
            "split_file_sha256": record.data.split_file_sha256,
        }
        known = differences(recorded, now) if record.data.content_sha256 else ""
        self.outdated[run.id] = known or "it does not say which"
        return False

    def _content(self, run: Run) -> Content | None:
        try:
            images = self._datasets.images_of_run(run.protocol)
            digests = self._digests.setdefault(images.root, {})
            return content_of(images, split(images, run.protocol, run.seed), digests)
        except UserError:
            return None
