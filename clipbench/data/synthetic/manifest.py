"""The manifest of a folder of synthetic images: what made them, from which words and seed, and their digests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clipbench.errors import UserError
from clipbench.files import write_json

MANIFEST = "manifest.json"
FORM = "clipbench synthetic images 1"


@dataclass(frozen=True)
class Picture:
    """One synthetic image.

    Attributes:
        file: path below the folder, ``<domain>/<name>``.
        domain: the source domain whose style it has, as the data set calls it.
        prompt: the words that it was made from.
        sha256: of the file's bytes.
        negative_prompt: the words that it was to keep away from; empty where there were none.
        seed: of this image; None where it is not known.
    """

    file: str
    domain: str
    prompt: str
    sha256: str
    negative_prompt: str = ""
    seed: int | None = None


@dataclass(frozen=True)
class Manifest:
    """A folder's images, and by which ``generator`` (a name, and any settings) and seed they were made."""

    dataset: str
    generator: Mapping[str, Any]
    seed: int | None
    images: Sequence[Picture]

    def write(self, folder: Path) -> Path:
        """Write it into its folder, whole or not at all."""
        return write_json(folder / MANIFEST, {"form": FORM, **asdict(self)})

    @property
    def source(self) -> str:
        """What made the images, in a few words."""
        settings = ", ".join(f"{key} {value}" for key, value in self.generator.items() if key != "name")
        return f"{self.generator['name']}{f' ({settings})' if settings else ''}"


def read_manifest(folder: Path) -> Manifest:
    """The manifest in a folder. Raises ``UserError`` where there is none, or one that says too little."""
    path = folder / MANIFEST
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise UserError(f"{path} is no JSON: {error}.") from None
    try:
        found = Manifest(
            str(values["dataset"]),
            {"name": str(values["generator"]["name"]), **values["generator"]},
            values.get("seed"),
            [Picture(**image) for image in values["images"]],
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is no manifest of synthetic images ({type(error).__name__}: {error}). It holds dataset, seed, "
            f'generator {{"name": ...}} and images, each {{"file", "domain", "prompt", "sha256"}} and, where known, '
            f'"negative_prompt" and "seed".'
        ) from None
    _check_files(path, found)
    return found


def _check_files(path: Path, manifest: Manifest) -> None:
    """Files lie below the folder, and none is named twice."""
    seen = set()
    for image in manifest.images:
        if Path(image.file).is_absolute() or ".." in Path(image.file).parts:
            raise UserError(f"{path}: {image.file} does not lie in this folder.")
        if image.file in seen:
            raise UserError(f"{path} names {image.file} twice.")
        seen.add(image.file)
