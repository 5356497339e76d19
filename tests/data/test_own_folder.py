"""A user's own folder of class folders: its names, its parts, and what is said where it is none."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from data_trees import touch

from clipbench.data.own_folder import own_images
from clipbench.data.splits import split
from clipbench.errors import UserError
from clipbench.spec import Protocol


def test_class_folders_become_a_set_with_parts(tmp_path: Path) -> None:
    rng = random.Random()  # noqa: S311
    sizes = {"grey cat": rng.randint(4, 40), "Red_Panda": rng.randint(4, 40)}
    for name, size in sizes.items():
        touch(tmp_path / name, [*(f"{i} a.JPG" for i in range(size)), "Thumbs.db", "._0 a.JPG", ".hidden.png"])
    touch(tmp_path, ["readme.txt", "empty/notes.txt"])
    found = own_images(tmp_path)
    assert (found.classes, found.prompt_names) == (("Red_Panda", "grey cat"), ("Red Panda", "grey cat"))
    assert found.dataset == tmp_path.name
    assert Counter(found.classes[label] for label in found.labels) == sizes
    assert all((found.root / file).is_file() for file in found.files)
    assert own_images(tmp_path) == found
    assert "no official parts" in found.rebuilt
    for rule in ("coop", "clip-lora"):
        cut = split(found, Protocol(split_rule=rule, shots=1), 1)
        assert len(cut.train) == 2
        assert len(cut.test) == Counter(found.parts)["test"]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["a.jpg"], "holds 0 folders with images"),
        (["cat/1.jpg", "dog/readme.txt"], "holds 1 folders with images"),
        ([f"cat/{i}.jpg" for i in range(9)] + ["dog/1.jpg", "dog/2.jpg", "dog/3.jpg"], "too few images of dog"),
    ],
)
def test_a_folder_that_will_not_do_says_why(tmp_path: Path, files: list[str], said: str) -> None:
    touch(tmp_path, files)
    with pytest.raises(UserError, match=said):
        own_images(tmp_path)


def test_no_folder_at_all_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no folder"):
        own_images(tmp_path / "nowhere")
