"""A folder of synthetic images beside a data set: what its manifest must say, and what a run sees of it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from clipbench.data.content import content_of
from clipbench.data.images import ImageSet
from clipbench.data.load import Datasets
from clipbench.data.splits import split
from clipbench.data.synthetic import MANIFEST, folder_of, with_synthetic
from clipbench.data.synthetic.manifest import Manifest, Picture, read_manifest
from clipbench.errors import UserError
from clipbench.registry import Overrides
from tests.factory import protocol_of

DOMAINS = ("art_painting", "cartoon", "photo", "sketch")


def made(folder: Path, count: int = 2, **changes: object) -> Path:
    """A folder as a user would make it by other means: images of each domain, and the manifest."""
    pictures = []
    for domain in DOMAINS:
        (folder / domain).mkdir(parents=True)
        for number in range(count):
            content = f"{domain} {number}".encode()
            (folder / domain / f"{number}.png").write_bytes(content)
            sha256 = hashlib.sha256(content).hexdigest()
            pictures.append(Picture(f"{domain}/{number}.png", domain, f"{domain} of an object", sha256))
    Manifest("pacs", {"name": "a camera"}, None, pictures).write(folder)
    if changes:
        values = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        (folder / MANIFEST).write_text(json.dumps(values | changes), encoding="utf-8")
    return folder


def real(root: Path) -> ImageSet:
    found = ImageSet("pacs", root, classes=["cat", "dog"], prompt_names=["cat", "dog"])
    for domain in DOMAINS:
        for label in (0, 1):
            path = root / domain / f"{label}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(f"real {domain} {label}".encode())
            found.add(f"{domain}/{label}.png", label, domain=domain)
    return found


def test_a_run_sees_those_of_the_source_domains(tmp_path: Path) -> None:
    protocol = protocol_of("clip-dora/table3", "maple-sd", "pacs")
    plain = real(tmp_path / "pacs")
    images = with_synthetic(plain, made(tmp_path / "synthetic" / "pacs"))
    assert images.synthetic == "8 images by a camera"
    target = replace(protocol, test_domain="sketch")
    cut, without = split(images, target, 1), split(plain, target, 1)
    assert [images.labels[i] for i in cut.synthetic] == [2] * 6
    assert {images.domains[i] for i in cut.synthetic} == set(DOMAINS[:3])
    assert (cut.train, cut.test, cut.digest) == (without.train, without.test, without.digest)
    # A record belongs to the bytes of the synthetic images too.
    assert content_of(images, cut).sha256 != content_of(plain, without).sha256
    few = split(images, replace(target, limit=1), 1)
    assert len(few.synthetic) == 3


def test_the_smoke_profile_paints_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPBENCH_CACHE", str(tmp_path))
    protocol = protocol_of("clip-dora/table3", "maple-sd", "pacs", Overrides("smoke"))
    images = Datasets(tmp_path).images_of_run(protocol)
    assert images.synthetic.endswith("images by clipbench's smoke profile")
    row = protocol_of("clip-dora/table3", "maple", "pacs", Overrides("smoke"))
    assert Datasets(tmp_path).images_of_run(row).synthetic == ""


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"dataset": "officehome"}, "says that its images are for officehome, not pacs"),
        ({"generator": "a camera"}, "is no manifest of synthetic images"),
        ({"images": [{"file": "../x.png", "domain": "photo", "prompt": "", "sha256": ""}]}, "does not lie in this"),
        ({"images": [{"file": "photo/0.png", "domain": "oil", "prompt": "", "sha256": ""}]}, "is of the domain oil"),
        ({"images": [{"file": "photo/0.png", "domain": "photo", "prompt": "", "sha256": ""}]}, "SHA-256 differ"),
        ({"images": [{"file": "photo/9.png", "domain": "photo", "prompt": "", "sha256": ""}]}, "photo/9.png"),
    ],
)
def test_a_folder_that_is_not_as_its_manifest_says_is_refused(
    changes: dict[str, object], says: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=says):
        with_synthetic(real(tmp_path / "pacs"), made(tmp_path / "synthetic" / "pacs", **changes))


def test_a_folder_that_is_not_there_says_how_to_make_it(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "pacs", "odg")
    assert folder == tmp_path / "synthetic" / "pacs-odg"
    with pytest.raises(UserError, match=r"clipbench data synthesise pacs --label-space odg --data"):
        with_synthetic(real(tmp_path / "pacs"), folder)
    folder.mkdir(parents=True)
    (folder / MANIFEST).write_text("[", encoding="utf-8")
    with pytest.raises(UserError, match="is no JSON"):
        read_manifest(folder)
