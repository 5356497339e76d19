"""Finding images: genuine layouts, what is passed over, and what is missing is said."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from clipbench.data.catalogue import entry
from clipbench.data.layouts.class_folders import locate
from clipbench.data.load import check_data, image_set
from clipbench.data.official import find_images
from clipbench.errors import UserError
from clipbench.registry import Protocol

MADE = replace(
    entry("aid"), id="made", name="Made Set", folders=["MADE", "made/sub"], classes={"DenseWood": 3, "Lake": 2}
)
FILES = {"DenseWood": ["densewood_1.jpg", "densewood_2.jpg", "densewood_10.jpg"], "Lake": ["lake_1.jpg", "lake_2.jpg"]}


def lay_out(root: Path, files: dict[str, list[str]]) -> Path:
    for folder, names in files.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for name in names:
            (root / folder / name).write_bytes(b"")
    return root


def test_files_come_class_by_class_in_natural_order(tmp_path: Path) -> None:
    lay_out(tmp_path / "MADE", FILES)
    found = find_images(MADE, tmp_path)
    due = [f"{folder}/{name}" for folder, names in FILES.items() for name in names]
    assert list(found.files) == due
    assert list(found.labels) == [0, 0, 0, 1, 1]
    assert (found.classes, found.complete, found.shortfall) == (("DenseWood", "Lake"), True, "")
    assert found.root == tmp_path / "MADE"


@pytest.mark.parametrize("folder", ["MADE", "made/sub", "."])
def test_every_named_folder_is_looked_at_and_the_root_itself(tmp_path: Path, folder: str) -> None:
    lay_out(tmp_path / folder, FILES)
    assert len(find_images(MADE, tmp_path)) == 5


@pytest.mark.parametrize("spelling", ["densewood", "Dense Wood", "dense_wood", "DENSE-WOOD"])
def test_class_folders_match_whatever_their_spelling(tmp_path: Path, spelling: str) -> None:
    lay_out(tmp_path / "MADE", {spelling: FILES["DenseWood"], "LAKE": FILES["Lake"]})
    found = find_images(MADE, tmp_path)
    assert found.files[0] == f"{spelling}/densewood_1.jpg"
    assert found.classes == ("DenseWood", "Lake")


def test_extensions_match_whatever_their_case_and_everything_else_is_passed_over(tmp_path: Path) -> None:
    lay_out(tmp_path / "MADE", {"DenseWood": ["a1.JPG", "a2.Jpeg", "a3.TIF"], "Lake": ["b1.tiff", "b2.PNG"]})
    lay_out(tmp_path / "MADE" / "Lake", {"c.jpg": []})  # a folder with an image's name
    strangers = ["Thumbs.db", "._b1.tiff", ".hidden.png", "readme.txt", "jpg", "b3.jpg.part", "desktop.ini"]
    lay_out(tmp_path / "MADE", {"Lake": strangers, "__MACOSX": ["b1.tiff"], ".git": ["b1.tiff"]})
    found = find_images(MADE, tmp_path)
    assert [f.rpartition("/")[2] for f in found.files] == ["a1.JPG", "a2.Jpeg", "a3.TIF", "b1.tiff", "b2.PNG"]


def test_a_missing_set_says_what_where_and_how(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        find_images(MADE, tmp_path)
    said = str(error.value)
    for part in ("Made Set", str(tmp_path / "MADE"), MADE.how, MADE.home, "--data", "CLIPBENCH_DATA", "--smoke"):
        assert part in said
    assert "\n" not in said


def test_a_data_root_that_does_not_exist_is_a_missing_set(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is missing"):
        locate(MADE, tmp_path / "nowhere")


@pytest.mark.parametrize("partial", [False, True])
def test_a_class_without_any_image_is_named(tmp_path: Path, partial: bool) -> None:
    lay_out(tmp_path / "MADE", {"DenseWood": FILES["DenseWood"]})
    with pytest.raises(UserError, match="no image at all of Lake"):
        find_images(MADE, tmp_path, partial=partial)
    lay_out(tmp_path / "MADE", {"Lake": ["readme.txt"]})
    with pytest.raises(UserError, match="no image at all of Lake"):
        find_images(MADE, tmp_path, partial=partial)


def test_zero_images_are_an_error(tmp_path: Path) -> None:
    lay_out(tmp_path / "MADE", {"DenseWood": [], "Lake": []})
    with pytest.raises(UserError, match="DenseWood, Lake"):
        find_images(MADE, tmp_path, partial=True)


def test_a_wrong_count_is_refused_with_the_counts_unless_a_part_is_asked_for(tmp_path: Path) -> None:
    lay_out(tmp_path / "MADE", FILES | {"DenseWood": ["densewood_1.jpg"]})
    with pytest.raises(UserError, match=r"3 of 5 images; 1 of 2 classes differ: DenseWood 1 of 3"):
        find_images(MADE, tmp_path)
    found = find_images(MADE, tmp_path, partial=True)
    assert not found.complete
    assert "DenseWood 1 of 3" in found.shortfall


@pytest.mark.parametrize("partial", [False, True])
def test_more_images_than_there_are_is_another_data_set(tmp_path: Path, partial: bool) -> None:
    """OPTIMAL-31's classes are all in NWPU-RESISC45's folder, with 700 images each: that is no part of OPTIMAL-31."""
    lay_out(tmp_path / "MADE", FILES | {"Lake": ["lake_1.jpg", "lake_2.jpg", "lake_3.jpg"]})
    with pytest.raises(UserError, match="Lake 3 of 2"):
        find_images(MADE, tmp_path, partial=partial)


def test_check_data_names_each_missing_set_once(tmp_path: Path) -> None:
    protocols = [Protocol(profile="full", dataset=d) for d in ("ucm", "aid", "aid")]
    found = check_data(protocols, tmp_path)
    assert set(found) == {"ucm", "aid"}
    assert "UC Merced" in found["ucm"]
    assert check_data([Protocol(profile="smoke", dataset="ucm")], tmp_path) == {}


@pytest.mark.parametrize("dataset", ["ucm", "optimal31"])
def test_the_embedded_subset_is_read_by_the_same_reader(dataset: str, tmp_path: Path) -> None:
    found = image_set(Protocol(profile="smoke", dataset=dataset), tmp_path)
    assert found.complete
    assert set(found.classes) <= set(entry(dataset).classes)
    assert all((found.root / f).is_file() for f in found.files)


# Genuine file names and real images

LISTS = {"ucm": "ucmerced", "aid": "aid", "resisc45": "resisc45", "optimal31": "optimal31"}


@pytest.mark.parametrize("dataset", LISTS)
def test_the_genuine_file_names_are_all_found(dataset: str, tmp_path: Path, shared: Path) -> None:
    lists = shared / "data" / "splits" / "aitlas"
    if not lists.is_dir():
        pytest.skip(f"no lists of genuine file names: {lists} does not exist")
    names = []
    for part in ("train", "val", "test"):
        with (lists / f"{LISTS[dataset]}_{part}.csv").open(encoding="utf-8", newline="") as file:
            names += [(row[0], row[1]) for row in csv.reader(file) if row]
    image = tmp_path / "one"
    Image.new("RGB", (2, 2)).save(image, "png")
    root = tmp_path / entry(dataset).folders[0]
    for path, _ in names:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).hardlink_to(image)
    found = find_images(entry(dataset), tmp_path)
    assert found.complete
    assert sorted(found.files) == sorted(path for path, _ in names)
    of = dict(names)
    assert all(found.classes[label] == of[file] for file, label in zip(found.files, found.labels, strict=True))


def test_the_real_aid_images_are_found_as_a_part(shared: Path) -> None:
    folder = shared / "data" / "aid"
    if not folder.is_dir():
        pytest.skip(f"no real AID images: {folder} does not exist")
    with pytest.raises(UserError, match="1,200 of 10,000 images"):
        find_images(entry("aid"), shared / "data")
    found = find_images(entry("aid"), shared / "data", partial=True)
    assert (len(found), len(found.classes), found.complete) == (1200, 30, False)
    assert found.files[:2] == ["Airport/airport_1.jpg", "Airport/airport_2.jpg"]
