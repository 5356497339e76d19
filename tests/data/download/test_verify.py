"""Verification on folders as they come: right ones pass, and every planted fault is named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipbench.data.catalogue import Entry, entry
from clipbench.data.published import content_digest
from clipbench.data.verify import Verified, verify
from tests.data.download.made import images, jpeg, made

PARTS = {"train": 4, "val": 2, "test": 3}


def lay_out(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def verified(one: Entry, root: Path, *, quick: bool = False) -> Verified:
    return verify(one, root, lambda _: lambda _: None, quick=quick)


def wrongs(found: Verified) -> list[str]:
    return [finding.text for finding in found.findings if finding.wrong]


def test_a_whole_data_set_is_right(tmp_path: Path) -> None:
    found = verified(made(), lay_out(tmp_path, images()))
    assert (found.right, wrongs(found), found.presence.state) == (True, [], "complete")
    assert [(c.axis, c.name, c.found, c.official) for c in found.counts] == [
        ("class", "DenseWood", 3, 3),
        ("class", "Lake", 2, 2),
    ]


def test_progress_counts_every_image_twice(tmp_path: Path) -> None:
    totals, steps = [], []

    def begin(total: int) -> object:
        totals.append(total)
        return steps.append

    verify(made(), lay_out(tmp_path, images()), begin)  # type: ignore[arg-type]
    assert (totals, sum(steps)) == ([10], 10)


def test_a_missing_data_set_is_missing_and_no_more(tmp_path: Path) -> None:
    found = verified(made(), tmp_path)
    assert (found.presence.state, found.right, found.findings) == ("missing", False, ())


def test_a_cut_data_set_says_by_how_much(tmp_path: Path) -> None:
    kept = dict(list(images().items())[1:])
    found = verified(made(), lay_out(tmp_path, kept))
    assert not found.right
    assert "It has 4 of 5 images; 1 of 2 classes differ: DenseWood 2 of 3." in wrongs(found)
    assert [c.differs for c in found.counts] == [True, False]


def test_a_class_without_images_is_incomplete_not_missing(tmp_path: Path) -> None:
    found = verified(made(), lay_out(tmp_path, {n: c for n, c in images().items() if "Lake" not in n}))
    assert found.presence.state == "incomplete"
    assert "no image at all of Lake" in wrongs(found)[0]


@pytest.mark.parametrize("content", [b"", b"not an image", "half"])
def test_one_corrupt_image_among_many_is_named(tmp_path: Path, content: bytes | str) -> None:
    files = images()
    bad = list(files)[3]
    lay_out(tmp_path, files)
    (tmp_path / bad).write_bytes(content if isinstance(content, bytes) else files[bad][: len(files[bad]) // 2])
    (told,) = wrongs(verified(made(), tmp_path))
    assert told.startswith(f"The image {tmp_path / bad} cannot be read")
    quick = wrongs(verified(made(), tmp_path, quick=True))
    assert quick == ([f"1 images have zero bytes: {bad.removeprefix('MADE/')}."] if content == b"" else [])


def test_a_file_that_the_system_does_not_give_is_named(tmp_path: Path) -> None:
    lay_out(tmp_path, images())
    bad = tmp_path / "MADE" / "Lake" / "lake_2.jpg"
    real = Path.open

    def denied(self: Path, *how: object, **more: object) -> object:
        if self == bad:
            raise PermissionError(13, "Permission denied")
        return real(self, *how, **more)  # type: ignore[call-overload]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", denied)
        patch.setattr("builtins.open", lambda name, *how, **more: denied(Path(name), *how, **more))
        (told,) = wrongs(verified(made(), tmp_path))
    assert told.startswith(f"The image {bad} cannot be read")


def test_folders_as_people_have_them_are_right(tmp_path: Path) -> None:
    """Spaces, case, hidden files, desktop debris, every kind of pixels."""
    root = tmp_path / "MADE"
    wood, lake = root / "dense wood", root / "LAKE"
    for folder in (wood, lake):
        folder.mkdir(parents=True)
    noise = np.random.default_rng().integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(noise).convert("CMYK").save(wood / "an image (1).JPG")
    Image.fromarray(noise).convert("P").save(wood / "2.PNG")
    Image.fromarray(noise[..., 0].astype(np.uint16) * 257).save(wood / "3.tif")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise).save(lake / "1.Jpeg", exif=exif)
    Image.fromarray(noise).convert("RGBA").save(lake / "2.png")
    strangers = ["Thumbs.db", "._1.Jpeg", ".hidden.png", "desktop.ini", ".DS_Store"]
    lay_out(lake, dict.fromkeys(strangers, b"junk"))
    lay_out(root, {"__MACOSX/LAKE/._1.Jpeg": b"junk"})
    found = verified(made(), tmp_path)
    assert (found.right, found.findings) == (True, ())


def test_images_of_another_class_beside_it_are_remarked_on(tmp_path: Path) -> None:
    found = verified(made(), lay_out(tmp_path, images() | {"MADE/Sea/a.jpg": jpeg(99)}))
    assert found.right
    assert [f.text for f in found.findings] == ["Folders of images that are no class of it, passed over: Sea."]


def test_images_of_another_size_were_scaled(tmp_path: Path) -> None:
    lay_out(tmp_path, images())
    assert verified(replace(made(), image_size="24 x 24"), tmp_path).right
    (told,) = wrongs(verified(replace(made(), image_size="600 x 600"), tmp_path))
    assert told.startswith("5 of 5 images are not 600 x 600 but mostly 24 x 24: scaled.")


def test_a_repeated_image_is_remarked_on(tmp_path: Path) -> None:
    files = images()
    first, second = list(files)[:2]
    found = verified(made(), lay_out(tmp_path, files | {second: files[first]}))
    assert found.right
    assert (
        "1 images are there more than once: DenseWood/densewood_1.jpg = DenseWood/densewood_2" in found.findings[0].text
    )


# Official parts


def with_split(root: Path, known_duplicates: int = 0) -> Entry:
    """Three classes of CoOp's form, its split file, and the catalogue's digest of it."""
    names, lists, seed = ["oak", "sea", "fog"], {part: [] for part in PARTS}, 100
    for label, name in enumerate(names):
        for part, count in PARTS.items():
            for i in range(count):
                file = f"{name}/{part}{i}.jpg"
                lay_out(root / "SPLIT" / "images", {file: jpeg(seed)})
                lists[part].append([file, label, name])
                seed += 1
    path = root / "SPLIT" / "split.json"
    path.write_text(json.dumps(lists, indent=2))
    plan = made(split_files=["split.json"], split_content=content_digest([path]), known_duplicates=known_duplicates)
    return replace(
        plan,
        layout="coop-split",
        folders=["SPLIT"],
        parts={part: 3 * count for part, count in PARTS.items()},
        class_count=3,
        classes=dict.fromkeys(names, 9),
        layout_options={"split_file": "split.json", "images": ["images"]},
    )


def copy(root: Path, source: str, target: str) -> None:
    images = root / "SPLIT" / "images"
    (images / target).write_bytes((images / source).read_bytes())


def test_a_split_with_its_published_file_is_right(tmp_path: Path) -> None:
    found = verified(with_split(tmp_path), tmp_path)
    assert (found.right, wrongs(found)) == (True, [])
    assert "The split is the published one (split.json)." in [f.text for f in found.findings]
    assert [(c.name, c.found) for c in found.counts if c.axis == "part"] == [("train", 12), ("val", 6), ("test", 9)]


def test_an_image_in_train_and_test_is_found_whatever_its_name(tmp_path: Path) -> None:
    one = with_split(tmp_path)
    copy(tmp_path, "oak/train0.jpg", "sea/test1.jpg")
    (told,) = wrongs(verified(one, tmp_path))
    assert told.startswith("1 images are in both train and test, byte by byte: oak/train0.jpg (train) = sea/test1.jpg")


def test_copies_within_the_training_part_are_no_leak(tmp_path: Path) -> None:
    one = with_split(tmp_path)
    copy(tmp_path, "oak/train0.jpg", "oak/val0.jpg")
    assert verified(one, tmp_path).right


def test_copies_that_the_official_set_is_known_to_have_are_a_remark(tmp_path: Path) -> None:
    one = with_split(tmp_path, known_duplicates=1)
    copy(tmp_path, "oak/train0.jpg", "sea/test1.jpg")
    found = verified(one, tmp_path)
    assert found.right
    assert any("known to have 1" in f.text for f in found.findings)


def test_another_split_file_is_told(tmp_path: Path) -> None:
    one = with_split(tmp_path)
    path = tmp_path / "SPLIT" / "split.json"
    lists = json.loads(path.read_text())
    path.write_text(json.dumps(lists))  # other spaces, same content
    assert verified(one, tmp_path).right
    lists["train"].reverse()
    path.write_text(json.dumps(lists))
    assert (
        f"Split files in {path.parent}: other content than the published (SHA-256 b91a107fb715, not 21371e1cf1ea)."
        in wrongs(verified(one, tmp_path))
    )


def test_class_names_that_are_not_the_catalogues_are_told(tmp_path: Path) -> None:
    one = with_split(tmp_path)
    other = replace(one, classes={"oak": 9, "sea": 9, "mist": 9})
    told = wrongs(verified(other, tmp_path))
    assert "Class names that the catalogue does not have: fog." in told
    assert "Classes of the catalogue that are not there: mist." in told


def test_an_image_in_two_domains_is_a_leak(tmp_path: Path) -> None:
    files = {f"{domain}/{n.removeprefix('MADE/')}": c for domain in ("ink", "oil") for n, c in images().items()}
    changed = {
        name: jpeg(500 + i) if name.startswith("oil") else content for i, (name, content) in enumerate(files.items())
    }
    plain = next(iter(changed))
    one = replace(
        made(),
        layout="domain-folders",
        folders=["DG"],
        domains={"ink": 5, "oil": 5},
        classes={"DenseWood": 6, "Lake": 4},
    )
    root = lay_out(tmp_path / "DG", changed)
    assert wrongs(verified(one, tmp_path)) == []
    (root / plain.replace("ink", "oil")).write_bytes(changed[plain])
    (told,) = wrongs(verified(one, tmp_path))
    assert told.startswith("1 images are in two domains, or in train and test")


@pytest.mark.parametrize(
    ("dataset", "count"), [("aid", 1200), ("caltech101", 2800), ("pacs", 560), ("kvasir", 120), ("busi", 48)]
)
def test_the_cut_real_sets_are_incomplete_and_nothing_worse(shared: Path, dataset: str, count: int) -> None:
    found = verified(entry(dataset), shared / "data")
    if found.presence.state == "missing":
        pytest.skip(f"no cut {dataset} in {shared / 'data'}")
    assert (found.presence.state, found.presence.images) == ("incomplete", count)
    assert not any("cannot be read" in text or "in both train and test" in text for text in wrongs(found))
    assert ("scaled" in " ".join(wrongs(found))) == (dataset == "aid")
