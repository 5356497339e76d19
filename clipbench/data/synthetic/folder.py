"""A folder of synthetic images beside the data sets, and its images as members of the data set that they stand beside.

``<data>/synthetic/<dataset>/<domain>/<image>`` with ``manifest.json``; whoever made it, a folder of that form counts.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from clipbench.data.digests import file_digests
from clipbench.data.images import ImageSet
from clipbench.data.synthetic.manifest import MANIFEST, Manifest, read_manifest
from clipbench.errors import UserError

PART = "synthetic"
"""The part of a data set that synthetic images are of: no split rule trains or tests on it by itself."""
FOLDER = "synthetic"


def folder_of(data_root: Path, dataset: str, label_space: str) -> Path:
    """Where the synthetic images of a data set lie.

    ODG-CLIP's class splits know fewer classes, so that the images keep away from fewer: they have a folder of their
    own, ``<dataset>-odg``.
    """
    return data_root / FOLDER / (dataset if label_space == "closed-set" else f"{dataset}-odg")


def with_synthetic(images: ImageSet, folder: Path) -> ImageSet:
    """The data set and, behind its own images, those of the folder, with the label after the last class.

    Raises ``UserError`` where the folder is not there, is another data set's, or differs from its manifest.
    """
    if not (folder / MANIFEST).is_file():
        option = " --label-space odg" if folder.name.endswith("-odg") else ""
        raise UserError(
            f"there are no synthetic images of {images.dataset} in {folder}: `clipbench data synthesise "
            f"{images.dataset}{option} --data {folder.parent.parent}` makes them with Stable Diffusion. A folder of "
            f"your own counts too: one folder of images per domain, and {MANIFEST} beside them."
        )
    manifest = read_manifest(folder)
    _check(manifest, images, folder)
    unknown, count = len(images.classes), len(manifest.images)
    synthetic = sorted(manifest.images, key=lambda image: image.file)
    return replace(
        images,
        files=[*images.files, *(str(folder.resolve() / image.file) for image in synthetic)],
        labels=[*images.labels, *[unknown] * count],
        domains=[*images.domains, *(image.domain for image in synthetic)],
        parts=[*images.parts, *[PART] * count] if images.parts else [],
        synthetic=f"{count:,} images by {manifest.source}",
    )


def _check(manifest: Manifest, images: ImageSet, folder: Path) -> None:
    if manifest.dataset != images.dataset:
        raise UserError(f"{folder / MANIFEST} says that its images are for {manifest.dataset}, not {images.dataset}.")
    domains = dict.fromkeys(images.domains)
    strange = next((image for image in manifest.images if image.domain not in domains), None)
    if strange is not None:
        raise UserError(
            f"{folder / MANIFEST}: {strange.file} is of the domain {strange.domain}; {images.dataset} has "
            f"{', '.join(domains)}."
        )
    found = file_digests(folder, [image.file for image in manifest.images])
    other = next((i.file for i, sha256 in zip(manifest.images, found, strict=True) if i.sha256 != sha256), None)
    if other is not None:
        raise UserError(
            f"{folder / other} is not the image that {MANIFEST} describes: their SHA-256 differ. Make the folder "
            f"again, or write the digest of the image that you mean."
        )
