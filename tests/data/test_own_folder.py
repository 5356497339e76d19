"""A user's own folder of class folders: its names, its parts, and what is said where it is none."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from clipbench.data.load import Datasets
from clipbench.data.splits import shortage, split
from clipbench.data.user import UserData, user_images
from clipbench.data.user.folders import class_folders, not_read
from clipbench.errors import UserError
from clipbench.registry import Protocol
from tests.data.data_trees import touch


def test_class_folders_become_a_set_with_parts(tmp_path: Path) -> None:
    rng = random.Random()  # noqa: S311
    sizes = {"grey cat": rng.randint(4, 40), "Red_Panda": rng.randint(4, 40)}
    for name, size in sizes.items():
        touch(tmp_path / name, [*(f"{i} a.JPG" for i in range(size)), "Thumbs.db", "._0 a.JPG", ".hidden.png"])
    touch(tmp_path, ["readme.txt", "empty/notes.txt"])
    found = user_images(UserData(tmp_path))
    assert (found.classes, found.prompt_names) == (("Red_Panda", "grey cat"), ("Red Panda", "grey cat"))
    assert found.dataset == tmp_path.name
    assert Counter(found.classes[label] for label in found.labels) == sizes
    assert all((found.root / file).is_file() for file in found.files)
    assert user_images(UserData(tmp_path)) == found
    assert "no official parts" in found.rebuilt
    for rule in ("coop", "clip-lora"):
        cut = split(found, Protocol(split_rule=rule, shots=1), 1)
        assert len(cut.train) == 2
        assert len(cut.test) == Counter(found.parts)["test"]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["a.jpg"], "its 1 images lie in no class folder"),
        (["cat/1.jpg", "dog/readme.txt"], "holds 1 folders with images"),
        (
            [f"cat/{i}.jpg" for i in range(9)] + [f"dog/in/{i}.jpg" for i in range(9)],
            "all images of dog lie in folders",
        ),
        ([f"{n}/{i}.jpg" for i in range(5) for n in ("dog", "a_cup", "A cup")], "'A cup' and 'a_cup' are one name"),
        ([f"cat/{i}.jpg" for i in range(9)] + ["dog/1.jpg", "dog/2.jpg", "dog/3.jpg"], "too few images of dog"),
    ],
)
def test_a_folder_that_will_not_do_says_why(tmp_path: Path, files: list[str], said: str) -> None:
    touch(tmp_path, files)
    with pytest.raises(UserError, match=said):
        user_images(UserData(tmp_path))


def test_a_record_of_a_folder_that_is_not_given_says_how_to_name_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'my' as its files were then\. Name it with --dataset-dir"):
        Datasets(tmp_path).images(Protocol(dataset="my@0123456789ab", split_rule="official"))


def test_no_folder_at_all_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such folder"):
        user_images(UserData(tmp_path / "nowhere"))


def test_what_is_not_read_is_named(tmp_path: Path) -> None:
    touch(tmp_path, ["a.jpg", "cat/1.jpg", "cat/in/deep/2.jpg", "dog/3.jpg", "empty/notes.txt", "dog/in/notes.txt"])
    (tmp_path / "dog" / "round").symlink_to(tmp_path / "dog")  # ends
    found = class_folders(tmp_path)
    assert found.images == {"cat": ["1.jpg"], "dog": ["3.jpg"]}
    assert (found.loose, found.empty, found.with_more_below) == (["a.jpg"], ["empty"], ["cat"])
    for part in ("beside the class folders (a.jpg)", "without an image (empty)", "inside a class folder (cat)"):
        assert part in not_read([found])


def test_too_few_images_for_the_shots_are_told_by_rule(tmp_path: Path) -> None:
    touch(tmp_path, [f"cat/{i}.jpg" for i in range(10)] + [f"dog/{i}.jpg" for i in range(40)])
    found = user_images(UserData(tmp_path))
    assert shortage(found, "clip-lora", 5) == shortage(found, "official", 16) == ""
    said = "16 shots: class cat has only 5 training images; they are drawn with repeats, as in CLIP-LoRA's code"
    assert shortage(found, "clip-lora", 16) == said
    assert "each once" in shortage(found, "coop", 16)
    assert "2 classes have only so many training images: cat 5, dog 20" in shortage(found, "clip-lora", 32)
    assert len(split(found, Protocol(split_rule="clip-lora", shots=16), 1).train) == 32
    assert len(split(found, Protocol(split_rule="coop", shots=16), 1).train) == 21
