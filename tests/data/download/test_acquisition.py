"""The catalogue's acquisition tables and checkpoints: whole, honest and strictly read."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from clipbench.data.catalogue import entry, known
from clipbench.data.catalogue.acquisition import STANDINGS, read_acquisition
from clipbench.data.published import content_digest
from clipbench.errors import UserError
from clipbench.models.weights.catalogue import checkpoint, checkpoints

TABLE: dict[str, Any] = {
    "folder": "x",
    "standing": "available",
    "standing_date": "2026-11-22",
    "rechecked": True,
    "standing_source": "somebody",
    "by_hand": "ask",
}
FILE: dict[str, Any] = {
    "name": "a.zip",
    "into": ".",
    "archive": "zip",
    "bytes": "unknown",
    "checksum": "unknown",
    "stated_by": "somebody",
}


@pytest.mark.parametrize("dataset", known())
def test_every_data_set_says_how_to_get_it_and_how_it_stands(dataset: str) -> None:
    one = entry(dataset)
    plan = one.acquisition
    assert plan is not None
    assert plan.standing in STANDINGS
    assert date(2020, 1, 1) < plan.standing_date <= date(2026, 11, 22)
    assert plan.standing_source
    said = any(word in plan.standing_source for word in ("not asked again", "not re-checked"))
    assert plan.rechecked is not said
    assert plan.by_hand.endswith(".")
    assert any(name == plan.folder or name.startswith(f"{plan.folder}/") for name in one.folders)
    assert all(file.stated_by for file in plan.files)
    assert "2026" not in plan.by_hand
    assert "@" in one.citation
    assert one.licence


@pytest.mark.parametrize("dataset", known())
def test_a_checksum_is_stated_by_somebody_or_unknown(dataset: str) -> None:
    plan = entry(dataset).acquisition
    assert plan is not None
    for file in plan.files:
        assert (
            file.checksum == "unknown"
            or "torchvision" in file.stated_by
            or "loaders of this archive" in file.stated_by
            or "torchgeo" in file.stated_by
        )


def test_the_addresses_and_checksums_are_torchvisions() -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    for dataset, cls in (("dtd", datasets.DTD), ("food101", datasets.Food101)):
        plan = entry(dataset).acquisition
        assert plan is not None
        assert plan.files[0].urls == (cls._URL,)
        assert plan.files[0].checksum == f"md5:{cls._MD5}"
    pets = entry("oxford_pets").acquisition
    assert pets is not None
    stated = [(url, f"md5:{md5}") for url, md5 in datasets.OxfordIIITPet._RESOURCES]
    assert [(file.urls[0], file.checksum) for file in pets.files[:2]] == stated


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"standing": "lost"}, "standing = 'lost': allowed are available, mirror, by-request, gone"),
        ({"standing_date": "yesterday"}, "is no date"),
        ({"rechecked": "no"}, "rechecked = 'no' has the wrong type; expected true or false"),
        ({"unpacked_bytes": "much"}, "neither a number of bytes nor 'unknown'"),
        ({"unpacked_bytes": 0}, "neither a number of bytes nor 'unknown'"),
        ({"colour": "red"}, "unknown key 'colour'"),
        ({"files": [FILE | {"checksum": "md5:123"}]}, "neither md5:... nor sha256:... nor 'unknown'"),
        ({"files": [FILE | {"archive": "rar"}]}, "archive = 'rar': allowed are none, tar, zip"),
        ({"files": [FILE | {"urls": ["file:///etc/passwd"]}]}, "is no http or https address"),
        ({"files": [FILE | {"into": "../x"}]}, "leaves the data folder"),
        ({"files": [FILE | {"name": "/x"}]}, "leaves the data folder"),
        ({"files": [FILE | {"inner": ["a/../../b.zip"]}]}, "leaves the data folder"),
        ({"files": [{"name": "a"}]}, r"files[0]: the key 'into' is missing"),
    ],
)
def test_a_fault_in_a_table_names_place_and_key(table: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as error:
        read_acquisition(TABLE | table, "made.toml, acquisition")
    assert said in str(error.value)
    assert str(error.value).startswith("made.toml, acquisition")


def test_an_entry_without_a_table_has_none() -> None:
    assert read_acquisition({}, "x") is None


def test_an_archive_makes_a_data_set_fetchable_lists_alone_do_not() -> None:
    def fetchable(*files: dict[str, Any]) -> bool:
        plan = read_acquisition(TABLE | {"files": list(files)}, "x")
        return plan is not None and plan.fetchable

    there = {"urls": ["https://example.org/a.zip"]}
    assert fetchable(FILE | there)
    assert fetchable(FILE | {"gdrive": "abc"})
    assert not fetchable(FILE)
    assert not fetchable(FILE | there | {"archive": "none"})
    assert not fetchable(FILE | there, FILE)
    assert fetchable(FILE | there, FILE | {"optional": "as well without it"})


SPLITS = {
    "caltech101": "coop",
    "dtd": "coop",
    "eurosat": "coop",
    "flowers102": "coop",
    "oxford_pets": "coop",
    "stanford_cars": "coop",
    "ucf101": "coop",
    "pacs": "pacs",
    "kvasir": "medvlsm/kvasir_polyp",
    "clinicdb": "medvlsm/clinicdb_polyp",
    "isic2016": "medvlsm/isic",
    "busi": "medvlsm/busi",
}


@pytest.mark.parametrize("dataset", SPLITS)
def test_the_digest_of_a_published_split_is_that_of_the_published_split(dataset: str, shared: Path) -> None:
    folder = shared / "data" / "splits" / SPLITS[dataset]
    plan = entry(dataset).acquisition
    if not folder.is_dir():
        pytest.skip(f"no split files: {folder} does not exist")
    assert plan is not None
    assert content_digest(folder / name for name in plan.split_files) == plan.split_content


def test_imagenets_published_names_are_clips_own(tmp_path: Path, shared: Path) -> None:
    """open_clip carries CLIP's list; the ids are those of the list that is passed on as classnames.txt."""
    from open_clip import IMAGENET_CLASSNAMES

    plan = entry("imagenet").acquisition
    assert plan is not None
    circulating = shared / "data/splits/imagenet/classnames.txt"
    if not circulating.is_file():
        pytest.skip(f"{circulating} does not exist")
    assert "363 of 1,000" in plan.other_contents[content_digest([circulating])]
    ids = [line.split()[0] for line in circulating.read_text().splitlines()]
    lines = [f"{wnid} {name}" for wnid, name in zip(ids, IMAGENET_CLASSNAMES, strict=True)]
    (tmp_path / "classnames.txt").write_text("\n".join(lines))
    assert content_digest([tmp_path / "classnames.txt"]) == plan.split_content


# Checkpoints


def test_every_checkpoint_says_where_it_comes_from() -> None:
    names = [(c.backbone, c.weights) for c in checkpoints()]
    assert len(names) == len(set(names)) == 8
    for one in checkpoints():
        assert one.standing in STANDINGS
        assert one.stated_by
        assert one.citation.strip().startswith("@")
        assert one.sha256 == "unknown" or len(one.sha256) == 64


def test_a_checkpoint_is_found_in_the_hubs_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    one = checkpoint("ViT-B-16-quickgelu", "openai")
    assert one is not None
    assert one.on_disk() is None
    path = tmp_path / "hub" / "models--timm--vit_base_patch16_clip_224.openai" / "snapshots" / "abc" / one.files[0]
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    assert one.on_disk() == path
    path.unlink()
    kept = tmp_path / "home" / ".cache" / "clip" / "ViT-B-16.pt"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"x")
    assert one.on_disk() == kept
