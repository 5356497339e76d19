"""Where a data set is looked for: its names in any spelling, one folder of nesting, and what the root itself may be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clipbench.data.catalogue import Entry, entry, known
from clipbench.data.download.presence import look, strangers
from clipbench.data.layouts.class_folders import locate
from clipbench.data.layouts.domains import domain_folders
from clipbench.data.layouts.listing import key
from clipbench.data.layouts.locations import locations
from clipbench.data.official import find_images
from clipbench.data.published import list_files
from clipbench.errors import UserError
from tests.data.data_trees import touch, write

SCENES = ("ucm", "aid", "resisc45", "optimal31")
MASKED = {
    "kvasir": ("cju0.jpg", "cju1.jpg", "cju2.jpg"),
    "clinicdb": ("1.png", "2.png", "3.png"),
    "isic2016": ("ISIC_0000000.jpg", "ISIC_0000001.jpg", "ISIC_0011402.jpg"),
    "busi": ("100_benign.png", "102_malignant.png", "1_normal.png"),
}


def scene(root: Path, dataset: str) -> None:
    touch(root, [f"{name}/{i}.jpg" for name in entry(dataset).classes for i in range(2)])


def masked(root: Path, dataset: str) -> None:
    for part, name in zip(("train", "val", "test"), MASKED[dataset], strict=True):
        item = {"img_name": name, "mask_name": name, "prompts": {"p0": ""}}
        write(root / f"anns/{part}.json", json.dumps([item]))
        touch(root, [f"images/{name}", f"masks/{name}"])


def states(root: Path, datasets: tuple[str, ...] = known()) -> dict[str, Path | None]:
    looked = {name: look(entry(name), root) for name in datasets}
    return {name: found.where for name, found in looked.items() if found.state != "missing"}


# The root itself


@pytest.mark.parametrize("dataset", MASKED)
def test_a_root_that_is_an_annotated_set_is_that_set_alone(dataset: str, tmp_path: Path) -> None:
    own = tmp_path / entry(dataset).folders[0].upper()
    masked(own, dataset)
    assert states(own) == {dataset: own}


@pytest.mark.parametrize("dataset", MASKED)
def test_an_annotated_set_in_a_root_of_any_name_is_known_by_its_images_names(dataset: str, tmp_path: Path) -> None:
    masked(tmp_path / "mine", dataset)
    # Plain numbers, as ClinicDB has them, are the names of many sets.
    assert states(tmp_path / "mine") == ({} if dataset == "clinicdb" else {dataset: tmp_path / "mine"})


@pytest.mark.parametrize("dataset", MASKED)
def test_the_images_of_another_set_in_the_root_are_not_taken_for_an_annotated_one(dataset: str, tmp_path: Path) -> None:
    """The annotations are the set's own, where they belong; the images that lie in the root are not."""
    masked(tmp_path / "whole" / dataset, dataset)
    annotations = tmp_path / "root" / entry(dataset).layout_options["annotations"][0]
    for part in ("train", "val", "test"):
        write(annotations / f"{part}.json", (tmp_path / "whole" / dataset / f"anns/{part}.json").read_text())
    touch(tmp_path / "root", ["images/dog.jpg", "masks/dog.jpg"])
    assert states(tmp_path / "root", tuple(MASKED)) == {}


def test_lists_of_another_form_in_the_root_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, ["images/a.jpg", "masks/a.jpg"])
    for part in ("train", "val", "test"):
        write(tmp_path / f"{part}.json", '{"images": []}')
    assert states(tmp_path, tuple(MASKED)) == {}


@pytest.mark.parametrize("dataset", SCENES)
@pytest.mark.parametrize("name", ["mine", "of its own"])
def test_a_root_that_is_a_scene_set_is_that_set_alone(dataset: str, name: str, tmp_path: Path) -> None:
    own = tmp_path / (entry(dataset).folders[0].upper() if name != "mine" else name)
    scene(own, dataset)
    assert states(own) == {dataset: own}


@pytest.mark.parametrize("dataset", SCENES)
def test_a_root_with_a_part_of_the_classes_or_with_more_is_none(dataset: str, tmp_path: Path) -> None:
    for name in ("less", "more"):
        scene(tmp_path / name, dataset)
    touch(tmp_path / "more", ["another class/1.jpg"])
    first = next(iter(entry(dataset).classes))
    (tmp_path / "less" / first).rename(tmp_path / "elsewhere")
    assert states(tmp_path / "less", SCENES) == states(tmp_path / "more", SCENES) == {}


def test_another_sets_folder_beside_the_class_folders_changes_nothing(tmp_path: Path) -> None:
    scene(tmp_path, "optimal31")
    scene(tmp_path / "AID", "aid")
    assert states(tmp_path, SCENES) == {"aid": tmp_path / "AID", "optimal31": tmp_path}


def test_domains_in_a_root_of_any_name_must_hold_the_very_classes(tmp_path: Path) -> None:
    pacs = entry("pacs")
    touch(tmp_path, [f"{domain}/{name}/1.jpg" for domain in pacs.domains for name in pacs.classes])
    assert set(domain_folders(pacs, tmp_path)) == set(pacs.domains)
    touch(tmp_path, ["photo/tree/1.jpg"])
    with pytest.raises(UserError, match="no folders of its domains"):
        domain_folders(pacs, tmp_path)


def test_a_folder_val_alone_is_not_imagenet(tmp_path: Path) -> None:
    touch(tmp_path, ["val/n01440764/1.jpg", "train/n01440764/1.jpg"])
    assert look(entry("imagenet"), tmp_path).state == "missing"
    write(tmp_path / "classnames.txt", "n01440764 tench\n")
    assert look(entry("imagenet"), tmp_path).where == tmp_path


def test_listed_images_in_a_root_of_any_name_must_mostly_be_there(tmp_path: Path) -> None:
    """AID's Forest/forest_1.jpg is not EuroSAT's Forest/Forest_1.jpg."""
    listed = [[f"{name}/{name}_{i}.jpg", label, name] for label, name in enumerate(("Forest", "River")) for i in (1, 2)]
    write(tmp_path / "eurosat/split_zhou_EuroSAT.json", json.dumps({"train": listed, "val": [], "test": []}))
    touch(tmp_path, ["Forest/forest_1.jpg"])
    assert look(entry("eurosat"), tmp_path).state == "missing"
    touch(tmp_path, [file for file, _, _ in listed])
    assert look(entry("eurosat"), tmp_path).where == tmp_path


def test_the_lists_of_a_set_that_is_the_root_are_found_for_verify(tmp_path: Path) -> None:
    masked(tmp_path / "mine", "kvasir")
    found = find_images(entry("kvasir"), tmp_path / "mine", partial=True)
    assert [path.name for path in list_files(entry("kvasir"), tmp_path / "mine", found)] == [
        "train.json",
        "val.json",
        "test.json",
    ]


def test_real_kvasir_as_the_root_is_kvasir_alone(shared: Path) -> None:
    root = shared / "data/kvasir_polyp"
    if not root.is_dir():
        pytest.skip(f"no real images: {root} does not exist")
    assert states(root) == {"kvasir": root}


# Names


SPELLINGS = {
    "ucm": ["UCMerced_LandUse/UCMerced_LandUse/Images", "UCMerced", "UC_Merced", "UCM", "ucmerced-landuse/images"],
    "aid": ["AID/AID", "AID_dataset", "AID_dataset/AID", "aid/unpacked"],
    "optimal31": ["OPTIMAL-31/OPTIMAL-31", "OPTIMAL31", "Optimal_31", "OPTIMAL-31/OPTIMAL-31/Images"],
    "resisc45": ["NWPU-RESISC45/NWPU-RESISC45", "RESISC45", "NWPU_RESISC45"],
}


@pytest.mark.parametrize(("dataset", "folder"), [(d, folder) for d, folders in SPELLINGS.items() for folder in folders])
def test_scene_sets_are_found_as_they_are_unpacked(dataset: str, folder: str, tmp_path: Path) -> None:
    scene(tmp_path / folder, dataset)
    assert locate(entry(dataset), tmp_path) == tmp_path / folder


@pytest.mark.parametrize(
    ("dataset", "folder", "part"),
    [
        ("pacs", "PACS/PACS", ""),
        ("pacs", "Homework3-PACS/PACS", ""),
        ("digits_dg", "digits_dg/digits_dg", "train"),
        ("officehome", "OfficeHome/OfficeHomeDataset_10072016", ""),
        ("officehome", "Office-Home", ""),
    ],
)
def test_domains_are_found_as_they_are_unpacked(dataset: str, folder: str, part: str, tmp_path: Path) -> None:
    one = entry(dataset)
    touch(tmp_path / folder / "readme", ["a.txt"])  # so that it is not the only folder
    touch(tmp_path / folder, [f"{domain}/{part}/{name}/1.jpg" for domain in one.domains for name in one.classes])
    assert look(one, tmp_path).where == tmp_path / folder


@pytest.mark.parametrize("folder", ["Caltech_101/caltech101", "CALTECH-101"])
def test_few_shot_sets_are_found_as_they_are_unpacked(folder: str, tmp_path: Path) -> None:
    listed = [["accordion/image_0001.jpg", 0, "accordion"]]
    write(tmp_path / folder / "split_zhou_Caltech101.json", json.dumps({"train": listed, "val": [], "test": []}))
    touch(tmp_path / folder, ["101_ObjectCategories/accordion/image_0001.jpg"])
    assert look(entry("caltech101"), tmp_path).where == tmp_path / folder / "101_ObjectCategories"


def test_one_folder_of_nesting_and_no_more(tmp_path: Path) -> None:
    scene(tmp_path / "AID/one/two", "aid")
    with pytest.raises(UserError, match=r"AID has the right name, but does not hold that"):
        locate(entry("aid"), tmp_path)


def test_nothing_nests_in_the_root_itself(tmp_path: Path) -> None:
    scene(tmp_path / "my pictures", "aid")
    assert locations(entry("aid"), tmp_path) == []


def test_the_exact_spelling_of_a_class_folder_comes_first(tmp_path: Path) -> None:
    scene(tmp_path / "OPTIMAL-31", "optimal31")
    touch(tmp_path / "OPTIMAL-31", ["Airport/other.jpg"])
    found = look(entry("optimal31"), tmp_path)
    assert found.images == 2 * 31


def test_no_two_data_sets_are_looked_for_in_the_same_folder() -> None:
    names: dict[str, str] = {}
    for dataset in known():
        for folder in entry(dataset).folders:
            assert names.setdefault(key(folder.split("/")[0]), dataset) == dataset, folder


@pytest.mark.parametrize("dataset", known())
def test_what_is_fetched_goes_where_the_data_set_is_looked_for(dataset: str) -> None:
    one: Entry = entry(dataset)
    assert one.acquisition is not None
    names = {key(folder.split("/")[0]) for folder in one.folders}
    into = {file.into.split("/")[0] for file in one.acquisition.files} - {"."}
    assert {key(name) for name in into | {one.acquisition.folder}} <= names


@pytest.mark.parametrize("name", ["AID_images", "AID-30-classes", "aidd"])
def test_a_folder_of_a_similar_name_is_told(name: str, tmp_path: Path) -> None:
    scene(tmp_path / name, "aid")
    with pytest.raises(UserError, match=rf"{name} has a similar name; if it is this data set, rename it to AID\."):
        locate(entry("aid"), tmp_path)


def test_the_folder_of_another_data_set_is_not_told_as_similar(tmp_path: Path) -> None:
    touch(tmp_path, ["ucf101/a.txt", "nothing alike/a.txt"])
    assert "similar" not in look(entry("food101"), tmp_path).message


# Strangers


def test_folders_of_images_that_are_no_known_set_are_named(tmp_path: Path) -> None:
    scene(tmp_path / "AID", "aid")
    touch(tmp_path, ["mnist_png/test/3/1.png", "flat/1.jpg", "lists/a.txt", ".hidden/1.jpg", "pacs/odd/1.jpg"])
    here = [look(entry(name), tmp_path) for name in SCENES]
    assert strangers(tmp_path, here) == ["flat", "mnist_png"]
    assert strangers(tmp_path / "AID", [look(entry("aid"), tmp_path / "AID")]) == []
    assert strangers(tmp_path / "nowhere", []) == []
