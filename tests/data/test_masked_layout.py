"""Reading the segmentation sets: medvlsm's annotation files, in its own folders and in those of the archives."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clipbench.data.catalogue import Entry, entry
from clipbench.data.official import find_images
from clipbench.errors import UserError
from tests.data.data_trees import small, touch, write

PARTS = {"train": 3, "val": 1, "test": 2}


def item(image: str, mask: str) -> dict[str, Any]:
    prompts = {"p0": "", "p1": "polyp", "p7": ["polyp which grows", "polyp which is bumpy"]}
    return {"bbox": [0, 0, 1, 1], "cat": 0, "img_name": image, "mask_name": mask, "prompts": prompts}


def annotate(folder: Path, names: list[tuple[str, str]]) -> None:
    """Annotation files of those image and mask names, in three parts."""
    rest = iter(names)
    for part, count in PARTS.items():
        write(folder / f"{part}.json", json.dumps([item(*next(rest)) for _ in range(count)]))


def bare(dataset: str, **changes: Any) -> Entry:
    return small(dataset, **({"classes": dict.fromkeys(entry(dataset).classes, 0), "parts": PARTS} | changes))


KVASIR = [(f"cju{i}.jpg", f"cju{i}.jpg") for i in (5, 3, 4, 1, 0, 2)]


@pytest.mark.parametrize("folder", ["kvasir_polyp", "Kvasir-SEG", "."])
def test_images_come_in_the_order_of_the_annotations(tmp_path: Path, folder: str) -> None:
    annotate(tmp_path / folder / "anns", KVASIR)
    touch(tmp_path / folder, [f"{sub}/{name}" for name, _ in KVASIR for sub in ("images", "masks")])
    found = find_images(bare("kvasir"), tmp_path)
    assert list(found.files) == [f"images/{name}" for name, _ in KVASIR]
    assert list(found.masks) == [(f"masks/{name}",) for _, name in KVASIR]
    assert Counter(found.parts) == PARTS
    assert (set(found.labels), found.classes, found.complete) == ({0}, ("polyp",), True)
    assert found.prompts[0] == {"p0": ("",), "p1": ("polyp",), "p7": ("polyp which grows", "polyp which is bumpy")}


@pytest.mark.parametrize(
    ("images", "masks", "suffix"),
    [("Original", "Ground Truth", "tif"), ("PNG/Original", "PNG/Ground Truth", "png"), ("images", "masks", "PNG")],
)
def test_clinicdb_is_found_as_its_archives_unpack(tmp_path: Path, images: str, masks: str, suffix: str) -> None:
    names = [(f"{i}.png", f"{i}.png") for i in (288, 1, 27, 612, 5, 9)]
    annotate(tmp_path / "clinicdb_polyp/anns", names)
    root = tmp_path / "CVC-ClinicDB"
    touch(root, [f"{sub}/{Path(name).stem}.{suffix}" for name, _ in names for sub in (images, masks)])
    found = find_images(bare("clinicdb"), tmp_path)
    assert found.root == root
    assert found.files[0] == f"{images}/288.{suffix}"
    assert found.masks[0] == (f"{masks}/288.{suffix}",)


def test_isic_lies_in_the_four_folders_of_its_archives(tmp_path: Path) -> None:
    names = [(f"ISIC_{i:07d}.jpg", f"ISIC_{i:07d}_Segmentation.png") for i in (324, 1, 2, 3, 11310, 5)]
    annotate(tmp_path / "isic/anns", names)
    for i, (image, mask) in enumerate(names):
        kind = "Test" if i > 3 else "Training"
        base = "isic2016/ISBI2016_ISIC_Part1"
        touch(tmp_path, [f"{base}_{kind}_Data/{image}", f"{base}_{kind}_GroundTruth/{mask}"])
    found = find_images(bare("isic2016"), tmp_path)
    assert found.complete
    assert found.files[4] == "ISBI2016_ISIC_Part1_Test_Data/ISIC_0011310.jpg"
    assert found.masks[0] == ("ISBI2016_ISIC_Part1_Training_GroundTruth/ISIC_0000324_Segmentation.png",)


BUSI = [("100_benign.png", "benign"), ("102_malignant.png", "malignant"), ("1_normal.png", "normal")]
BUSI += [("4_benign.png", "benign"), ("25_benign.png", "benign"), ("2_normal.png", "normal")]


def test_busis_names_are_those_of_the_archive_and_its_masks_are_joined(tmp_path: Path) -> None:
    annotate(tmp_path / "busi/anns", [(name, name) for name, _ in BUSI])
    root = tmp_path / "busi/Dataset_BUSI_with_GT"
    stems = [f"{kind}/{kind} ({name.partition('_')[0]})" for name, kind in BUSI]
    touch(root, [f"{stem}{end}.png" for stem in stems for end in ("", "_mask")])
    touch(root, ["benign/benign (4)_mask_1.png", "benign/benign (4)_mask_2.png"])
    found = find_images(bare("busi"), tmp_path)
    assert list(found.files) == [f"{stem}.png" for stem in stems]
    assert found.masks[1] == ("malignant/malignant (102)_mask.png",)
    assert set(found.masks[3]) == {f"benign/benign (4)_mask{end}.png" for end in ("", "_1", "_2")}


def test_busi_in_medvlsms_folders_is_found_too(tmp_path: Path) -> None:
    annotate(tmp_path / "busi/anns", [(name, name) for name, _ in BUSI])
    touch(tmp_path / "busi", [f"{sub}/{name}" for name, _ in BUSI for sub in ("images", "masks")])
    found = find_images(bare("busi"), tmp_path)
    assert found.files[0] == "images/100_benign.png"
    assert found.masks[0] == ("masks/100_benign.png",)


def test_images_and_masks_that_lack_are_named(tmp_path: Path) -> None:
    annotate(tmp_path / "kvasir_polyp/anns", KVASIR)
    touch(tmp_path / "kvasir_polyp", [f"images/{name}" for name, _ in KVASIR[1:]])
    touch(tmp_path / "kvasir_polyp", [f"masks/{name}" for name, _ in KVASIR[:-1]])
    with pytest.raises(UserError, match=r"not there: 2 images \(cju5\.jpg, mask cju2\.jpg\)"):
        find_images(bare("kvasir"), tmp_path)
    found = find_images(bare("kvasir"), tmp_path, partial=True)
    assert len(found) == len(found.masks) == len(found.prompts) == len(found.parts) == 4


def test_missing_annotations_and_missing_images_are_told_apart(tmp_path: Path) -> None:
    touch(tmp_path / "kvasir_polyp", ["images/a.jpg", "masks/a.jpg"])
    with pytest.raises(UserError, match=r"no annotation files.*medvlsm"):
        find_images(bare("kvasir"), tmp_path)
    annotate(tmp_path / "busi/anns", [(name, name) for name, _ in BUSI])
    with pytest.raises(UserError, match="no images and masks"):
        find_images(bare("busi"), tmp_path)


@pytest.mark.parametrize("content", ["", "{}{", '[{"img_name": "a.jpg"}]', "[3]", '[{"img_name": "a", "prompts": 1}]'])
def test_another_file_of_that_name_is_refused(tmp_path: Path, content: str) -> None:
    annotate(tmp_path / "kvasir_polyp/anns", KVASIR)
    touch(tmp_path / "kvasir_polyp", ["images/a.jpg", "masks/a.jpg"])
    write(tmp_path / "kvasir_polyp/anns/val.json", content)
    with pytest.raises(UserError, match=r"val\.json is not one of medvlsm's annotation files"):
        find_images(bare("kvasir"), tmp_path)


# Real input


@pytest.mark.parametrize(
    ("dataset", "parts"),
    [("kvasir", (80, 20, 20)), ("clinicdb", (60, 15, 15)), ("busi", (37, 4, 7))],
)
def test_the_real_images_are_found_as_a_part(dataset: str, parts: tuple[int, int, int], shared: Path) -> None:
    data = shared / "data"
    if not any((data / name).is_dir() for name in entry(dataset).folders):
        pytest.skip(f"no real images of {dataset}")
    found = find_images(entry(dataset), data, partial=True)
    assert tuple(Counter(found.parts)[part] for part in ("train", "val", "test")) == parts
    assert all((found.root / name).is_file() for name in (*found.files, *(m for ms in found.masks for m in ms)))
    assert not found.complete


@pytest.mark.parametrize("dataset", ["kvasir", "clinicdb", "isic2016", "busi"])
def test_the_whole_annotation_files_give_the_official_set(dataset: str, tmp_path: Path, shared: Path) -> None:
    official = entry(dataset)
    folder = shared / "data" / official.layout_options["annotations"][-2 if dataset == "busi" else 0]
    if not folder.is_dir():
        pytest.skip(f"no annotation files in {folder}")
    for part in PARTS:
        content = (folder / f"{part}.json").read_text()
        write(tmp_path / official.folders[0] / "anns" / f"{part}.json", content)
        for each in json.loads(content):
            touch(tmp_path / official.folders[0], [f"images/{each['img_name']}", f"masks/{each['mask_name']}"])
    found = find_images(official, tmp_path)
    assert found.complete
    assert Counter(found.parts) == official.parts
    names = {"p0", "p1", "p2", "p3", "p4", "p5", "p6"} | (set() if dataset == "busi" else {"p7", "p8", "p9"})
    assert all(set(prompts) == names for prompts in found.prompts)
    assert find_images(replace(official, parts={}), tmp_path).files == found.files
