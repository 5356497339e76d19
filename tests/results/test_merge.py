"""Results folders put together: each run once, differing ones reported, nothing taken that is not whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clipbench.cli.main import main
from clipbench.errors import UserError
from clipbench.results.merge import merge
from clipbench.results.record import Record
from clipbench.results.store import Draft, Store
from tests.factory import record


def folder(path: Path, *records: Record, content: bytes = b"predictions") -> Path:
    Store(path).publish([Draft(one, {"predictions.npz": content}) for one in records])
    return path


def test_each_run_comes_once_with_its_files(tmp_path: Path) -> None:
    a = folder(tmp_path / "a/results", record(seed=1), record(seed=2))
    b = folder(tmp_path / "b/results", record(seed=2, seconds=99.0), record(seed=3))
    found = merge(tmp_path / "all", [a, b])
    assert (len(found.taken), found.alike, found.differ, found.faults) == (3, [record(seed=2).id], {}, [])
    merged, faults = Store(tmp_path / "all").scan()
    assert {r.seed for r in merged} == {1, 2, 3}
    assert faults == []
    assert [r.cost.seconds for r in merged if r.seed == 2] == [10.0]  # the first stays
    assert (tmp_path / "all" / record(seed=3).id / "predictions.npz").read_bytes() == b"predictions"
    assert {r.seed for r in Store(a).scan()[0]} == {1, 2}
    again = merge(tmp_path / "all", [a, b])
    assert (again.taken, len(again.alike)) == ([], 4)


@pytest.mark.parametrize(
    ("other", "content", "said"),
    [
        (record(seed=1, score=91.0), b"predictions", "accuracy 90.0 here, 91.0 there"),
        (record(seed=1, images_sha256="2" * 64), b"predictions", "its data is another"),
        (record(seed=1), b"others", "its files is another"),
    ],
)
def test_two_that_differ_are_said_and_the_first_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], other: Record, content: bytes, said: str
) -> None:
    folder(tmp_path / "here/results", record(seed=1))
    there = folder(tmp_path / "there/results", other, record(seed=2), content=content)
    assert main(["merge", str(there.parent), "--out", str(tmp_path / "here")]) == 1
    printed = capsys.readouterr().out
    assert "1 records taken, 0 were there alike, 1 differ" in printed
    assert said in printed
    assert {r.seed: r.metrics["accuracy"] for r in Store(tmp_path / "here/results").scan()[0]} == {1: 90.0, 2: 90.0}


def test_an_edited_record_and_a_torn_file_are_no_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there = folder(tmp_path / "there/results", record(seed=1), record(seed=2), record(seed=3))
    edited, torn = there / record(seed=1).id / "record.json", there / record(seed=2).id / "predictions.npz"
    values = json.loads(edited.read_text())
    values["metrics"]["accuracy"] = 99.9
    edited.write_text(json.dumps(values))
    torn.write_bytes(b"pred")
    assert main(["merge", str(tmp_path / "there"), "--out", str(tmp_path / "here")]) == 1
    printed = capsys.readouterr().out
    assert "1 records taken" in printed
    assert printed.count("no record: ") == 2
    assert {r.seed for r in Store(tmp_path / "here/results").scan()[0]} == {3}


def test_a_folder_without_records_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "slip").mkdir()
    assert main(["merge", str(tmp_path / "slip"), "--out", str(tmp_path / "here")]) == 1
    assert "slip holds none" in capsys.readouterr().out


def test_what_is_no_folder_and_the_folder_itself_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no folder"):
        merge(tmp_path / "here", [tmp_path / "absent"])
    here = folder(tmp_path / "here", record(seed=1))
    with pytest.raises(UserError, match="the folder that is merged into"):
        merge(here, [here])
