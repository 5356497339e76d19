"""The catalogue of checkpoints: where each comes from, what is known of its file, and whether it is on this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from clipbench.errors import UserError
from clipbench.registry.toml_files import read_toml, strict

_FILE = Path(__file__).parent / "checkpoints.toml"
_WORDS = (
    "backbone",
    "weights",
    "name",
    "hub",
    "sha256",
    "licence",
    "standing",
    "standing_date",
    "stated_by",
    "citation",
)
_KEYS: Mapping[str, type] = dict.fromkeys(_WORDS, str) | {"files": list}
_OPTIONAL: Mapping[str, type | tuple[type, ...]] = {
    "bytes": (int, str),
    "original": str,
    "original_sha256": str,
}

WITHOUT_FILE = ("embedded", "random")
"""Weights that need no file."""


@dataclass(frozen=True)
class Checkpoint:
    """Weights by the names that protocols use.

    ``files`` are those of the ``hub`` repository that serve, the preferred one first; ``bytes`` and ``sha256`` are of
    the first, None and ``unknown`` where nobody states them. ``original`` is the authors' own file with the sha256 that
    they state. ``citation`` is BibTeX.
    """

    backbone: str
    weights: str
    name: str
    hub: str
    files: Sequence[str]
    sha256: str
    licence: str
    standing: str
    standing_date: date
    stated_by: str
    citation: str
    bytes: int | None = None
    original: str = ""
    original_sha256: str = ""

    def on_disk(self) -> Path | None:
        """Its file in the caches of the Hugging Face client or of open_clip, or None."""
        repository = hub_cache() / f"models--{self.hub.replace('/', '--')}"
        for name in self.files:
            if found := sorted(repository.glob(f"snapshots/*/{name}")):
                return found[-1]
        kept = Path.home() / ".cache" / "clip" / self.original.rpartition("/")[2]
        return kept if self.original and kept.is_file() else None


def hub_cache() -> Path:
    """Where the Hugging Face client keeps its files."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or home / "hub")


@cache
def checkpoints() -> tuple[Checkpoint, ...]:
    """Every entry. Raises ``UserError`` with the entry and key of the first fault."""
    table = strict(read_toml(_FILE), str(_FILE), {"checkpoint": list, "citations": dict}, {})
    return tuple(_entry(c, table["citations"], f"{_FILE}, checkpoint[{i}]") for i, c in enumerate(table["checkpoint"]))


def checkpoint(backbone: str, weights: str) -> Checkpoint | None:
    """The entry of those names, or None where the catalogue has none."""
    return next((c for c in checkpoints() if (c.backbone, c.weights) == (backbone, weights)), None)


def openai_digests() -> Mapping[str, Checkpoint]:
    """OpenAI's own files by their sha256."""
    return {c.original_sha256: c for c in checkpoints() if c.original_sha256}


def _entry(entry: Any, citations: Mapping[str, str], where: str) -> Checkpoint:
    values = dict(strict(entry, where, _KEYS, _OPTIONAL))
    if values["citation"] not in citations:
        raise UserError(f"{where}: citation = {values['citation']!r} is not among {', '.join(citations)}")
    values["citation"] = citations[values["citation"]]
    values["standing_date"] = date.fromisoformat(values["standing_date"])
    values["bytes"] = values["bytes"] if isinstance(values.get("bytes"), int) else None
    return Checkpoint(**values)
