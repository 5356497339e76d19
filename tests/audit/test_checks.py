"""Each check on made-up tables with known answers, and a user's own CSV in both forms."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from clipbench.audit.user_table import audit_csv
from clipbench.cli.main import main
from clipbench.errors import UserError
from clipbench.report.audit import render

LONG = """\
table,row,column,value,n,test_size,average_of,difference_of,same_as
A,ours,ucm,99.37 ± 0.18,5,420,,,x
A,ours,optimal,97.20,5,372,,,
A,ours,avg,98.29,,,ucm|optimal,,
A,base,ucm,99.52,5,,,,
A,base,optimal,96.83,,372,,,
A,base,avg,98.00,,,ucm|optimal,,
A,gain,ucm,-0.15,,,,ours|base,
B,again,ucm,99.38,5,420,,,x
"""


def audit(tmp_path: Path, text: str) -> dict[tuple[str, str], tuple[str, str]]:
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8")
    return {(f.check, f.where): (f.severity, f.found) for f in audit_csv(path)}


def test_one_number_per_line(tmp_path: Path) -> None:
    found = audit(tmp_path, LONG)
    assert found["mean", "A, ours, ucm"][0] == "impossible"
    assert found["std", "A, ours, ucm"] == ("cannot be checked", "its mean is not reachable, so no counts can be tried")
    assert found["mean", "A, ours, optimal"][0] == "fine"
    assert found["mean", "A, base, ucm"] == ("cannot be checked", "test_size is not given")
    assert found["mean", "A, base, optimal"][0] == "cannot be checked"
    assert found["average", "A, ours, avg"] == ("fine", "re-adds from the printed parts")
    assert found["average", "A, base, avg"] == ("inconsistent", "does not re-add: the parts give 98.175")
    assert found["average", "A, gain, ucm"][0] == "fine"
    assert found["repeat", "A, ours, ucm and B, again, ucm"][0] == "inconsistent"


def test_the_table_as_it_is_printed(tmp_path: Path) -> None:
    wide = "method,UCM,OPTIMAL,Avg\nn,5,5,\ntest_size,420,372,\nours,97.94±0.12,97.20,97.57\nbase,--,96.83,\n"
    found = audit(tmp_path, wide)
    assert found["mean", "ours, UCM"][0] == "impossible"
    assert found["mean", "ours, OPTIMAL"][0] == "fine"
    assert found["average", "ours, Avg"][0] == "fine"
    assert not [where for _, where in found if where == "base, UCM"]


@pytest.mark.parametrize(
    ("average", "due"),
    [
        ("50.1", ("fine", "re-adds from the printed parts")),
        ("50.03", ("fine", "re-adds only if it was formed from unrounded parts")),
        ("50.13", ("inconsistent", "does not re-add: the parts give 50.067")),
        ("50.0", ("inconsistent", "re-adds only if it was cut off instead of rounded")),
    ],
)
def test_rounded_unrounded_and_cut_averages(tmp_path: Path, average: str, due: tuple[str, str]) -> None:
    """(49.8 + 50.1 + 50.3) / 3 = 50.0667; unrounded parts could move it by 0.05; cut parts need tighter ones."""
    parts = ("49.80", "50.10", "50.30") if average == "50.0" else ("49.8", "50.1", "50.3")
    found = audit(tmp_path, f"m,a,b,c,Avg\nx,{','.join(parts)},{average}\n")
    assert found["average", "x, Avg"] == due


def test_numbers_that_any_count_gives_are_not_called_fine(tmp_path: Path) -> None:
    found = audit(tmp_path, "row,column,value,n,test_size\na,b,95.3,3,8100\n")
    assert found["mean", "a, b"] == ("cannot be checked", "every number of that many decimals is reachable")


def test_divisors_that_do_not_go_together(tmp_path: Path) -> None:
    """Runs of 100 images: 90, 91 has 0.71 (n - 1) or 0.50 (n)."""
    found = audit(tmp_path, "row,column,value,n,test_size\na,b,90.50 ± 0.71,2,100\nc,d,90.50 ± 0.50,2,100\n")
    assert found["std", "a, b"] == ("fine", "reachable only when divided by n - 1 (sample)")
    assert found["std", "c, d"] == ("fine", "reachable only when divided by n (population)")
    assert found["std", "all standard deviations"][0] == "inconsistent"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("row,column,value,colour\na,b,1,red\n", "line 1: unknown or doubled column 'colour'"),
        ("row,column,value\na,b,ninety\n", "line 2: 'ninety' is no printed number"),
        ("row,column,value,n\na,b,90.1,many\n", "n = 'many' is no whole number"),
        ("row,column,value\na,b,90.1\na,b,90.2\n", "line 3: the cell a / b stands twice"),
        ("row,column,value,average_of\na,b,90.1,c|d\n", "neither columns nor rows"),
        ("row,column,value,difference_of\na,b,90.1,c\n", "difference_of takes two names"),
        ("row,column,value\na,b\n", "line 2: 2 fields, but the header has 3"),
        ("row,column,value\n", "holds no numbers"),
    ],
)
def test_faults_name_the_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message.replace("|", r"\|")):
        audit(tmp_path, text)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "my_table.csv"
    path.write_text(LONG, encoding="utf-8")
    assert main(["audit", "--csv", str(path)]) == 0
    assert "IMPOSSIBLE" in capsys.readouterr().out
    assert main(["audit", "--csv", str(path), "--strict", "--format", "json"]) == 1
    assert json.loads(capsys.readouterr().out)[0]["summary"]["impossible"] == 1
    assert main(["audit", "no-such-paper"]) == 2
    assert "lora-clip, clip-dora" in capsys.readouterr().err
    assert main(["audit", "--csv", str(tmp_path / "none.csv")]) == 2
    with pytest.raises(SystemExit):
        main(["audit", "--help"])
    assert "average_of" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["text", "md"])
def test_rendered_for_a_reader(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(LONG, encoding="utf-8")
    text = render({"mine": audit_csv(path)}, kind)
    assert "2,086/2,100 = 99.3333, 2,087/2,100 = 99.3810" in " ".join(text.split())
    assert "cannot be checked" in text.lower()


def test_a_reader_that_has_enough_does_not_change_the_exit_code(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(LONG, encoding="utf-8")
    command = f'"{sys.executable}" -m clipbench audit --csv "{path}" --all --strict | head -1; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == ""


def test_the_command_takes_files_by_their_names_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, draft = tmp_path / "a.csv", tmp_path / "b.tex"
    table.write_text("method,A,B,Avg\nours,90.0,80.0,86.0\n")
    draft.write_text(
        "\\begin{tabular}{lccc} Method & A & B & Avg \\\\ Ours$^\\dagger$ & 92.6 & 72.4 & 83.5 \\\\ \\end{tabular}"
    )
    assert main(["audit", str(table), str(draft), "--strict"]) == 1
    out = capsys.readouterr().out
    assert "ours, Avg: 86.0" in out
    assert "Ours, Avg: 83.5" in out
    assert main(["audit", str(tmp_path / "typo.csv")]) == 2
    assert "there is no file" in capsys.readouterr().err
    assert main(["audit", "lora-clip", str(table)]) == 2
