"""A fault in a registry file is refused with the file, the key or line, and what would be allowed."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from clipbench.errors import UserError
from clipbench.registry import load_paper, registry_dir
from clipbench.registry.printed import load_published

TABLE = "table2.toml"

TOML_FAULTS = {
    "unknown key of a table file": (
        TABLE,
        'kind = "table"',
        'kind = "table"\nalias = ["backbone"]',
        [TABLE, "unknown key 'alias'", "aliases", "columns"],
    ),
    "wrong type": (TABLE, "seeds = [1, 2, 3, 4, 5]", "seeds = 5", [TABLE, "seeds = 5", "expected list"]),
    "kind that does not exist": (TABLE, 'kind = "table"', 'kind = "tabel"', [TABLE, "'tabel'", "curves", "scatter"]),
    "missing key": (TABLE, 'title = "', '# title = "', [TABLE, "'title' is missing"]),
    "unknown key of a row": (
        TABLE,
        '{ id = "clip-b", printed',
        '{ id = "clip-b", colour = "red", printed',
        [TABLE, "rows", "unknown key 'colour'", "quoted"],
    ),
    "row twice": (TABLE, 'id = "clip-b"', 'id = "clip-l"', [TABLE, "rows", "an id stands twice"]),
    "caution about a row that is not there": (
        TABLE,
        'kind = "table"',
        'kind = "table"\ncautions = [{ rows = ["clip-x"], says = "mind" }]',
        [TABLE, "cautions", "no entry 'clip-x' among the rows", "clip-b"],
    ),
    "no TOML": (TABLE, 'kind = "table"', 'kind = "table', [TABLE, "not valid TOML", "line"]),
    "unknown key of the paper": ("paper.toml", 'short = "', 'nick = "x"\nshort = "', ["paper.toml", "'nick'", "title"]),
    "unknown key of a recipe": (
        "paper.toml",
        "[recipes.full]",
        "[recipes.full]\nlacking = 'x'",
        ["paper.toml", "recipes, full", "'lacking'", "missing"],
    ),
    "unknown key of a recipe's case": (
        "paper.toml",
        "[recipes.full]",
        "[[recipes.full.cases]]\nshots = [1]\n[recipes.full]",
        ["paper.toml", "recipes, full, case 1", "'where' is missing"],
    ),
    "a case of one value that is no list": (
        "paper.toml",
        "[recipes.full]",
        "[[recipes.full.cases]]\nwhere = { shots = 1 }\n[recipes.full]",
        ["paper.toml", "recipes, full, case 1", "shots = 1", "list"],
    ),
    "default choice that does not exist": (
        "assumptions.toml",
        'take = "alpha-over-r"',
        'take = "alpha/r"',
        ["assumptions.toml", "scaling", "'take' must name one"],
    ),
    "assumption twice": (
        "assumptions.toml",
        'id = "pooling"',
        'id = "scaling"',
        ["assumptions.toml", "the assumption 'scaling' stands twice"],
    ),
    "choice with a word that is not allowed": (
        "assumptions.toml",
        'set = { scaling = "alpha" }',
        'set = { scaling = "alfa" }',
        ["assumptions.toml", "scaling", "'alfa'", "must be one of alpha/r"],
    ),
    "choices that set different fields": (
        "assumptions.toml",
        'alpha = { set = { scaling = "alpha" }',
        "alpha = { set = { alpha = 16 }",
        ["assumptions.toml", "scaling", "every choice must set the same fields"],
    ),
}

RESOLVE_FAULTS = {
    "unknown protocol field": (
        "image_size = { value",
        "image_siez = { value",
        ["paper.toml", "no protocol field 'image_siez'", "Did you mean image_size"],
    ),
    "word that is not allowed": (
        'value = "adamw"',
        'value = "adamm"',
        ["paper.toml", "optimiser = 'adamm'", "must be one of adamw, adam, sgd"],
    ),
    "value out of bounds": ("hflip = { value = 0.3", "hflip = { value = 1.3", ["hflip = 1.3", "a number from 0 to 1"]),
    "entry without a standing": (
        'lr = { value = 2e-4, stated = "sec. III-A" }',
        "lr = { value = 2e-4 }",
        ["paper.toml", "lr", "{value, stated}, {value, code}, {assumed} or {unset}"],
    ),
    "assumption that does not exist": (
        'assumed = "pooling"',
        'assumed = "poling"',
        ["paper.toml", "pooling", "no assumption 'poling'"],
    ),
    "recipe that does not exist": (
        "[recipes.clip-b.set]",
        "[recipes.clip-bb.set]",
        ["table2.toml", "no recipe 'clip-b'"],
    ),
}

CSV_ROW = "table1,resnet50-eam,aid-20,accuracy,94.26,0.11,,%,2,94.26 ± 0.11,quoted,3,101,"
CSV_FAULTS = {
    "unknown column": ("raw,provenance", "raw,source", ["line 1", "unknown column 'source'", "provenance"]),
    "columns in another order": ("value,std", "std,value", ["line 1", "in this order"]),
    "field too many": (CSV_ROW, CSV_ROW + ",", ["line 3", "15 fields", "14"]),
    "unknown experiment": (CSV_ROW, CSV_ROW.replace("table1", "table9"), ["line 3", "'table9'", "table1, table2"]),
    "unknown row": (CSV_ROW, CSV_ROW.replace("resnet50-eam", "resnet"), ["line 3", "no row 'resnet'", "resnet50-eam"]),
    "unknown column id": (CSV_ROW, CSV_ROW.replace("aid-20", "aid-30"), ["line 3", "no column 'aid-30'", "aid-20"]),
    "cell twice": (CSV_ROW, CSV_ROW + "\n" + CSV_ROW, ["line 4", "resnet50-eam / aid-20 stands twice"]),
    "value that is not printed": (
        CSV_ROW,
        CSV_ROW.replace("94.26,0.11", "94.62,0.11"),
        ["line 3", "94.62", "is printed"],
    ),
    "decimals that are not printed": (CSV_ROW, CSV_ROW.replace("%,2", "%,1"), ["line 3", "1 decimals", "is printed"]),
    "std that is not printed": (
        CSV_ROW,
        CSV_ROW.replace("94.26,0.11", "94.26,0.12"),
        ["line 3", "std 0.12", "is printed"],
    ),
    "raw that is no number": (CSV_ROW, CSV_ROW.replace("± 0.11", "or so"), ["line 3", "is no printed number"]),
    "number that is none": (
        CSV_ROW,
        CSV_ROW.replace("94.26,0.11", "nan,0.11"),
        ["line 3", "'nan' is no plain number"],
    ),
    "unknown provenance": (CSV_ROW, CSV_ROW.replace("quoted", "guessed"), ["line 3", "'guessed'", "not stated"]),
    "quoted from nowhere": (CSV_ROW, CSV_ROW.replace("quoted,3", "quoted,"), ["line 3", "needs its reference"]),
    "quoted from elsewhere": (CSV_ROW, CSV_ROW.replace("quoted,3", "quoted,18"), ["line 3", "'18'", "'3'"]),
    "wrong unit": (CSV_ROW, CSV_ROW.replace("%", "M"), ["line 3", "unit = 'M'", "'%'"]),
    "wrong metric": (CSV_ROW, CSV_ROW.replace("accuracy", "dice"), ["line 3", "metric = 'dice'", "'accuracy'"]),
    "misprint without a note": (',"std printed as 12, read as 0.12"', ",", ["misprint", "how it is read"]),
    "value where none is printed": (",,,,%,,--", ",98.1,,,%,1,--", ["'--' is printed", "must be empty"]),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(registry_dir() / "lora_clip", tmp_path / "lora_clip"))


def break_file(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text, "the fault no longer finds its place: mend this test"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def says(parts: list[str]) -> str:
    """A pattern that matches the parts in any order."""
    return "(?s)" + "".join(f"(?=.*{re.escape(part)})" for part in parts)


def test_a_true_copy_is_accepted(folder: Path) -> None:
    assert len(load_published(load_paper(folder))) == 110


@pytest.mark.parametrize(("file", "old", "new", "parts"), TOML_FAULTS.values(), ids=TOML_FAULTS)
def test_a_faulty_file_is_refused(folder: Path, file: str, old: str, new: str, parts: list[str]) -> None:
    break_file(folder / file, old, new)
    with pytest.raises(UserError, match=says([str(folder), *parts])):
        load_paper(folder)


@pytest.mark.parametrize(("old", "new", "parts"), RESOLVE_FAULTS.values(), ids=RESOLVE_FAULTS)
def test_a_faulty_protocol_is_refused(folder: Path, old: str, new: str, parts: list[str]) -> None:
    break_file(folder / "paper.toml", old, new)
    with pytest.raises(UserError, match=says([str(folder), *parts])):
        load_paper(folder)


@pytest.mark.parametrize(("old", "new", "parts"), CSV_FAULTS.values(), ids=CSV_FAULTS)
def test_a_faulty_number_is_refused(folder: Path, old: str, new: str, parts: list[str]) -> None:
    break_file(folder / "published.csv", old, new)
    with pytest.raises(UserError, match=says(["published.csv", *parts])):
        load_published(load_paper(folder))


@pytest.mark.parametrize("name", ["paper.toml", "assumptions.toml", "published.csv"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(UserError, match=says([name, "is missing"])):
        load_published(load_paper(folder))
