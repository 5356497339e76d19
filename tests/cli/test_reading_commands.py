"""The commands that read only: what they print, and what they do not import."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest

from clipbench.cli.list import line
from clipbench.cli.main import main
from clipbench.cli.parser import build_parser
from clipbench.plan.needs import Here
from clipbench.registry import load_papers
from tests.cli.commands_for_tests import CELL, NEAR, Captured, as_json, call, publish
from tests.factory import record, records


@pytest.mark.parametrize(
    "words",
    [["list"], ["list", "--json"], ["show", "table1", "--protocol"], ["show", "clip-dora", "--json"]],
    ids=" ".join,
)
def test_list_and_show_import_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    publish(tmp_path, records(CELL, NEAR))
    out = ["--out", str(tmp_path)] if words[0] == "list" else []
    assert _imported([*words, *out]).isdisjoint(
        {"torch", "pandas", "matplotlib", "scipy", "sklearn", "open_clip", "timm"}
    )


@pytest.mark.parametrize("kind", ["text", "md", "csv", "json"])
def test_compare_imports_no_torch(kind: str, tmp_path: Path) -> None:
    publish(tmp_path, records(CELL, NEAR))
    found = _imported(["compare", "--paper", "table1", "--format", kind, "--out", str(tmp_path)])
    assert found.isdisjoint({"torch", "matplotlib", "open_clip", "timm"})


def test_the_report_imports_no_torch(tmp_path: Path) -> None:
    publish(tmp_path, records(CELL, NEAR))
    assert _imported(["report", str(tmp_path), "--tables", "table1"]).isdisjoint({"torch", "open_clip", "timm"})


def _imported(words: list[str]) -> set[str]:
    """The top-level modules in memory after a command."""
    code = (
        "import sys; from clipbench.cli.main import main; code = main(sys.argv[1:]); "
        "print(code, *{m.partition('.')[0] for m in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    exit_code, *modules = done.stderr.split()
    assert exit_code == "0"
    return set(modules)


def test_list_as_json_counts_printed_measured_and_runnable(capsys: Captured, tmp_path: Path) -> None:
    publish(tmp_path, records(CELL, NEAR))
    found = {e["table"]: e for e in as_json(capsys, "list", "--json", "--out", tmp_path, "--data", tmp_path)}
    assert set(found) >= {"lora-clip/table1", "lora-clip/figure3", "clip-dora/table4", "clip-dora/figure2"}
    table1 = found["lora-clip/table1"]
    assert (table1["quoted"], table1["measured"], table1["cells"]) == (31, 1, 66)
    assert (table1["runnable"], table1["data_missing"], table1["not_implemented"]) == (0, 66, 0)
    assert table1["aliases"] == ["table1"]
    assert found["lora-clip/table2"]["measured"] == 1  # the r = 8 row is Table II's last
    assert sum(e["printed"] for e in found.values()) > 790


def test_list_names_what_it_does_not_trust(capsys: Captured, tmp_path: Path) -> None:
    publish(tmp_path, records(CELL, NEAR))
    torn = tmp_path / "results" / record(CELL).id / "record.json"
    torn.write_text("{")
    for words in (("list",), ("list", "--json"), ("compare", "table1", "--format", "json")):
        code, out, err = call(capsys, *words, "--out", tmp_path)
        assert code == 0
        assert f"not used: {torn.parent}" in err
        assert "not used" not in out
        assert words == ("list",) or json.loads(out)


def test_folders_that_have_nothing_to_do_with_results_are_none_of_our_business(
    capsys: Captured, tmp_path: Path
) -> None:
    (tmp_path / "holiday pictures").mkdir()
    code, out, err = call(capsys, "compare", "table1", "--out", tmp_path)
    assert (code, err) == (0, "")
    assert "holiday" not in out


def test_show_prints_the_papers_numbers_and_every_field_with_its_basis(capsys: Captured) -> None:
    code, out, _ = call(capsys, "show", "table1", "--protocol")
    assert code == 0
    for part in ("99.37 ± 0.18", "98.20±12", "quoted from", "batch_size", "assumed", "sec. III-A", "alpha-over-sqrt-r"):
        assert part in out
    found = as_json(capsys, "show", "table1", "--json")
    cell = next(c for c in found["cells"] if (c["row"], c["column"]) == CELL[1:])
    assert cell["protocol"]["batch_size"]["basis"] == "assumed"
    assert cell["protocol"]["lr"] == {"value": 2e-4, "basis": "stated", "source": "sec. III-A"}
    assert cell["runs"]["1"] == record(CELL).id


def test_a_wrong_name_is_answered_with_a_near_one(capsys: Captured) -> None:
    for command in ("show", "run", "compare", "table", "list"):
        code, out, err = call(capsys, command, "lora-clip/tabel1")
        assert (code, out) == (2, "")
        assert "no table or figure is called 'lora-clip/tabel1'. Did you mean lora-clip/table1?" in err


def test_no_command_prints_help_and_version_works(capsys: Captured) -> None:
    code, out, _ = call(capsys)
    assert code == 2
    assert "clipbench run table1 --smoke" in out
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0


def test_every_table_of_extra_rows_has_a_figure_and_is_listed_as_not_in_the_paper(tmp_path: Path) -> None:
    for paper in load_papers():
        for experiment in paper.tables.values():
            if experiment.rows and all(row.extra for row in experiment.rows):
                drawn = [e for e in paper.tables.values() if e.source == experiment.name]
                assert drawn, experiment.id
                for each in (experiment, *drawn):
                    found = line(paper, each, [], [], Here(tmp_path))
                    assert found.printed_as == f"not in the paper ({each.printed})"


def test_json_is_format_json_in_every_command_that_prints_something_to_read() -> None:
    (commands,) = (a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    silent = {"work", "quickstart", "completion", "data"}
    for name, command in commands.choices.items():
        options = {option: action for action in command._actions for option in action.option_strings}
        if name not in silent:
            assert {"text", "json"} <= set(options["--format"].choices), name
            assert (options["--json"].dest, options["--json"].const) == ("format", "json"), name
