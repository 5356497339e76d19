"""Numbers that were measured on different data are neither averaged in silence nor held against each other."""

from __future__ import annotations

from dataclasses import replace

from clipbench.compare.cells import Library
from clipbench.compare.folders import compare_folders
from clipbench.registry import find
from tests.factory import record, records

CELL = ("lora-clip/table1", "lora-r8", "ucm-80")


def reasons(*more: str) -> list[str]:
    ((paper, experiment),) = find(["lora-clip/table1"])
    cell = next(c for c in experiment.cells() if (c.row.id, c.column.id) == CELL[1:])
    made = [
        record(CELL, seed, 99.0, class_names_sha256=names, split_sha256=f"{seed}") for seed, names in enumerate(more, 1)
    ]
    found = Library(made).cell(paper, experiment, cell)
    assert found is not None
    return list(found.not_comparable)


def test_seeds_of_other_class_names_are_not_comparable() -> None:
    assert reasons("a", "a") == []
    assert reasons("a", "b") == ["its seeds were measured on different data"]


def test_seeds_of_other_shots_and_other_bytes_of_one_test_part_are_not_comparable() -> None:
    """Each seed has a list of its own; what they share is the test part."""
    ((paper, experiment),) = find(["lora-clip/table1"])
    cell = next(c for c in experiment.cells() if (c.row.id, c.column.id) == CELL[1:])
    for images, due in ({1: "a", 2: "a"}, []), ({1: "a", 2: "b"}, ["its seeds were measured on different data"]):
        own = {seed: {"split_sha256": f"{seed}", "images_sha256": f"{seed}"} for seed in images}
        shared = {seed: {"shared_list_sha256": "t", "shared_images_sha256": of} for seed, of in images.items()}
        made = [record(CELL, seed, 99.0, **own[seed], **shared[seed]) for seed in images]
        found = Library(made).cell(paper, experiment, cell)
        assert found is not None
        assert list(found.not_comparable) == due


def test_an_unpublished_split_is_a_reason() -> None:
    ((paper, experiment),) = find(["lora-clip/table1"])
    cell = next(c for c in experiment.cells() if (c.row.id, c.column.id) == CELL[1:])
    found = Library([record(CELL, 1, 99.0, unpublished=("ucm: lists.json is not the published one",))])
    measured = found.cell(paper, experiment, cell)
    assert measured is not None
    assert measured.not_comparable == ("ucm: lists.json is not the published one",)


def test_folders_of_other_data_are_not_comparable() -> None:
    ours = records(CELL, (99.0, 99.1), content_sha256="a")
    theirs = [replace(r, data=replace(r.data, content_sha256="b")) if r.seed == 2 else r for r in ours]
    (same,), (other,) = compare_folders(ours, ours), compare_folders(ours, theirs)
    assert same.verdict == "reproduced"
    assert (other.verdict, "seed 2" in other.reason) == ("not comparable", True)
