"""``import clipbench``: run, compare and load_results, as the command line does them."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

import clipbench
from clipbench.cli.api import Options
from clipbench.cli.parser import build_parser
from clipbench.errors import UserError
from tests.cli.commands_for_tests import CELL, NEAR, publish
from tests.factory import records


def test_importing_it_imports_nothing_heavy() -> None:
    code = "import sys, clipbench; print(sorted({'torch', 'pandas', 'clipbench.cli'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_options_are_those_of_the_command() -> None:
    commands = next(a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    named = {action.dest for action in commands.choices["run"]._actions} - {"help", "tables", "only", "out"}
    printing = {"dry_run", "jobs", "write_jobs", "format"}
    assert set(Options.__annotations__) == named - printing - {"papers_dir"}  # a variable of the environment


def test_a_run_gives_its_records_and_runs_nothing_twice(tmp_path: Path) -> None:
    options = Options(smoke=True, seeds=[1, 2], epochs=1, limit=3, device="cpu", set={"lr": 1e-3})
    found = clipbench.run("table1", only={"dataset": "ucm", "row": ["lora-r4"]}, out=tmp_path, **options)
    assert [r.seed for r in found] == [1, 2]
    assert {r.protocol.lr for r in found} == {1e-3}
    again = clipbench.run("table1", only={"dataset": "ucm", "row": "lora-r4"}, out=tmp_path, **options)
    assert [r.finished for r in again] == [r.finished for r in found]
    frame = clipbench.load_results(tmp_path).to_pandas()
    assert list(frame["seed"]) == [1, 2]
    assert frame["accuracy"].tolist() == [r.metrics["accuracy"] for r in found]
    assert set(frame["dataset"]) == {"ucm"}
    assert {"table", "row", "column", "lr", "seconds", "peak_memory_bytes"} <= set(frame.columns)


def test_compare_gives_the_cells_with_their_verdicts(tmp_path: Path) -> None:
    publish(tmp_path, records(CELL, NEAR))
    (cell,) = clipbench.compare("table1", only={"row": "lora-r8", "column": "ucm-80"}, out=tmp_path)
    assert (cell.verdict, cell.ours and cell.ours.n) == ("reproduced", 5)
    assert {c.cell.row.id for c in clipbench.compare("table1", only={"row": ["lora-r4", "full"]}, out=tmp_path)} == {
        "lora-r4",
        "full",
    }


def test_wrong_words_raise_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no table or figure is called"):
        clipbench.compare("tabel1", out=tmp_path)
    with pytest.raises(UserError, match="wrong option"):
        clipbench.run("table1", out=tmp_path, colour="red")  # type: ignore[call-arg]
    with pytest.raises(UserError, match="4 data sets are missing"):
        clipbench.run("table1", out=tmp_path, data=tmp_path)
    with pytest.raises(UserError, match="there is no folder"):
        clipbench.load_results(tmp_path / "typo")
    with pytest.raises(AttributeError):
        clipbench.nothing  # noqa: B018
