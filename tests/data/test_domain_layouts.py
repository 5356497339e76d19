"""Reading the domain-generalisation benchmarks in the layouts of Dassl, ODG-CLIP and the archives themselves."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from clipbench.data.catalogue import Entry, entry
from clipbench.data.official import find_images
from clipbench.errors import UserError
from tests.data.data_trees import small, touch, write

CLASSES = {"dog": 0, "guitar": 0}
DOMAINS = ("art_painting", "cartoon", "photo", "sketch")
PACS = small("pacs", classes=CLASSES, class_count=2, domains=dict.fromkeys(DOMAINS, 6))


def pacs_files(domain: str, part: str) -> list[tuple[str, int]]:
    numbers = {"train": (3, 1), "crossval": (2,)}[part]
    suffix = "png" if domain == "sketch" else "jpg"
    return [(f"{domain}/{name}/pic_{i:03d}.{suffix}", k) for k, name in enumerate(CLASSES, start=1) for i in numbers]


def pacs(root: Path, images: str = "images", lists: str | None = "splits") -> list[str]:
    files = []
    for domain in DOMAINS:
        for part in ("train", "crossval"):
            rows = pacs_files(domain, part)
            files += [file for file, _ in rows]
            if lists is not None:
                text = "\n".join(f"{file} {label}" for file, label in rows)
                write(root / lists / f"{domain}_{part}_kfold.txt", text + "\n")
    touch(root / images, files)
    return files


@pytest.mark.parametrize(
    ("folder", "images", "lists"),
    [
        ("pacs", "images", "splits"),
        ("PACS", ".", "."),
        ("pacs_data", ".", "splits"),
        ("PACS", "Raw images/kfold", "Train val splits and h5py files pre-read"),
    ],
)
def test_pacs_comes_in_the_order_of_its_lists(tmp_path: Path, folder: str, images: str, lists: str) -> None:
    files = pacs(tmp_path / folder, images, lists)
    found = find_images(PACS, tmp_path)
    assert list(found.files) == files
    assert list(found.labels) == [int("guitar" in file) for file in files]
    assert list(found.domains) == [file.split("/")[0] for file in files]
    assert Counter(found.parts) == {"train": 16, "val": 8}
    assert (found.classes, found.complete) == (("dog", "guitar"), True)


def test_pacs_without_lists_has_no_parts(tmp_path: Path) -> None:
    """ODG-CLIP's folders: data/pacs/<domain>/<class>."""
    files = pacs(tmp_path / "pacs", ".", None)
    found = find_images(PACS, tmp_path)
    assert sorted(found.files) == sorted(files)
    assert found.parts == []
    assert found.files[:3] == [f"art_painting/dog/pic_00{i}.jpg" for i in (1, 2, 3)]


def test_the_broken_sketch_is_passed_over_with_and_without_lists(tmp_path: Path) -> None:
    broken = entry("pacs").layout_options["skip"][0]
    for base, lists in (("one", "splits"), ("two", None)):
        pacs(tmp_path / base / "pacs", "images", lists)
        touch(tmp_path / base / "pacs/images", [broken])
        with (tmp_path / base / "line").open("w"):
            path = tmp_path / base / "pacs/splits/sketch_train_kfold.txt"
            if lists:
                path.write_text(path.read_text() + f"{broken} 1\n")
        found = find_images(PACS, tmp_path / base)
        assert found.complete
        assert broken not in found.files


def test_pacs_images_that_lack_are_named(tmp_path: Path) -> None:
    pacs(tmp_path / "pacs")
    (tmp_path / "pacs/images/photo/dog/pic_002.jpg").unlink()
    with pytest.raises(UserError, match=r"photo 5 of 6.*not there: 1 images \(photo/dog/pic_002\.jpg\)"):
        find_images(PACS, tmp_path)
    assert len(find_images(PACS, tmp_path, partial=True)) == 23


@pytest.mark.parametrize("line", ["photo/dog/pic_001.jpg 2", "photo/dog/pic_001.jpg", "photo/dog/pic_001.jpg 0", "x"])
def test_a_list_with_another_numbering_is_refused(tmp_path: Path, line: str) -> None:
    pacs(tmp_path / "pacs")
    write(tmp_path / "pacs/splits/photo_train_kfold.txt", line + "\n")
    with pytest.raises(UserError, match=r"photo_train_kfold\.txt, line 1"):
        find_images(PACS, tmp_path, partial=True)


def test_a_domain_that_lacks_is_named_even_for_a_part(tmp_path: Path) -> None:
    pacs(tmp_path / "pacs", ".", None)
    for path in (tmp_path / "pacs/photo").rglob("*.jpg"):
        path.unlink()
    with pytest.raises(UserError, match="no image at all of the domain photo"):
        find_images(PACS, tmp_path, partial=True)


# Domain folders

HOME = small(
    "officehome",
    classes={"Alarm_Clock": 0, "Bike": 0},
    class_count=2,
    domains={"art": 6, "clipart": 6, "product": 6, "real_world": 6},
)


@pytest.mark.parametrize(
    ("folder", "names", "parts"),
    [
        ("office_home_dg", ["art", "clipart", "product", "real_world"], True),
        ("officehome", ["art", "clipart", "product", "realworld"], True),
        ("OfficeHomeDataset_10072016", ["Art", "Clipart", "Product", "Real World"], False),
    ],
)
def test_office_home_is_found_in_every_layout(tmp_path: Path, folder: str, names: list[str], parts: bool) -> None:
    for name in names:
        for part, numbers in (("train", (1, 2)), ("val", (10,))) if parts else (("", (1, 2, 10)),):
            touch(tmp_path / folder / name / part, [f"{c}/{i:05d}.jpg" for c in HOME.classes for i in numbers])
    found = find_images(HOME, tmp_path)
    assert (len(found), found.complete) == (24, True)
    assert list(dict.fromkeys(found.domains)) == list(HOME.domains)
    assert Counter(found.parts) == ({"train": 16, "val": 8} if parts else {})
    assert found.prompt_names == ("Alarm Clock", "Bike")
    assert all((found.root / file).is_file() for file in found.files)
    assert found.tested_parts == ("val",)


def test_digits_are_classes_by_name(tmp_path: Path) -> None:
    for domain in entry("digits_dg").domains:
        for part in ("train", "val"):
            touch(tmp_path / "digits_dg" / domain / part, [f"{d}/{d}_{i}.jpg" for d in range(10) for i in range(2)])
    found = find_images(entry("digits_dg"), tmp_path, partial=True)
    assert found.classes == tuple(str(d) for d in range(10))
    assert all(file.split("/")[2] == str(label) for file, label in zip(found.files, found.labels, strict=True))
    assert "160 of 24,000 images" in found.shortfall


def test_one_domain_alone_is_a_missing_benchmark(tmp_path: Path) -> None:
    touch(tmp_path / "digits_dg/mnist/train", ["0/a.jpg"])
    with pytest.raises(UserError, match="no folders of its domains"):
        find_images(entry("digits_dg"), tmp_path, partial=True)


# Mini-DomainNet


def domainnet(root: Path, folders: str = ".") -> Entry:
    names = ["aircraft_carrier", "umbrella"]
    domains = list(entry("mini_domainnet").domains)
    for domain in domains:
        for part, numbers in (("train", (2, 1)), ("test", (3,))):
            rows = [f"{domain}/{name}/{domain}_{i}.jpg {label}" for label, name in enumerate(names) for i in numbers]
            write(root / f"splits_mini/{domain}_{part}.txt", "\n".join(rows) + "\n")
            touch(root / folders, [row.split()[0] for row in rows])
    return small("mini_domainnet", class_count=2, domains=dict.fromkeys(domains, 6))


@pytest.mark.parametrize("folder", ["domainnet", "DomainNet", "."])
def test_mini_domainnet_comes_from_its_lists(tmp_path: Path, folder: str) -> None:
    found = find_images(domainnet(tmp_path / folder), tmp_path)
    assert (len(found), found.complete) == (24, True)
    assert found.files[:2] == ["clipart/aircraft_carrier/clipart_2.jpg", "clipart/aircraft_carrier/clipart_1.jpg"]
    assert found.classes == ("aircraft_carrier", "umbrella")
    assert found.prompt_names[0] == "aircraft carrier"
    assert Counter(found.parts) == {"train": 16, "test": 8}


@pytest.mark.parametrize("line", ["real/umbrella/real_1.jpg 0", "real/umbrella/real_1.jpg x", "nonsense"])
def test_a_list_that_contradicts_itself_is_refused(tmp_path: Path, line: str) -> None:
    official = domainnet(tmp_path / "domainnet")
    write(tmp_path / "domainnet/splits_mini/real_test.txt", line + "\n")
    with pytest.raises(UserError, match=r"real_test\.txt, line 1"):
        find_images(official, tmp_path, partial=True)


# Real input


def test_the_official_pacs_lists_give_the_official_counts(tmp_path: Path, shared: Path) -> None:
    lists = shared / "data/splits/pacs"
    if not lists.is_dir():
        pytest.skip(f"no PACS lists: {lists} does not exist")
    for path in lists.glob("*_kfold.txt"):
        write(tmp_path / "pacs/splits" / path.name, path.read_text())
        touch(tmp_path / "pacs/images", [line.split()[0] for line in path.read_text().splitlines()])
    found = find_images(entry("pacs"), tmp_path)
    assert found.complete
    assert Counter(zip(found.domains, found.parts, strict=True)) == {
        ("art_painting", "train"): 1840,
        ("art_painting", "val"): 208,
        ("cartoon", "train"): 2107,
        ("cartoon", "val"): 237,
        ("photo", "train"): 1499,
        ("photo", "val"): 171,
        ("sketch", "train"): 3530,
        ("sketch", "val"): 398,
    }
    without = find_images(replace(entry("pacs"), layout_options=entry("pacs").layout_options | {"lists": []}), tmp_path)
    assert sorted(without.files) == sorted(found.files)


def test_the_real_pacs_images_are_found_as_a_part(shared: Path) -> None:
    if not (shared / "data/pacs").is_dir():
        pytest.skip("no real PACS images")
    found = find_images(entry("pacs"), shared / "data", partial=True)
    assert Counter(zip(found.domains, found.parts, strict=True)) == {
        (domain, part): n for domain in DOMAINS for part, n in (("train", 112), ("val", 28))
    }
    assert "560 of 9,990 images" in found.shortfall
