"""Data as people have them: replaced, scaled, renamed, half there, damaged, or of other kinds than asked for."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import tarfile
import warnings
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clipbench.data import digests
from clipbench.data.cache import cache_dir, decoded, decoded_masks
from clipbench.data.catalogue import entry
from clipbench.data.content import content_of
from clipbench.data.decode import load_rgb
from clipbench.data.download.get import get
from clipbench.data.images import Decoding, ImageSet
from clipbench.data.layouts.coop_split import read_split
from clipbench.data.official import find_images
from clipbench.data.published import content_digest
from clipbench.data.splits import split
from clipbench.data.user import UserData, left_out, user_images
from clipbench.data.verify import verify
from clipbench.errors import UserError
from clipbench.registry import Protocol
from tests.cases.pictures import pictures
from tests.cli.commands_for_tests import Captured, call
from tests.data.data_trees import small, split_lists, touch, write, write_split
from tests.data.download.made import images as made_files
from tests.data.download.made import made, source, tarred, zipped

CASES = Path(__file__).parent
FEW = ["--backbone", "clipbench-tiny", "--precision", "fp32", "--set", "steps_per_shot=2", "--seeds", "1"]


def case(name: str) -> Path:
    (folder,) = CASES.glob(f"{name}-*")
    return folder


def silent(*_: object) -> None:
    """Nobody listens."""


# A number depends on the data


def test_b03_repaired_images_are_run_again(tmp_path: Path, capsys: Captured) -> None:
    shutil.copytree(case("b03") / "before", tmp_path / "my")
    words = ["run", "fewshot", "--dataset-dir", tmp_path / "my", "--only", "method=linear-probe-4shot", *FEW]
    words += ["--set", "pixel_range=16-bit", "--out", tmp_path / "out"]
    code, said, _ = call(capsys, *words)
    assert (code, "1 runs made" in said) == (0, True)
    assert "0 runs made" in call(capsys, *words)[1]
    shutil.copytree(case("b03") / "after", tmp_path / "my", dirs_exist_ok=True)
    code, said, progress = call(capsys, *words)
    assert (code, "1 runs made" in said) == (0, True)
    assert "records of other data than those that are here now (the images have other bytes)" in progress
    results = tmp_path / "out" / "results"
    assert len(list(results.glob("[0-9a-f]*"))) == len(list(results.glob(".replaced-*"))) == 1
    # A plan for another folder is held against these records, whose images it cannot count.
    other = pictures(tmp_path / "other", {"a": 5, "b": 5})
    plan = ["plan", "fewshot", "--dataset-dir", other, "--only", "row=zero-shot", *FEW[:4], "--out", tmp_path / "out"]
    assert call(capsys, *plan)[0] == 0


def test_a_second_look_reads_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = user_images(UserData(pictures(tmp_path / "my", {"a": 6, "b": 6})))
    for file in images.files:
        os.utime(images.root / file, (10**9, 10**9))
    cut = split(images, Protocol(split_rule="clip-lora", shots=1), 1)
    monkeypatch.setattr(digests, "_SETTLED_SECONDS", -1.0)
    first = content_of(images, cut)
    monkeypatch.setattr(digests, "file_digest", lambda path: pytest.fail(f"{path} is read again"))
    assert content_of(images, cut) == first
    monkeypatch.undo()
    file = images.root / images.files[cut.test[0]]
    content, times = bytearray(file.read_bytes()), file.stat()
    content[-20] ^= 1
    file.write_bytes(bytes(content))
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))  # same size, same date
    assert content_of(images, cut).images_sha256 != first.images_sha256


def test_a_torn_list_of_digests_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(digests, "_SETTLED_SECONDS", -1.0)
    root = pictures(tmp_path / "my", {"a": 3})
    due = digests.file_digests(root, ["a/0.png", "a/1.png"])
    (store,) = (cache_dir() / "digests").iterdir()
    store.write_bytes(store.read_bytes().replace(due[0].encode(), due[1].encode()))
    assert digests.file_digests(root, ["a/0.png", "a/1.png"]) == due


def test_class_names_are_part_of_the_content(tmp_path: Path) -> None:
    images = user_images(UserData(pictures(tmp_path / "my", {"a": 6, "b": 6})))
    cut = split(images, Protocol(split_rule="coop", shots=1), 1)
    turned = replace(images, prompt_names=tuple(reversed(images.prompt_names)))
    assert content_of(images, cut).sha256 != content_of(turned, cut).sha256


@pytest.mark.parametrize("rule", ["clip-lora", "stratified-fraction"])
def test_what_seeds_share_depends_on_bytes_and_not_on_the_seed(tmp_path: Path, rule: str) -> None:
    def shared(seed: int) -> tuple[str, str]:
        cut = split(images, Protocol(split_rule=rule, shots=1, train_fraction=0.5), seed)
        content = content_of(images, cut)
        return content.shared_list_sha256, content.shared_images_sha256

    images = user_images(UserData(pictures(tmp_path / "my", {"a": 8, "b": 8})))
    before = shared(1)
    assert shared(2) == before
    Image.new("RGB", (24, 24)).save(images.root / images.files[images.parts.index("test")])
    assert [one == two for one, two in zip(shared(2), before, strict=True)] == [True, False]


def test_test_images_that_training_saw_are_counted(tmp_path: Path) -> None:
    images = user_images(UserData(pictures(tmp_path / "my", {"a": 6, "b": 6})))
    cut = split(images, Protocol(split_rule="coop", shots=1), 1)
    assert content_of(images, cut).copies == 0
    shutil.copy(images.root / images.files[cut.train[0]], images.root / images.files[cut.test[0]])
    assert content_of(images, cut).copies == 1


def test_b01_a_split_of_other_content_is_said(tmp_path: Path) -> None:
    lists = split_lists({"banded": "banded", "blotchy": "blotchy"})
    name = "split_zhou_DescribableTextures.json"
    write_split(tmp_path / "dtd" / name, lists)
    touch(tmp_path / "dtd/images", [item[0] for items in lists.values() for item in items])
    plan = replace(entry("dtd").acquisition, split_content=content_digest([tmp_path / "dtd" / name]))  # type: ignore[type-var]
    official = replace(small("dtd"), acquisition=plan)
    found = find_images(official, tmp_path)
    assert (found.unpublished, found.split_file_sha256) == ((), plan.split_content)
    lists["train"][0], lists["test"][0] = lists["test"][0], lists["train"][0]
    write_split(tmp_path / "dtd" / name, lists)
    (said,) = find_images(official, tmp_path).unpublished
    assert said.startswith(f"dtd: {name} in {tmp_path / 'dtd'}: other content than the published")


def test_b36_class_names_of_another_list_are_said(tmp_path: Path) -> None:
    ids = ("n01440764", "n01443537")
    touch(tmp_path / "imagenet/images/val", [f"{wnid}/1.JPEG" for wnid in ids])
    write(tmp_path / "imagenet/classnames.txt", "n01440764 tench, Tinca tinca\nn01443537 goldfish, Carassius auratus\n")
    found = find_images(small("imagenet", parts={"test": 2}), tmp_path, needs=("test",))
    (said,) = found.unpublished
    assert "classnames.txt" in said
    assert "other content than the published" in said


@pytest.mark.parametrize(
    "text",
    ["\ufeffn01440764 tench\nn01443537 goldfish\n", "n01440764\ttench\r\nn01443537\tgoldfish"],
)
def test_class_names_with_tabs_or_a_byte_order_mark_are_read(tmp_path: Path, text: str) -> None:
    touch(tmp_path / "imagenet/images/val", ["n01440764/1.JPEG", "n01443537/1.JPEG"])
    write(tmp_path / "imagenet/classnames.txt", text)
    assert find_images(small("imagenet", parts={"test": 2}), tmp_path).classes == ("tench", "goldfish")


# Pixels and masks


@pytest.mark.parametrize(
    ("folder", "mode", "choice"), [("float", "floating-point numbers", "unit"), ("twelve", "16-bit integers", "12-bit")]
)
def test_b18_other_scales_are_refused_or_chosen(folder: str, mode: str, choice: str) -> None:
    path = next((case("b18") / folder).rglob("*.tif"))
    with pytest.raises(UserError, match=f"{mode}.*from .* to .*{choice}") as refused:
        load_rgb(path)
    assert str(path) in str(refused.value)
    values = np.asarray(Image.open(path)).astype(float)
    due = (values.clip(0, None) / {"unit": 1.0, "12-bit": 4095}[choice] * 255).round()
    found = np.asarray(load_rgb(path, Decoding(pixel_range=choice)))
    np.testing.assert_array_equal(found, np.repeat(due[..., None], 3, axis=2))


@pytest.mark.parametrize("choice", ["full-scale", "12-bit", "unit"])
def test_a_rule_that_does_not_fit_is_refused(tmp_path: Path, choice: str) -> None:
    Image.fromarray(np.full((4, 4), -3, dtype=np.int32)).save(tmp_path / "a.tif")
    with pytest.raises(UserError, match=r"a\.tif holds 32-bit integers"):
        load_rgb(tmp_path / "a.tif", Decoding(pixel_range=choice))


def test_b20_masks_in_the_alpha_channel_count() -> None:
    root = case("b20") / "data"
    images = find_images(entry("kvasir"), root, partial=True)
    said: list[str] = []
    share = decoded_masks(images, 32, tell=said.append).reshape(len(images), -1).mean(axis=1)
    assert (share > 0).all()
    assert (share < 1).all()
    assert not any("blank" in line for line in said)
    for index, names in enumerate(images.masks):
        alpha = np.asarray(Image.open(images.root / names[0]).getchannel("A")) > 127
        assert share[index] == pytest.approx(alpha.mean(), abs=0.05)


def test_blank_masks_are_an_error_in_verify_and_said_in_a_run(tmp_path: Path) -> None:
    shutil.copytree(case("b20") / "data", tmp_path / "data")
    for path in (tmp_path / "data").rglob("masks/*"):
        Image.new("L", Image.open(path).size, 255).save(path)
    images, said = find_images(entry("kvasir"), tmp_path / "data", partial=True), []
    decoded_masks(images, 16, tell=said.append)
    assert any("masks are blank" in line for line in said)
    wrong = [f.text for f in verify(entry("kvasir"), tmp_path / "data", lambda _: silent).findings if f.wrong]
    assert any("masks are blank" in text for text in wrong)


def test_exif_is_ignored_or_obeyed_by_the_protocol(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(tmp_path / "a.jpg", exif=exif)
    sizes = [load_rgb(tmp_path / "a.jpg", Decoding(exif=word)).size for word in ("ignore", "rotate")]
    assert sizes == [(40, 20), (20, 40)]


def test_b24_other_suffixes_are_read_or_named() -> None:
    data = UserData(case("b24") / "my")
    found = Counter(Path(file).suffix for file in user_images(data).files)
    assert {".jfif", ".jpe", ".png"} <= set(found)
    assert (".heic" in found) != (".heic" in left_out(data))
    assert (".avif" in found) != (".avif" in left_out(data))


def test_dangling_links_are_named(tmp_path: Path) -> None:
    root = pictures(tmp_path / "my", {"a": 5, "b": 5})
    (root / "a" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    assert "a/gone.png" in left_out(UserData(root))


def test_robust_eps_starts_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "bin/gs", f"#!/bin/sh\ntouch {tmp_path}/called\n")
    (tmp_path / "bin/gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    write(tmp_path / "a.jpg", "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n%%EOF\n")
    with pytest.raises(UserError, match=r"a\.jpg cannot be read: it is damaged, or of another format"):
        load_rgb(tmp_path / "a.jpg")
    assert not (tmp_path / "called").exists()


def test_b40_a_large_picture_names_the_limit_and_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("1", (14_000, 13_000)).save(tmp_path / "scene.png")
    Image.new("1", (10_000, 9_500)).save(tmp_path / "below.png")
    with pytest.raises(UserError, match=r"14,000 x 13,000 pixels.*178,956,970.*CLIPBENCH_MAX_PIXELS=182000000"):
        load_rgb(tmp_path / "scene.png")
    monkeypatch.setenv("CLIPBENCH_MAX_PIXELS", "20")
    with pytest.raises(UserError, match="limit of 20"):
        load_rgb(tmp_path / "below.png")
    monkeypatch.setenv("CLIPBENCH_MAX_PIXELS", "many")
    with pytest.raises(UserError, match="should be a number of pixels"):
        load_rgb(tmp_path / "below.png")
    monkeypatch.delenv("CLIPBENCH_MAX_PIXELS")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with Image.open(tmp_path / "below.png") as image:
            assert image.width == 10_000


# Caches


@pytest.mark.parametrize("damage", ["cut", "empty", "zeros", "flipped"])
def test_robust_damaged_caches_are_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    monkeypatch.setenv("CLIPBENCH_CACHE", str(tmp_path / "cache"))
    root = pictures(tmp_path / "my", {"a": 4})
    images = ImageSet("my", root, [f"a/{i}.png" for i in range(4)], [0] * 4, ["a"])
    due, said = np.array(decoded(images, 24, "bicubic", silent)), []
    (file,) = (tmp_path / "cache/images").iterdir()
    content = bytearray(file.read_bytes())
    if damage == "zeros":
        content[len(content) // 3 :] = bytes(len(content) - len(content) // 3)
    content[200] ^= damage == "flipped"
    file.write_bytes({"cut": content[:-1], "empty": b""}.get(damage, content))
    np.testing.assert_array_equal(decoded(images, 24, "bicubic", said.append), due)
    assert "damaged" in said[0]


def test_robust_left_by_a_kill_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from clipbench.files import partial_name

    monkeypatch.setenv("CLIPBENCH_CACHE", str(tmp_path / "cache"))
    root = pictures(tmp_path / "my", {"a": 1})
    images = ImageSet("my", root, ["a/0.png"], [0], ["a"])
    decoded(images, 24, "bicubic", silent)
    pid = os.getpid()
    dead = tmp_path / "cache/images" / partial_name("x.npy").replace(f"-{pid}-", "-4194304-")
    dead.write_bytes(b"half")
    decoded(images, 24, "bicubic", silent)
    assert not dead.exists()


# A user's own data


def unpacked(name: str, into: Path) -> Path:
    with tarfile.open(case(name) / "my.tar") as tar:
        tar.extractall(into, filter="data")
    return into / "my"


def test_b05_a_name_that_is_no_utf8_is_named_escaped(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"caf\\+xe9.* is not UTF-8.*Rename") as refused:
        user_images(UserData(unpacked("b05", tmp_path)))
    str(refused.value).encode()


def test_b22_names_of_the_same_tokens_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="are one name in the prompt"):
        user_images(UserData(unpacked("b22", tmp_path)))


@pytest.mark.parametrize(
    "names",
    [
        ("café", "cafe\u0301"),
        ("baby's", "baby\u2019s"),
        ("salt & co", "salt &amp; co"),
        ("t-shirt", "T - Shirt"),
    ],
)
def test_names_are_compared_as_the_tokeniser_sees_them(tmp_path: Path, names: tuple[str, str]) -> None:
    from open_clip import get_tokenizer

    first, second = get_tokenizer("ViT-B-32")([f"a photo of a {name}." for name in names])
    assert first.tolist() == second.tolist()
    with pytest.raises(UserError, match="are one name in the prompt"):
        user_images(UserData(pictures(tmp_path / "my", dict.fromkeys(names, 5))))


def test_b42_folders_of_parts_are_the_parts() -> None:
    images = user_images(UserData(case("b42") / "my"))
    assert set(images.parts) == {"train", "val", "test"}
    assert all(file.split("/")[0] == part for file, part in zip(images.files, images.parts, strict=True))
    assert "user's own" in images.rebuilt
    assert list(images.classes) == ["alpha", "beta", "gamma"]


@pytest.mark.parametrize("kind", ["json", "csv", "tsv"])
def test_b42_a_split_file_says_the_parts(tmp_path: Path, kind: str) -> None:
    root = pictures(tmp_path / "my", {"cat": 4, "dog": 4})
    lists: dict[str, Any] = {
        "train": [["cat/0.png", 0, "cat"], ["dog/0.png", 1, "dog"], ["dog\\1.png", 1, "dog"]],
        "val": [["cat/1.png", 0, "cat"], ["dog/2.png", 1, "dog"]],
        "test": [["cat/2.png", 0, "cat"], ["dog/3.png", 1, "dog"]],
    }
    path = tmp_path / f"split.{kind}"
    between = "\t" if kind == "tsv" else ","
    rows = [between.join(("Image", "Label", "Split"))]
    rows += [between.join((file, name, part)) for part, items in lists.items() for file, _, name in items]
    path.write_text(json.dumps(lists) if kind == "json" else "\ufeff" + "\n".join(rows), encoding="utf-8")
    images = user_images(UserData(root, path))
    assert Counter(images.parts) == {"train": 3, "val": 2, "test": 2}
    assert images.files[:3] == ["cat/0.png", "dog/0.png", "dog/1.png"]
    lists["test"][0][0] = "cat/9.png"
    path.write_text(json.dumps(lists) if kind == "json" else "\n".join(rows).replace("cat/2", "cat/9"))
    with pytest.raises(UserError, match=r"1 images that are not in .*cat/9\.png"):
        user_images(UserData(root, path))


def test_folders_of_file_servers_are_no_classes(tmp_path: Path) -> None:
    root = pictures(tmp_path / "my", {"a": 5, "b": 5, "@eaDir": 2, "a/@eaDir/0.png": 1})
    assert list(user_images(UserData(root)).classes) == ["a", "b"]
    assert left_out(UserData(root)) == ""


# Split files


@pytest.mark.parametrize("form", ["backslash", "absolute", "windows", "mark"])
def test_b38_split_files_of_other_machines_are_read(tmp_path: Path, form: str) -> None:
    lists = split_lists({"Faces": "face", "accordion": "accordion"})
    plain = tmp_path / "plain.json"
    write_split(plain, lists)
    due = content_digest([plain])
    above = {"absolute": "/home/someone/caltech-101/101_ObjectCategories/", "windows": "C:\\data\\101\\"}.get(form, "")
    between = "\\" if form in ("backslash", "windows") else "/"
    other = {p: [[above + f.replace("/", between), n, c] for f, n, c in items] for p, items in lists.items()}
    path = tmp_path / "other.json"
    path.write_text(json.dumps(other), encoding="utf-8-sig" if form == "mark" else "utf-8")
    assert read_split(path) == read_split(plain)
    assert content_digest([path]) == due


@pytest.mark.parametrize("file", ["../../secret/1.jpg", "a/../../1.jpg"])
def test_split_files_do_not_leave_the_data_set(tmp_path: Path, file: str) -> None:
    write_split(tmp_path / "s.json", {"train": [["a/1.jpg", 0, "a"]], "val": [], "test": [[file, 0, "a"]]})
    with pytest.raises(UserError, match="outside of the data set"):
        read_split(tmp_path / "s.json")


def test_robust_empty_parts_are_refused(tmp_path: Path) -> None:
    images = ImageSet("made", tmp_path, ["a/1.jpg"], [0], ["a"], parts=["test"])
    for rule in ("coop", "clip-lora"):
        with pytest.raises(UserError, match="train part has no image"):
            split(images, Protocol(split_rule=rule, shots=1, limit=1), 1)
    images = ImageSet("made", tmp_path, ["a/1.jpg"], [0], ["a"], parts=["train"])
    with pytest.raises(UserError, match="test part has no image"):
        split(images, Protocol(split_rule="official"), 1)


# Archives


def nameless() -> bytes:
    """A zip archive whose one member has an empty name."""

    class Info(zipfile.ZipInfo):
        def is_dir(self) -> bool:
            return False

    info, out = Info("x"), io.BytesIO()
    info.filename = ""
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(info, b"content")
    return out.getvalue()


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
        (b"Rar!\x1a\x07", "RAR"),
        (b"PK\x07\x08PK", "several parts"),
        (b"\x1f\x9d\x90", r"compress \(.Z\)"),
    ],
)
def test_b34_archives_of_other_kinds_are_named(tmp_path: Path, head: bytes, said: str) -> None:
    (tmp_path / "made.zip").write_bytes(head + bytes(400))
    with pytest.raises(UserError, match=f"{said}.*Unpack it yourself") as refused:
        get(made(source("http://localhost/x")), tmp_path / "root", silent, tmp_path / "made.zip")
    assert "damaged" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gzip.compress(zipped(made_files())), "what is inside is no tar archive.*Unpack it once"),
        (b"version https://git-lfs.github.com/spec/v1", "no archive but a git-lfs pointer"),
        (b'{"message": "quota exceeded"}', "no archive but JSON"),
        (b"PAR1" + bytes(400), "no archive but a Parquet table"),
    ],
)
def test_what_is_no_archive_is_called_what_it_is(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "made.zip").write_bytes(content)
    with pytest.raises(UserError, match=said) as refused:
        get(made(source("http://localhost/x")), tmp_path / "root", silent, tmp_path / "made.zip")
    assert "damaged" not in str(refused.value)


def test_a_part_of_an_archive_is_told_by_its_neighbours(tmp_path: Path) -> None:
    whole = zipped(made_files())
    for number, part in enumerate((whole[: len(whole) // 2], whole[len(whole) // 2 :]), start=1):
        (tmp_path / f"made.zip.00{number}").write_bytes(part)
    with pytest.raises(UserError, match=r"one of several parts: join them in order \(cat made\.zip\.\* >"):
        get(made(source("http://localhost/x")), tmp_path / "root", silent, tmp_path / "made.zip.001")


def test_b34_a_tar_under_another_name_is_unpacked(tmp_path: Path) -> None:
    (tmp_path / "made.zip").write_bytes(tarred(made_files()))
    found = get(made(source("http://localhost/x")), tmp_path / "root", silent, tmp_path / "made.zip")
    assert found.presence.state == "complete"


def test_robust_gzips_own_checksum_is_read(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(tarred(made_files(), "w"), 0))
    packed[packed.find(b"\xff\xd8\xff") + 300] ^= 1
    (tmp_path / "made.tar.gz").write_bytes(bytes(packed))
    with pytest.raises(UserError, match="cut or damaged"):
        get(
            made(source("http://localhost/x", name="made.tar.gz", archive="tar")),
            tmp_path / "root",
            silent,
            tmp_path / "made.tar.gz",
        )


@pytest.mark.parametrize(
    "content",
    [zipped({}), tarred({}), tarred({"": b"x"}), nameless()],
    ids=["an empty zip", "an empty tar", "a tar member without a name", "a zip member without a name"],
)
def test_empty_archives_and_names_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "made.zip").write_bytes(content)
    with pytest.raises(UserError, match=r"holds no file|has no name"):
        get(made(source("http://localhost/x")), tmp_path / "root", silent, tmp_path / "made.zip")


def test_robust_a_file_in_the_way_is_said_before_a_download(tmp_path: Path) -> None:
    write(tmp_path / "root/MADE", "mine")
    with pytest.raises(UserError, match=r"MADE is a file.*nothing has been downloaded"):
        get(made(source("http://localhost:1/x")), tmp_path / "root", silent)
    assert (tmp_path / "root/MADE").read_text() == "mine"


def test_verify_of_a_set_that_is_not_there_fails(tmp_path: Path, capsys: Captured) -> None:
    code, _, said = call(capsys, "data", "verify", "ucm", "--data", tmp_path)
    assert (code, "is missing" in said) == (2, True)
