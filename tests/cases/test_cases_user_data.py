"""Folders and split files of a user's own, as people write them and as they nearly write them."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from clipbench.data.user import UserData, left_out, user_images
from clipbench.errors import UserError
from tests.cases.pictures import pictures

LISTS: dict[str, Any] = {
    "train": [["cat/0.png", 0, "cat"], ["dog/0.png", 1, "dog"]],
    "val": [["cat/1.png", 0, "cat"]],
    "test": [["cat/2.png", 0, "cat"], ["dog/2.png", 1, "dog"]],
}


def listed(change: Any) -> dict[str, Any]:
    """The lists with every entry changed."""
    return {part: [change(entry) for entry in entries] for part, entries in LISTS.items()}


@pytest.mark.parametrize(
    "lists",
    [
        listed(lambda e: [f"./{e[0]}", str(e[1]), e[2]]),
        listed(lambda e: [f"/mnt/elsewhere/my/images/{e[0]}", float(e[1]), e[2]]),
        listed(lambda e: [f"my\\{e[0]}".replace("/", "\\").replace(".png", ".PNG"), e[1], e[2]]),
        listed(lambda e: [e[0].replace("cat", "Cat"), e[1], e[2]]),
        {"Train": LISTS["train"], "test": LISTS["test"]},
        {"training": LISTS["train"], "valid": LISTS["val"], "test": LISTS["test"], "info": {"by": "me"}},
    ],
    ids=["dot and text", "absolute elsewhere", "folder, Windows", "case of a folder", "no val", "other names of parts"],
)
def test_split_files_are_read_as_people_write_them(tmp_path: Path, lists: dict[str, Any]) -> None:
    root, path = pictures(tmp_path / "my", {"cat": 3, "dog": 3}), tmp_path / "lists.txt"
    path.write_text(json.dumps(lists), encoding="utf-16")
    images = user_images(UserData(root, path))
    assert {
        part: [f for f, p in zip(images.files, images.parts, strict=True) if p == part] for part in ("train", "test")
    } == {part: [file for file, _, _ in LISTS[part]] for part in ("train", "test")}
    assert list(images.classes) == ["cat", "dog"]


@pytest.mark.parametrize(
    ("lists", "said"),
    [
        (listed(lambda e: [e[0], e[1] + 0.5, e[2]]), "entry 1 of train is .*no whole number"),
        (listed(lambda e: [e[0], bool(e[1]), e[2]]), "entry 1 of train is .*no whole number"),
        (listed(lambda e: [e[0], e[2], e[2]]), "entry 1 of train is .*no whole number"),
        (listed(lambda e: [e[0], e[1], None]), "entry 1 of train is .*without .* class name"),
        (listed(lambda e: {"impath": e[0], "label": e[1]}), "entry 1 of train is .*impath"),
        (listed(lambda e: [e[0], 3 * e[1], e[2]]), "they are 0, 3"),
        ({**LISTS, "test": [*LISTS["test"], ["cat/0.png", 1, "dog"]]}, "cat/0.png is both 'cat' and 'dog'"),
    ],
)
def test_split_files_of_another_form_say_the_entry(tmp_path: Path, lists: Any, said: str) -> None:
    root, path = pictures(tmp_path / "my", {"cat": 3, "dog": 3}), tmp_path / "mine.json"
    path.write_text(json.dumps(lists))
    with pytest.raises(UserError, match=said) as refused:
        user_images(UserData(root, path))
    assert "mine.json" in str(refused.value)
    assert "ownload" not in str(refused.value)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("# my split\nfile,class,part\ncat/0.png,cat,train", "no column for file and class and part"),
        (f'file,class,part\n"{"x" * 140_000}', "quotation mark"),
        ("file,class,part\n", "lists no image"),
    ],
)
def test_csv_files_of_another_form_are_no_traceback(tmp_path: Path, lines: str, said: str) -> None:
    (tmp_path / "mine.csv").write_text(lines)
    with pytest.raises(UserError, match=said):
        user_images(UserData(pictures(tmp_path / "my", {"cat": 1}), tmp_path / "mine.csv"))


def test_names_of_classes_come_before_their_numbers_and_repeated_lines_are_said(tmp_path: Path) -> None:
    root = pictures(tmp_path / "my", {"cat": 3, "dog": 3})
    lines = ["path,label,label_name,split", "cat/0.png,0,cat,train", "./cat/0.png,0,cat,train", "dog/0.png,1,dog,train"]
    (tmp_path / "mine.csv").write_text("\n".join([*lines, "cat/1.png,0,cat,test"]))
    images = user_images(UserData(root, tmp_path / "mine.csv"))
    assert list(images.classes) == ["cat", "dog"]
    assert "listed more than once (cat/0.png)" in images.rebuilt
    assert "classes without a test image (dog)" in images.rebuilt


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_listed_names_match_in_any_unicode_form(tmp_path: Path, form: Any) -> None:
    names = {one: unicodedata.normalize(one, "caf\u00e9") for one in ("NFC", "NFD")}
    root = pictures(tmp_path / "my", {names[form]: 3, "dog": 3})
    other = names["NFD" if form == "NFC" else "NFC"]
    text = json.dumps(LISTS).replace("cat/", f"{other}/")
    (tmp_path / "mine.json").write_text(text)
    assert user_images(UserData(root, tmp_path / "mine.json")).files[0] == f"{names[form]}/0.png"


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        ({"train": 8, "test": 8}, "images lie in no class folders.*--split-file"),
        ({"train/a": 2, "train/b": 2, "test/a": 2, "extra": 2}, "extra beside them should hold no images"),
        ({"train/a": 5, "train/b": 5}, "one or two others"),
        ({"train/a": 2, "train/b": 2, "test/A": 2, "test/b": 2}, "are one name in the prompt"),
    ],
)
def test_folders_that_are_nearly_parts_say_what_is_amiss(tmp_path: Path, folders: dict[str, int], said: str) -> None:
    with pytest.raises(UserError, match=said):
        user_images(UserData(pictures(tmp_path / "my", folders)))


def test_folders_passed_over_by_their_names_are_said(tmp_path: Path) -> None:
    data = UserData(pictures(tmp_path / "my", {"a": 5, "b": 5, ".net": 5, "__background__": 5}))
    assert list(user_images(data).classes) == ["a", "b"]
    assert "(.net, __background__)" in left_out(data)
    data = UserData(pictures(tmp_path / "parts", {"train/a": 2, "train/b": 2, "test/a": 1, "test/b": 1, "train": 1}))
    assert (data.has_parts, "images beside the class folders (0.png)" in left_out(data)) == (True, True)
