"""Archives from the user's hand: flat ones stay apart, other spellings are taken, and what is none is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipbench.data.catalogue import entry
from clipbench.data.download.get import STAGING
from clipbench.data.download.presence import look
from clipbench.errors import UserError
from tests.data.download.made import CLASSES, images, jpeg, made, source, tree, zipped
from tests.data.download.server import Server
from tests.data.download.test_get import got

MADE = made(source(), standing="by-request")


def archive(path: Path, files: dict[str, bytes]) -> Path:
    path.write_bytes(zipped(files))
    return path


def left(root: Path) -> set[str]:
    """What a refused archive leaves in the staging folder."""
    return {p.name for p in (root / STAGING / "made").iterdir()} - {"lock"}


def test_two_flat_archives_in_one_root_stay_apart(tmp_path: Path) -> None:
    """Both have class folders at their top, and one's airport is the other's Airport."""
    root = tmp_path / "root"
    for name in ("optimal31", "aid"):
        files = {f"{c}/{c}_{i}.jpg": b"" for c, number in entry(name).classes.items() for i in range(number)}
        found = got(entry(name), root, archive(tmp_path / f"{name}.zip", files))
        assert (found.presence.state, found.presence.where) == ("complete", root / entry(name).folders[0])
    assert {path.name for path in root.iterdir()} == {STAGING, "OPTIMAL-31", "AID"}
    assert look(entry("optimal31"), root).state == look(entry("aid"), root).state == "complete"
    assert look(entry("ucm"), root).state == look(entry("resisc45"), root).state == "missing"


@pytest.mark.parametrize("top", ["", "Images/", "MADE-main/", "made/", "Made/MADE/"])
def test_an_archive_with_another_top_folder_is_taken(top: str, tmp_path: Path) -> None:
    files = {f"{top}{name.removeprefix('MADE/')}": content for name, content in images().items()}
    found = got(MADE, tmp_path / "root", archive(tmp_path / "a.zip", files | {"readme.txt": b"r"}))
    assert found.presence.state == "complete"
    own = "made" if top == "made/" else "Made" if top == "Made/MADE/" else "MADE"
    assert {path.name for path in (tmp_path / "root").iterdir()} == {STAGING, own}


def test_an_archive_of_images_and_masks_goes_beside_its_lists(server: Server, tmp_path: Path) -> None:
    (tmp_path / "root/Kvasir-SEG/anns").mkdir(parents=True)
    item = b'[{"img_name": "cju0.jpg", "mask_name": "cju0.jpg", "prompts": {"p0": ""}}]'
    for part in ("train", "val", "test"):
        (tmp_path / f"root/Kvasir-SEG/anns/{part}.json").write_bytes(item)
    flat = archive(tmp_path / "a.zip", {"images/cju0.jpg": jpeg(), "masks/cju0.jpg": jpeg()})
    assert got(entry("kvasir"), tmp_path / "root", flat).presence.where == tmp_path / "root/Kvasir-SEG"
    assert {path.name for path in (tmp_path / "root").iterdir()} == {STAGING, "Kvasir-SEG"}


# What is none


def test_a_web_page_that_a_browser_saved_is_called_that(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(b"<!DOCTYPE html><html>Log in</html>")
    with pytest.raises(UserError, match=r"a\.zip is a web page, not an archive: the download in the browser") as error:
        got(MADE, tmp_path / "root", path)
    assert "run the same command" not in str(error.value)
    assert path.exists()


def test_a_web_page_in_place_of_a_list_is_called_that(tmp_path: Path) -> None:
    (tmp_path / "split.json").write_bytes(b"<html>")
    (tmp_path / "made.zip").write_bytes(zipped(images()))
    split = source(name="split.json", into="MADE", archive="none")
    with pytest.raises(UserError, match=r"split\.json is a web page, not the file split\.json"):
        got(made(source(), split), tmp_path / "root", tmp_path)


def test_a_cut_archive_from_the_users_hand_is_kept_and_not_fetched_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(zipped(images())[:-100])
    with pytest.raises(UserError, match=r"cut or damaged .* is left as it is; download it again, and pass") as error:
        got(MADE, tmp_path / "root", path)
    assert "fetch it anew" not in str(error.value)
    assert path.exists()
    assert left(tmp_path / "root") <= {"downloads"}


def test_a_refused_archive_leaves_no_copy_and_no_word_of_downloads(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {"other/a.jpg": jpeg(), "readme.txt": b"r"})
    with pytest.raises(UserError) as error:
        got(MADE, tmp_path / "root", path)
    said = str(error.value)
    for part in ("what came is not Made Set", "a.zip unpacks to other, readme.txt", "no class folders", "Write to its"):
        assert part in said
    assert "downloads" not in said
    assert STAGING not in said
    assert "What you passed with --from is left as it is." in said
    assert path.exists()
    assert left(tmp_path / "root") <= {"downloads"}
    assert tree(tmp_path / "root") == {}


def test_a_refused_download_is_kept_and_said_to_be(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"The downloads are kept in .*downloads\."):
        got(made(source(server.put("a", zipped({"other/a.jpg": jpeg()})))), tmp_path)
    assert [path.name for path in (tmp_path / STAGING / "made/downloads").iterdir()] == ["made.zip"]
    assert left(tmp_path) == {"downloads"}


def test_a_part_of_the_classes_in_a_flat_archive_is_a_part_of_the_set(tmp_path: Path) -> None:
    files = {f"{name}/1.jpg": jpeg() for name in CLASSES}
    found = got(MADE, tmp_path / "root", archive(tmp_path / "a.zip", files))
    assert (found.presence.state, found.presence.images) == ("incomplete", 2)
    assert found.presence.where == tmp_path / "root/MADE"
