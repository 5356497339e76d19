"""The catalogue's entries: whole, consistent with themselves, and with the counts that were verified elsewhere."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from clipbench.data import catalogue
from clipbench.data.catalogue import Entry, entry, known
from clipbench.data.layouts import LAYOUTS, reader
from clipbench.data.layouts.rebuild import RULES
from clipbench.errors import UserError

# Images and classes, as the data sets' papers or official lists have them
OFFICIAL = {
    "aid": (10_000, 30),
    "busi": (780, 1),
    "caltech101": (8_242, 100),
    "clinicdb": (612, 1),
    "digits_dg": (24_000, 10),
    "dtd": (5_640, 47),
    "eurosat": (27_000, 10),
    "fgvc_aircraft": (10_000, 100),
    "flowers102": (8_189, 102),
    "food101": (101_000, 101),
    "imagenet": (1_331_167, 1000),
    "isic2016": (1_279, 1),
    "kvasir": (1_000, 1),
    "mini_domainnet": (140_006, 126),
    "officehome": (15_588, 65),
    "optimal31": (1_860, 31),
    "oxford_pets": (7_349, 37),
    "pacs": (9_990, 7),
    "resisc45": (31_500, 45),
    "stanford_cars": (16_185, 196),
    "sun397": (39_700, 397),
    "ucf101": (13_320, 101),
    "ucm": (2_100, 21),
}


def test_the_catalogue_knows_these_sets() -> None:
    assert set(known()) == set(OFFICIAL)


@pytest.mark.parametrize("dataset", OFFICIAL)
def test_an_entry_is_whole(dataset: str) -> None:
    e: Entry = entry(dataset)
    assert (e.id, e.images, e.class_count) == (dataset, *OFFICIAL[dataset])
    assert e.layout in LAYOUTS
    assert callable(reader(e.layout))
    assert e.home.startswith("http")
    assert e.how
    assert e.licence
    assert e.folders
    assert e.template.count("{}") == 1
    assert len(e.classes) in (0, e.class_count)
    assert e.layout_options.get("rebuild", "class-folders") in RULES


@pytest.mark.parametrize("dataset", OFFICIAL)
def test_a_citation_is_bibtex(dataset: str) -> None:
    text = entry(dataset).citation
    assert text.count("{") == text.count("}")
    for record in re.split(r"\n(?=@)", text.strip()):
        assert re.match(r"@(article|inproceedings|techreport|misc)\{\w+,\n", record)
        assert {"title", "author", "year"} <= set(re.findall(r"^  (\w+)\s+= \{", record, re.MULTILINE))
        assert record.rstrip().endswith("}\n}")


@pytest.mark.parametrize("dataset", [d for d in OFFICIAL if entry(d).class_parts])
def test_counts_of_classes_and_parts_add_up(dataset: str) -> None:
    e = entry(dataset)
    for part, count in e.parts.items():
        assert sum(parts[part] for parts in e.class_parts.values()) == count
    assert {name: sum(parts.values()) for name, parts in e.class_parts.items()} == e.classes


def test_eurosat_and_caltech_names_are_those_of_their_rebuilding() -> None:
    for dataset in ("caltech101", "eurosat"):
        assert set(entry(dataset).layout_options["names"].values()) <= set(entry(dataset).classes)


@pytest.mark.parametrize(
    ("dataset", "name", "prompt"),
    [
        ("ucf101", "Apply_Eye_Makeup", "Apply Eye Makeup"),
        ("oxford_pets", "american_bulldog", "american bulldog"),
        ("ucm", "baseballdiamond", "baseball diamond"),
        ("aid", "StorageTanks", "storage tanks"),
        ("officehome", "Alarm_Clock", "Alarm Clock"),
    ],
)
def test_prompts_take_words(dataset: str, name: str, prompt: str) -> None:
    assert name in entry(dataset).classes
    assert entry(dataset).prompt_name(name) == prompt


def test_office_homes_unknown_classes_are_the_last_eleven() -> None:
    names = list(entry("officehome").classes)
    assert names == sorted(names)
    assert (names[54], names[-1]) == ("Sneakers", "Webcam")


@pytest.mark.parametrize(
    ("addition", "said"),
    [
        ('colour = "red"', "unknown key 'colour'"),
        ("classes = { dog = [1, 2] }", "the class dog"),
        ("classes = { dog = -1 }", "the class dog"),
        ("template = 3", "template"),
    ],
)
def test_a_wrong_entry_is_refused(addition: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    required = "\n".join(f'{key} = "x"' for key in ("name", "family", "format", "image_size", "licence", "home"))
    text = f'{required}\nhow = "x"\ncitation = "x"\nfolders = []\n{addition}\n'
    (tmp_path / "made_up.toml").write_text(text)
    monkeypatch.setattr(catalogue, "_FOLDER", tmp_path)
    monkeypatch.setattr(catalogue, "known", known.__wrapped__)
    with pytest.raises(UserError, match=re.escape(said)) as error:
        entry("made_up")
    assert "made_up.toml" in str(error.value)


def test_an_unknown_set_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"it knows aid, busi, caltech101"):
        entry("cifar10")


def test_reading_the_catalogue_needs_no_heavy_library() -> None:
    code = "import sys; from clipbench.data.catalogue import entry, known; [entry(d) for d in known()]"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    assert not {"numpy", "torch", "scipy", "PIL", "pandas"} & set(done.stdout.split())


# What was verified elsewhere


def rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        pytest.skip(f"no reference: {path} does not exist")
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


IDS = {
    "ImageNet": "imagenet",
    "Caltech101": "caltech101",
    "OxfordPets": "oxford_pets",
    "StanfordCars": "stanford_cars",
    "Flowers102": "flowers102",
    "Food101": "food101",
    "FGVCAircraft": "fgvc_aircraft",
    "SUN397": "sun397",
    "DTD": "dtd",
    "EuroSAT": "eurosat",
    "UCF101": "ucf101",
}


def test_few_shot_counts_are_the_reference_ones(shared: Path) -> None:
    for row in rows(shared / "research/reference/fewshot_datasets.csv"):
        e = entry(IDS[row["dataset"]])
        assert e.class_count == int(row["classes"])
        assert e.parts == {part: int(row[part]) for part in ("train", "val", "test") if row[part]}
        if row["split_file"].startswith("split_zhou"):
            assert e.layout_options["split_file"] == row["split_file"]
        assert row["cliplora_dir"].split("/")[0] in [folder.split("/")[0] for folder in e.folders]
        assert row["coop_dir"].split("/")[0] in [folder.split("/")[0] for folder in e.folders]


def test_domain_counts_are_the_reference_ones(shared: Path) -> None:
    ids = {"PACS": "pacs", "OfficeHome": "officehome"}
    for row in rows(shared / "research/reference/dg_domain_counts.csv"):
        broken = row["domain"] == "sketch"
        assert entry(ids[row["benchmark"]]).domains[row["domain"].lower()] == int(row["all"]) - broken


def test_segmentation_counts_are_the_reference_ones(shared: Path) -> None:
    ids = {"kvasir_polyp": "kvasir", "clinicdb_polyp": "clinicdb", "isic": "isic2016", "busi": "busi"}
    for row in rows(shared / "research/reference/medseg_splits.csv"):
        assert entry(ids[row["dataset"]]).parts == {part: int(row[part]) for part in ("train", "val", "test")}


def test_class_counts_are_those_of_coops_split_files(shared: Path) -> None:
    folder = shared / "data/splits/coop"
    if not folder.is_dir():
        pytest.skip(f"no split files: {folder} does not exist")
    for dataset in (d for d in known() if entry(d).class_parts):
        lists = json.loads((folder / entry(dataset).layout_options["split_file"]).read_text())
        for part, items in lists.items():
            assert Counter(name for _, _, name in items) == {n: c[part] for n, c in entry(dataset).class_parts.items()}
