"""``clipbench data``: what it prints, what it writes, its exit codes."""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clipbench.cli import data, data_text
from clipbench.data.catalogue import Entry, entry, known
from clipbench.data.painted import SUBSETS
from clipbench.errors import UserError
from tests.data.download.made import images, made, source, tree, zipped
from tests.data.download.server import Server, serving

Captured = pytest.CaptureFixture[str]


def call(capsys: Captured, *words: str | Path) -> tuple[int, str, str]:
    parser = argparse.ArgumentParser()
    data.add_arguments(parser)
    try:
        code = data.main(parser.parse_args([str(word) for word in words]))
    except UserError as error:
        print(error, file=sys.stderr)
        code = 2
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return code, said.out, said.err


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as one:
        yield one


@pytest.fixture
def only_made(monkeypatch: pytest.MonkeyPatch, server: Server) -> Entry:
    """A catalogue of one data set, which the server has."""
    content = zipped(images())
    url = server.put("made.zip", content)
    one = made(source(url, checksum=f"md5:{hashlib.md5(content).hexdigest()}"))  # noqa: S324 - as catalogues state it
    assert data_text.entry is entry  # imported before the catalogue is replaced
    monkeypatch.setattr("clipbench.data.catalogue.entry", lambda _: one)
    monkeypatch.setattr("clipbench.data.catalogue.known", lambda: ("made",))
    return one


# get and verify


def test_get_then_verify(capsys: Captured, tmp_path: Path, only_made: Entry) -> None:
    code, out, err = call(capsys, "get", "made", "--data", tmp_path)
    assert code == 0
    assert f"Made Set: 5 of 5 images in {tmp_path / 'MADE'}, complete." in out
    assert "unpacking made.zip" in err
    assert tree(tmp_path) == images()
    code, out, _ = call(capsys, "get", "made", "--data", tmp_path)
    assert (code, "There was nothing to do." in out) == (0, True)
    code, out, _ = call(capsys, "verify", "--data", tmp_path)
    assert (code, "all right; 5 of 5 images" in out) == (0, True)
    found = json.loads(call(capsys, "verify", "made", "--data", tmp_path, "--json")[1])
    assert (found["made"]["right"], found["made"]["presence"]["images"]) == (True, 5)


def test_verify_exits_with_one_where_something_is_wrong(capsys: Captured, tmp_path: Path, only_made: Entry) -> None:
    call(capsys, "get", "made", "--data", tmp_path)
    (tmp_path / "MADE" / "Lake" / "lake_2.jpg").write_bytes(b"damaged")
    code, out, _ = call(capsys, "verify", "made", "--data", tmp_path)
    assert code == 1
    assert "something is wrong" in out
    assert "lake_2.jpg cannot be read" in " ".join(out.split())
    assert call(capsys, "verify", "made", "--quick", "--data", tmp_path)[0] == 0
    (tmp_path / "MADE" / "Lake" / "lake_2.jpg").unlink()
    code, out, _ = call(capsys, "verify", "--quick", "--data", tmp_path)
    assert code == 1
    assert "incomplete; 4 of 5 images" in out
    assert "Lake 1 of 2" in out


def test_verify_of_a_missing_set_is_a_paragraph_where_it_is_named(
    capsys: Captured, tmp_path: Path, only_made: Entry
) -> None:
    code, out, err = call(capsys, "verify", "made", "--data", tmp_path)
    assert (code, out) == (2, "")
    assert "the data set Made Set is missing" in err
    code, out, _ = call(capsys, "verify", "--data", tmp_path)
    assert (code, out) == (0, f"not in {tmp_path}: made\n")


def test_get_of_what_cannot_be_had_is_a_paragraph_and_the_others_come(
    capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    entries = {
        "gone": made(source(server.url("nowhere"))),
        "there": made(source(server.put("a", zipped(images())))),
    }
    monkeypatch.setattr("clipbench.data.catalogue.entry", entries.__getitem__)
    code, out, err = call(capsys, "get", "gone", "there", "--data", tmp_path)
    assert code == 2
    assert "HTTP 404" in err
    assert "Write to its authors." in err
    assert "5 of 5 images" in out


def test_get_takes_a_file_from_the_users_hand(capsys: Captured, tmp_path: Path, only_made: Entry) -> None:
    archive = tmp_path / "from a browser.zip"
    archive.write_bytes(zipped(images()))
    code, out, _ = call(capsys, "get", "made", "--from", archive, "--data", tmp_path / "root", "--json")
    assert code == 0
    assert json.loads(out)["made"]["presence"]["state"] == "complete"


def test_get_of_a_real_entry_without_an_address_says_what_a_person_can_do(capsys: Captured, tmp_path: Path) -> None:
    code, _, err = call(capsys, "get", "aid", "--data", tmp_path)
    assert code == 2
    for part in ("no program can fetch AID", "by request as of 2026-11-22", "--from", entry("aid").home):
        assert part in err
    assert not list(tmp_path.iterdir())


def test_a_wrong_name_lists_the_right_ones(capsys: Captured, tmp_path: Path) -> None:
    for action in ("get", "verify"):
        code, _, err = call(capsys, action, "imagnet", "--data", tmp_path)
        assert code == 2
        assert "it knows aid" in err


def test_verify_of_everything_names_images_that_are_no_known_set(
    capsys: Captured, tmp_path: Path, only_made: Entry
) -> None:
    call(capsys, "get", "made", "--data", tmp_path)
    (tmp_path / "mnist_png" / "0").mkdir(parents=True)
    (tmp_path / "mnist_png" / "0" / "1.png").touch()
    (tmp_path / "papers").mkdir()
    said = "holds images, but is no known data set: mnist_png"
    code, out, _ = call(capsys, "verify", "--data", tmp_path)
    assert (code, out.splitlines()[-1]) == (0, said)
    assert said not in call(capsys, "verify", "made", "--data", tmp_path)[1]


# list


def test_list_names_every_data_set_its_state_and_standing(capsys: Captured, tmp_path: Path) -> None:
    code, out, _ = call(capsys, "list", "--data", tmp_path)
    assert code == 0
    for name in known():
        assert f"\n{name} " in out
    for part in (str(tmp_path), "0 of 1,331,167", "by-request, 2026-11-22", "mirror, 2026-06-25", "ViT-L-14-quickgelu"):
        assert part in out


def test_list_of_an_experiment_says_what_it_still_needs(
    capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    found = json.loads(call(capsys, "list", "table1", "clip-dora/table4", "--data", tmp_path, "--json")[1])
    assert {d["dataset"] for d in found["data"]} == {
        *("ucm", "aid", "resisc45", "optimal31"),
        *("kvasir", "clinicdb", "isic2016", "busi"),
    }
    needs: dict[str, Any] = {e["experiment"]: e for e in found["experiments"]}
    assert set(needs["lora-clip/table1"]["needs_data"]) == {"ucm", "aid", "resisc45", "optimal31"}
    assert {name for name in needs["lora-clip/table1"]["needs_weights"] if "resnet" not in name} == {
        *("ViT-L-14-quickgelu openai", "vit_base_patch16_224 augreg_in21k_ft_in1k")
    }
    assert all(d["state"] == "missing" and d["standing_source"] and d["by_hand"] for d in found["data"])


def test_list_says_where_a_standing_was_not_re_checked(
    capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    lines = call(capsys, "list", "--data", tmp_path)[1].splitlines()
    told = {
        line.split()[0]: line.endswith(", not re-checked") for line in lines if line.split()[:1] and "0 of " in line
    }
    rechecked = {name: entry(name).acquisition.rechecked for name in known()}  # type: ignore[union-attr]
    assert told == {name: not asked for name, asked in rechecked.items()}
    assert set(told.values()) == {True, False}
    found = json.loads(call(capsys, "list", "--data", tmp_path, "--json")[1])
    assert {one["dataset"]: one["rechecked"] for one in found["data"]} == rechecked


def test_list_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import argparse, sys; from clipbench.cli import data; p = argparse.ArgumentParser(); "
        "data.add_arguments(p); data.main(p.parse_args(sys.argv[1:])); "
        "print(*{m.partition('.')[0] for m in sys.modules}, file=sys.stderr)"
    )
    words = [sys.executable, "-c", code, "list", "--data", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert set(done.stderr.split()).isdisjoint({"torch", "open_clip", "timm", "torchvision", "scipy", "matplotlib"})


# cite and smoke


def test_cite_prints_each_entry_once_and_papers_first(capsys: Captured) -> None:
    code, out, _ = call(capsys, "cite", "lora-clip/table1", "lora-clip/table2")
    assert code == 0
    entries = [line for line in out.splitlines() if line.startswith("@")]
    assert len(entries) == len(set(entries))
    assert "loraclip" in entries[0]
    for part in ("xia2017aid", "yang2010bag", "cheng2017remote", "wang2019scene", "radford2021learning", "steiner2022"):
        assert part in out
    assert out.count("{") == out.count("}")
    code, _, err = call(capsys, "cite", "tabel1")
    assert (code, "Did you mean" in err) == (2, True)


def test_smoke_writes_every_embedded_subset(capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = {name: SUBSETS[name] for name in ("ucm", "optimal31")}
    monkeypatch.setattr("clipbench.data.painted.SUBSETS", few)
    code, out, _ = call(capsys, "smoke", tmp_path)
    assert code == 0
    for name in few:
        (line,) = [line for line in out.splitlines() if line.startswith(f"{name}: ")]
        assert list(Path(line.partition(": ")[2]).rglob("*.*"))


# What tables lack


def test_get_takes_tables_says_sizes_and_asks(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clipbench.data.download import get as module
    from clipbench.data.download import sizes

    fetched: list[str] = []

    def get(one: Any, *_: object) -> Any:
        fetched.append(one.id)
        raise UserError("not today")

    monkeypatch.setattr(module, "get", get)
    monkeypatch.setattr(sizes, "_by_server", lambda url: 600_000_000 if "zip" in url else None)
    code, _, said = call(capsys, "get", "lora-clip/table1", "--data", tmp_path)
    assert (code, fetched) == (2, [])
    assert "ucm: 600 MB" in said
    assert "add --yes" in said
    code, _, said = call(capsys, "get", "lora-clip/table1", "--yes", "--data", tmp_path)
    assert code == 2
    assert {"ucm", "aid", "optimal31"} <= set(fetched)
    code, _, said = call(capsys, "get", "nonsense", "--data", tmp_path)
    assert (code, "it knows aid, busi" in said) == (2, True)
