"""Reading the few-shot data sets: CoOp's split files, FGVC's lists, ImageNet's folders; rebuilding lost splits."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from scipy.io import savemat

from clipbench.data.catalogue import entry
from clipbench.data.catalogue.acquisition import Acquisition
from clipbench.data.images import ImageSet
from clipbench.data.layouts.imagenet_folders import clips_own_names
from clipbench.data.layouts.label_files import action, place_name, year_first
from clipbench.data.layouts.rebuild import fraction_counts
from clipbench.data.load import image_set
from clipbench.data.official import find_images
from clipbench.errors import UserError
from clipbench.registry import Protocol
from tests.data.data_trees import files_of, small, split_lists, touch, write, write_split

CALTECH = small("caltech101", parts={"train": 8, "val": 4, "test": 6}, class_count=2)
LISTS = split_lists({"Faces": "face", "accordion": "accordion"})
SPLIT = "split_zhou_Caltech101.json"


def caltech(root: Path, base: str = "caltech-101/101_ObjectCategories") -> None:
    touch(root / base, files_of(LISTS))
    write_split(root / Path(base).parts[0] / SPLIT, LISTS)


# Split files


def test_images_come_in_the_order_of_the_split_file(tmp_path: Path) -> None:
    caltech(tmp_path)
    found = find_images(CALTECH, tmp_path)
    assert list(found.files) == files_of(LISTS)
    assert list(found.labels) == [item[1] for items in LISTS.values() for item in items]
    assert list(found.parts) == [part for part, items in LISTS.items() for _ in items]
    assert (found.classes, found.complete, found.rebuilt) == (("face", "accordion"), True, "")
    assert found.template == "a photo of a {}."


@pytest.mark.parametrize(
    "base",
    ["caltech-101/101_ObjectCategories", "Caltech101/101_ObjectCategories", "caltech101/101_ObjectCategories"],
)
def test_every_known_spelling_of_the_folders_gives_the_same_set(tmp_path: Path, base: str) -> None:
    caltech(tmp_path, base)
    found = find_images(CALTECH, tmp_path)
    assert found.root == tmp_path / base
    assert list(found.files) == files_of(LISTS)


def test_the_split_file_may_lie_beside_the_folder_of_another_spelling(tmp_path: Path) -> None:
    touch(tmp_path / "Caltech101" / "101_ObjectCategories", files_of(LISTS))
    write_split(tmp_path / "caltech-101" / SPLIT, LISTS)
    assert find_images(CALTECH, tmp_path).root == tmp_path / "Caltech101" / "101_ObjectCategories"


def test_an_extension_of_another_case_is_the_same_image(tmp_path: Path) -> None:
    touch(tmp_path / "caltech-101/101_ObjectCategories", [f.replace(".jpg", ".JPG") for f in files_of(LISTS)])
    write_split(tmp_path / "caltech-101" / SPLIT, LISTS)
    found = find_images(CALTECH, tmp_path)
    assert found.complete
    assert all((found.root / file).is_file() for file in found.files)


def test_listed_images_that_are_absent_are_counted_and_named(tmp_path: Path) -> None:
    caltech(tmp_path)
    lost = [tmp_path / "caltech-101/101_ObjectCategories" / LISTS[part][0][0] for part in ("train", "test")]
    for path in lost:
        path.unlink()
    with pytest.raises(UserError, match=r"Listed in split_zhou_Caltech101\.json, but not there: 2 images") as error:
        find_images(CALTECH, tmp_path)
    said = str(error.value)
    assert "16 of 18 images; 2 of 3 parts differ: train 7 of 8, test 5 of 6" in said
    assert all(f"{path.parent.name}/{path.name}" in said for path in lost)
    assert "--limit" in said
    assert "\n" not in said
    found = find_images(CALTECH, tmp_path, partial=True)
    assert (len(found), found.complete) == (16, False)
    assert "2 images" in found.shortfall


def test_a_zero_shot_run_does_without_training_images(tmp_path: Path) -> None:
    caltech(tmp_path)
    for file, _, _ in [*LISTS["train"], *LISTS["val"]]:
        (tmp_path / "caltech-101/101_ObjectCategories" / file).unlink()
    assert find_images(CALTECH, tmp_path, needs=("test",)).complete
    with pytest.raises(UserError, match="train 0 of 8"):
        find_images(CALTECH, tmp_path)


def test_a_split_file_without_images_is_a_missing_set(tmp_path: Path) -> None:
    write_split(tmp_path / "caltech-101" / SPLIT, LISTS)
    with pytest.raises(UserError, match=r"is missing: no images \(Faces/image_0001\.jpg and 17 more"):
        find_images(CALTECH, tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"train": [["a.jpg", "x", "y"]], "val": [], "test": []}', "\x00"])
def test_another_file_of_that_name_is_refused(tmp_path: Path, content: str) -> None:
    caltech(tmp_path)
    write(tmp_path / "caltech-101" / SPLIT, content)
    with pytest.raises(UserError, match=r"split_zhou_Caltech101\.json"):
        find_images(CALTECH, tmp_path)


@pytest.mark.parametrize(
    ("item", "said"), [(["Faces/x.jpg", 1, "face"], "both"), (["Faces/x.jpg", 3, "other"], "labels should be")]
)
def test_labels_that_do_not_fit_are_refused(tmp_path: Path, item: list[Any], said: str) -> None:
    caltech(tmp_path)
    write_split(tmp_path / "caltech-101" / SPLIT, LISTS | {"train": [*LISTS["train"], item]})
    with pytest.raises(UserError, match=said):
        find_images(CALTECH, tmp_path, partial=True)


def test_more_images_than_officially_are_another_data_set(tmp_path: Path) -> None:
    caltech(tmp_path)
    with pytest.raises(UserError, match="test 6 of 5"):
        find_images(replace(CALTECH, parts={"train": 8, "val": 4, "test": 5}), tmp_path, partial=True)


def test_a_class_of_another_size_is_noticed(tmp_path: Path) -> None:
    caltech(tmp_path)
    with pytest.raises(UserError, match="2 of 2 classes differ: face 9 of 10, accordion 9 of 8"):
        find_images(replace(CALTECH, classes={"face": 10, "accordion": 8}), tmp_path)


# Rebuilding


def in_folders(found: ImageSet) -> dict[tuple[str, str], set[str]]:
    cells: dict[tuple[str, str], set[str]] = {}
    for file, part in zip(found.files, found.parts, strict=True):
        cells.setdefault((file.split("/")[0], part), set()).add(file)
    return cells


def test_a_lost_split_is_rebuilt_by_fractions_and_marked(tmp_path: Path) -> None:
    rng = random.Random()  # noqa: S311
    sizes = {"Faces": rng.randint(10, 40), "accordion": rng.randint(10, 40), "BACKGROUND_Google": 5, "Faces_easy": 7}
    base = tmp_path / "Caltech101/101_ObjectCategories"
    touch(base, [f"{folder}/image_{i:04d}.jpg" for folder, size in sizes.items() for i in range(size)])
    official = replace(CALTECH, parts={}, classes={"face": sizes["Faces"], "accordion": sizes["accordion"]})
    found = find_images(official, tmp_path)
    assert (found.classes, found.root) == (("face", "accordion"), base)
    assert "rebuilt by CoOp's rule" in found.rebuilt
    cells = in_folders(found)
    for folder in ("Faces", "accordion"):
        n = sizes[folder]
        got = tuple(len(cells[folder, part]) for part in ("train", "val", "test"))
        assert got == (round(n * 0.5), round(n * 0.2), n - round(n * 0.5) - round(n * 0.2)) == fraction_counts(n)
    assert len(set(found.files)) == len(found) == sizes["Faces"] + sizes["accordion"]
    assert find_images(official, tmp_path).files == found.files


def test_a_rebuilt_split_is_the_same_on_every_machine(tmp_path: Path) -> None:
    touch(tmp_path / "2750", [f"{name}/{name}_{i}.jpg" for name in ("Forest", "River") for i in range(1, 11)])
    found = find_images(small("eurosat", class_count=2), tmp_path)
    train = [file for file, part in zip(found.files, found.parts, strict=True) if part == "train"]
    assert [file.rpartition("_")[2] for file in train] == [f"{i}.jpg" for i in FROZEN]


FROZEN = [7, 9, 10, 8, 6, 5, 9, 3, 7, 6]


def test_eurosats_folders_get_coops_names(tmp_path: Path) -> None:
    names = entry("eurosat").layout_options["names"]
    touch(tmp_path / "eurosat/2750", [f"{name}/{name}_{i}.jpg" for name in names for i in range(10)])
    found = find_images(replace(entry("eurosat"), parts={}, classes=dict.fromkeys(names.values(), 10)), tmp_path)
    assert found.classes == tuple(entry("eurosat").classes)
    assert len(found) == 100


def test_the_class_folders_of_another_data_set_are_not_taken(tmp_path: Path) -> None:
    touch(tmp_path, [f"{name}/{i}.jpg" for name in entry("aid").classes for i in range(4)])
    with pytest.raises(UserError, match=r"no split file split_zhou_DescribableTextures\.json, nor"):
        find_images(entry("dtd"), tmp_path)


def of_part(found: ImageSet, part: str) -> set[tuple[str, str]]:
    rows = zip(found.files, found.labels, found.parts, strict=True)
    return {(file, found.classes[label]) for file, label, p in rows if p == part}


def test_pets_come_from_the_official_lists(tmp_path: Path) -> None:
    lines = {
        part: [f"{breed}_{i} {label} 1 1" for label, breed in ((1, "Great_Dane"), (2, "pug")) for i in numbers]
        for part, numbers in (("trainval", range(1, 11)), ("test", range(11, 14)))
    }
    for part, rows in lines.items():
        write(tmp_path / f"oxford_pets/annotations/{part}.txt", "\n".join(rows) + "\n")
    touch(tmp_path / "oxford_pets/images", [f"{row.split()[0]}.jpg" for rows in lines.values() for row in rows])
    found = find_images(small("oxford_pets"), tmp_path)
    assert found.classes == ("great_dane", "pug")
    assert found.prompt_names == ("great dane", "pug")
    assert Counter(found.parts) == {"train": 16, "val": 4, "test": 6}
    assert of_part(found, "test") == {(f"{b}_{i}.jpg", b.lower()) for b in ("Great_Dane", "pug") for i in (11, 12, 13)}


def test_cars_come_from_the_matlab_files(tmp_path: Path) -> None:
    names = ["Audi TTS Coupe 2012", "Suzuki Aerio Sedan 2007"]
    dtype = [("fname", object), ("class", object)]

    def annotations(count: int) -> np.ndarray:
        rows = np.zeros((1, count), dtype=dtype)
        for i in range(count):
            rows[0, i] = (f"{i + 1:05d}.jpg", np.array([[i % 2 + 1]]))
        return rows

    root = tmp_path / "StanfordCars"
    (root / "devkit").mkdir(parents=True)
    savemat(root / "devkit/cars_meta.mat", {"class_names": np.array([names], dtype=object)})
    savemat(root / "devkit/cars_train_annos.mat", {"annotations": annotations(20)})
    savemat(root / "cars_test_annos_withlabels.mat", {"annotations": annotations(6)})
    touch(root, [f"cars_train/{i:05d}.jpg" for i in range(1, 21)] + [f"cars_test/{i:05d}.jpg" for i in range(1, 7)])
    found = find_images(small("stanford_cars"), tmp_path)
    assert found.classes == ("2012 Audi TTS Coupe", "2007 Suzuki Aerio Sedan")
    assert Counter(found.parts) == {"train": 16, "val": 4, "test": 6}
    assert of_part(found, "test") == {(f"cars_test/{i + 1:05d}.jpg", found.classes[i % 2]) for i in range(6)}


def test_flowers_come_from_the_matlab_file(tmp_path: Path) -> None:
    labels = [2] * 10 + [1] * 20
    root = tmp_path / "Flower102"
    root.mkdir()
    savemat(root / "imagelabels.mat", {"labels": np.array([labels], dtype=np.uint8)})
    write(root / "cat_to_name.json", '{"1": "pink primrose", "2": "hard-leaved pocket orchid"}')
    touch(root / "jpg", [f"image_{i:05d}.jpg" for i in range(1, 31)])
    found = find_images(small("flowers102"), tmp_path)
    assert found.classes == ("pink primrose", "hard-leaved pocket orchid")
    assert found.labels[0] == 1, "classes come in the order in which the label file names them first"
    assert Counter(found.parts) == {"train": 15, "val": 6, "test": 9}
    assert all(int(file[6:11]) <= 10 for file, name in of_part(found, "train") if name == found.classes[1])


def test_sun_comes_from_its_partition(tmp_path: Path) -> None:
    classes = ["/a/abbey", "/a/apartment_building/outdoor"]
    root = tmp_path / "sun397"
    write(root / "ClassName.txt", "\n".join(classes) + "\n")
    lists = {"Training": range(10), "Testing": range(10, 14)}
    for name, numbers in lists.items():
        write(root / f"{name}_01.txt", "\n".join(f"{c}/sun_{i}.jpg" for c in classes for i in numbers) + "\n")
    touch(root / "SUN397", [f"{c[1:]}/sun_{i}.jpg" for c in classes for i in range(14)])
    found = find_images(small("sun397"), tmp_path)
    assert found.classes == ("abbey", "outdoor apartment_building")
    assert found.prompt_names == ("abbey", "outdoor apartment building")
    assert Counter(found.parts) == {"train": 16, "val": 4, "test": 8}


def test_ucf_comes_from_its_first_lists(tmp_path: Path) -> None:
    root = tmp_path / "UCF101"
    write(root / "ucfTrainTestlist/classInd.txt", "1 ApplyEyeMakeup\n2 YoYo\n")
    clips = {a: [f"{a}/v_{a}_g{i:02d}_c01.avi" for i in range(14)] for a in ("ApplyEyeMakeup", "YoYo")}
    train = [f"{clip} {label}" for label, a in enumerate(clips, start=1) for clip in clips[a][:10]]
    write(root / "ucfTrainTestlist/trainlist01.txt", "\n".join(train))
    write(root / "ucfTrainTestlist/testlist01.txt", "\n".join(clip for a in clips for clip in clips[a][10:]))
    frames = {"ApplyEyeMakeup": "Apply_Eye_Makeup", "YoYo": "Yo_Yo"}
    touch(root / "UCF-101-midframes", [f"{frames[a]}/{Path(c).stem}.jpg" for a in clips for c in clips[a]])
    found = find_images(small("ucf101"), tmp_path)
    assert found.classes == ("Apply_Eye_Makeup", "Yo_Yo")
    assert found.prompt_names[0] == "Apply Eye Makeup"
    assert Counter(found.parts) == {"train": 16, "val": 4, "test": 8}


def test_class_names_are_fixed_as_coop_fixes_them() -> None:
    assert year_first("Dodge Ram Pickup 3500 Crew Cab 2010") == "2010 Dodge Ram Pickup 3500 Crew Cab"
    assert place_name("c/church/indoor") == "indoor church"
    assert action("HandstandPushups") == "Handstand_Pushups"


def test_a_label_file_that_is_no_matlab_file_is_named(tmp_path: Path) -> None:
    write(tmp_path / "oxford_flowers/imagelabels.mat", "<html>not found</html>")
    write(tmp_path / "oxford_flowers/cat_to_name.json", "{}")
    touch(tmp_path / "oxford_flowers/jpg", ["image_00001.jpg"])
    with pytest.raises(UserError, match=r"imagelabels\.mat cannot be read"):
        find_images(small("flowers102"), tmp_path)


@pytest.mark.parametrize("line", ["Great_Dane_1 one 1 1", "Great_Dane_1"])
def test_a_label_list_of_another_form_is_named(tmp_path: Path, line: str) -> None:
    for part in ("trainval", "test"):
        write(tmp_path / f"oxford_pets/annotations/{part}.txt", line)
    touch(tmp_path / "oxford_pets/images", ["Great_Dane_1.jpg"])
    with pytest.raises(UserError, match=r"annotations/trainval\.txt and test\.txt\) are not of their usual form"):
        find_images(small("oxford_pets"), tmp_path)


# FGVC-Aircraft


def aircraft(root: Path) -> dict[str, list[tuple[str, str]]]:
    variants = ["707-320", "Cessna 172", "F-16A/B"]
    rows = {
        part: [(f"{first + i:07d}", variants[i % 3]) for i in range(6)]
        for part, first in (("train", 100), ("val", 200), ("test", 300))
    }
    for part, items in rows.items():
        write(root / f"images_variant_{part}.txt", "\n".join(f"{image} {name}" for image, name in items) + "\n")
    write(root / "variants.txt", "\n".join(variants) + "\n")
    touch(root / "images", [f"{image}.jpg" for items in rows.values() for image, _ in items])
    return rows


@pytest.mark.parametrize("base", ["fgvc_aircraft", "fgvc-aircraft-2013b/data", "."])
def test_aircraft_come_from_their_lists(tmp_path: Path, base: str) -> None:
    rows = aircraft(tmp_path / base)
    found = find_images(small("fgvc_aircraft", parts={"train": 6, "val": 6, "test": 6}), tmp_path)
    assert found.root == tmp_path / base / "images"
    assert list(found.files) == [f"{image}.jpg" for items in rows.values() for image, _ in items]
    assert [found.classes[label] for label in found.labels] == [name for items in rows.values() for _, name in items]
    assert found.template.endswith("a type of aircraft.")


def test_an_unknown_variant_is_named_with_its_line(tmp_path: Path) -> None:
    aircraft(tmp_path / "fgvc_aircraft")
    write(tmp_path / "fgvc_aircraft/images_variant_val.txt", "0000200 707-320\n0000201 Concorde\n")
    with pytest.raises(UserError, match=r"images_variant_val\.txt, line 2: the variant 'Concorde'"):
        find_images(small("fgvc_aircraft"), tmp_path)


def test_a_list_that_is_no_text_is_named(tmp_path: Path) -> None:
    aircraft(tmp_path / "fgvc_aircraft")
    (tmp_path / "fgvc_aircraft/variants.txt").write_bytes(bytes(range(256)))
    with pytest.raises(UserError, match=r"variants\.txt is no UTF-8 text file"):
        find_images(small("fgvc_aircraft"), tmp_path)


# ImageNet


def imagenet(root: Path, names: Path) -> None:
    write(names, "n01443537 goldfish\nn01440764 tench\nn01484850 great white shark\n")
    for wnid in ("n01440764", "n01443537", "n01484850"):
        touch(root, [f"train/{wnid}/{wnid}_{i}.JPEG" for i in (2, 10, 1)])
        touch(root, [f"val/{wnid}/ILSVRC2012_val_0000000{i}.JPEG" for i in (1, 2)])


@pytest.mark.parametrize(
    ("base", "names"),
    [
        ("imagenet/images", "imagenet/classnames.txt"),
        ("imagenet", "imagenet/classnames.txt"),
        ("ILSVRC/Data/CLS-LOC", "imagenet/classnames.txt"),
    ],
)
def test_imagenets_folders_are_read_in_plain_order(tmp_path: Path, base: str, names: str) -> None:
    imagenet(tmp_path / base, tmp_path / names)
    found = find_images(small("imagenet", parts={"train": 9, "test": 6}), tmp_path)
    assert found.classes == ("tench", "goldfish", "great white shark")
    assert found.root == tmp_path / base
    assert found.files[:3] == [f"train/n01440764/n01440764_{i}.JPEG" for i in (1, 10, 2)]
    assert Counter(found.parts) == {"train": 9, "test": 6}
    assert all(found.files[i].split("/")[1] == sorted(WNIDS)[label] for i, label in enumerate(found.labels))


WNIDS = ("n01440764", "n01443537", "n01484850")


def test_imagenet_without_a_file_of_names_has_clips_own(tmp_path: Path) -> None:
    own = clips_own_names()
    assert (own["n01440764"], own["n04008634"], own["n03773504"]) == ("tench", "missile", "missile")
    touch(tmp_path / "imagenet/val", [f"{wnid}/1.JPEG" for wnid in own])
    found = find_images(entry("imagenet"), tmp_path, needs=("test",), partial=True)
    assert found.classes == tuple(own.values())
    # The digest that is pinned from the code of CLIP-LoRA: open_clip's and timm's lists together are this list.
    assert found.split_file_sha256 == cast(Acquisition, entry("imagenet").acquisition).split_content
    assert found.unpublished == ()


def test_clips_own_names_can_be_chosen_over_a_file(tmp_path: Path) -> None:
    own = clips_own_names()
    touch(tmp_path / "imagenet/val", [f"{wnid}/1.JPEG" for wnid in own])
    write(tmp_path / "imagenet/classnames.txt", "".join(f"{wnid} {name} thing\n" for wnid, name in own.items()))
    chosen = {
        choice: image_set(Protocol(dataset="imagenet", profile="full", shots=0, limit=1, class_list=choice), tmp_path)
        for choice in ("data-set", "clip")
    }
    assert chosen["clip"].classes[:2] == ("tench", "goldfish")
    assert chosen["clip"].unpublished == ()
    assert chosen["data-set"].classes[:2] == ("tench thing", "goldfish thing")
    assert "classnames.txt" in chosen["data-set"].unpublished[0]
    assert chosen["clip"].split_file_sha256 != chosen["data-set"].split_file_sha256


def test_imagenet_without_training_images_serves_zero_shot(tmp_path: Path) -> None:
    imagenet(tmp_path / "imagenet", tmp_path / "imagenet/classnames.txt")
    official = small("imagenet", parts={"train": 9, "test": 6})
    for path in (tmp_path / "imagenet/train").rglob("*.JPEG"):
        path.unlink()
    assert find_images(official, tmp_path, needs=("test",)).complete
    with pytest.raises(UserError, match="train 0 of 9"):
        find_images(official, tmp_path)


def test_imagenets_unsorted_validation_images_are_explained(tmp_path: Path) -> None:
    write(tmp_path / "imagenet/classnames.txt", "n01440764 tench\n")
    touch(tmp_path / "imagenet/val", ["ILSVRC2012_val_00000001.JPEG"])
    with pytest.raises(UserError, match="one folder per class"):
        find_images(small("imagenet"), tmp_path)


# Real input


@pytest.mark.parametrize("dataset", ["caltech101", "flowers102", "oxford_pets", "stanford_cars"])
def test_coops_own_split_files_give_the_official_set(dataset: str, tmp_path: Path, shared: Path) -> None:
    official = entry(dataset)
    path = shared / "data/splits/coop" / official.layout_options["split_file"]
    if not path.is_file():
        pytest.skip(f"no split file: {path} does not exist")
    from clipbench.data.layouts.coop_split import read_split

    base = tmp_path / official.folders[0]
    touch(base / official.layout_options["images"][0], files_of(read_split(path)))
    (base / path.name).write_bytes(path.read_bytes())
    found = find_images(official, tmp_path)
    assert found.complete
    assert found.classes == tuple(official.classes)
    counts = Counter((found.classes[label], part) for label, part in zip(found.labels, found.parts, strict=True))
    assert counts == {(n, part): k for n, parts in official.class_parts.items() for part, k in parts.items()}


def test_the_real_caltech_images_are_found_as_a_part(shared: Path) -> None:
    if not (shared / "data/caltech-101").is_dir():
        pytest.skip("no real Caltech101 images")
    found = find_images(entry("caltech101"), shared / "data", partial=True)
    assert Counter(found.parts) == {"train": 1600, "val": 400, "test": 800}
    assert found.classes == tuple(entry("caltech101").classes)
    assert all((found.root / file).is_file() for file in found.files)
    assert "2,800 of 8,242 images" in found.shortfall


@pytest.mark.parametrize("dataset", ["caltech101", "imagenet", "fgvc_aircraft"])
def test_the_embedded_subsets_are_read_by_the_same_readers(dataset: str, tmp_path: Path) -> None:
    from clipbench.data.load import image_set
    from clipbench.data.painted import SUBSETS
    from clipbench.registry import Protocol

    if dataset not in SUBSETS:
        pytest.skip(f"there is no subset of {dataset} yet")
    found = image_set(Protocol(profile="smoke", dataset=dataset, split_rule="clip-lora", shots=1), tmp_path)
    assert found.complete
    assert {"train", "test"} <= set(found.parts)
    assert all((found.root / file).is_file() for file in found.files)
