"""Images, archives and a made data set that the tests of this folder share."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from clipbench.data.catalogue import Entry, entry
from clipbench.data.catalogue.acquisition import Acquisition, Source

CLASSES = {"DenseWood": 3, "Lake": 2}


def jpeg(seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "jpeg")
    return out.getvalue()


def images(folder: str = "MADE") -> dict[str, bytes]:
    """The made data set's files, by path in its archive."""
    names = [f"{folder}/{name}/{name.lower()}_{i + 1}.jpg" for name, count in CLASSES.items() for i in range(count)]
    return {name: jpeg(seed) for seed, name in enumerate(names)}


def zipped(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def tarred(files: Mapping[str, bytes], mode: str = "w:gz", extra: tuple[tarfile.TarInfo, ...] = ()) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in extra:
            archive.addfile(info)
    return out.getvalue()


def source(*urls: str, **how: Any) -> Source:
    """A file ``made.zip`` of the catalogue."""
    values: dict[str, Any] = {"name": "made.zip", "into": ".", "archive": "zip", "bytes": None, "checksum": "unknown"}
    return Source(**values | {"stated_by": "the test", "urls": urls} | how)


def made(*files: Source, **how: Any) -> Entry:
    """A data set of two classes that these files make."""
    values: dict[str, Any] = {"folder": "MADE", "standing": "available", "standing_date": date(2026, 1, 2)}
    values |= {"rechecked": True}
    plan = Acquisition(
        **values | {"standing_source": "the test", "by_hand": "Write to its authors."} | how, files=files
    )
    known = {"id": "made", "name": "Made Set", "folders": ["MADE"], "classes": CLASSES, "acquisition": plan}
    known |= {"class_count": len(CLASSES), "image_size": "varying"}
    return replace(entry("aid"), **known)  # type: ignore[arg-type]


def tree(root: Path) -> dict[str, bytes]:
    """Every file below a folder but those under way."""
    found = (p for p in sorted(root.rglob("*")) if p.is_file() and ".clipbench-get" not in p.parts)
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in found}
