"""Tables and comparisons in every format: the same numbers, escaped, marked, and linked to their runs."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from clipbench.compare.cells import Library
from clipbench.compare.verdict import compare_paper, summary
from clipbench.files import write_bytes
from clipbench.plan.user import additions
from clipbench.registry import Overrides
from clipbench.registry.printed import load_published
from clipbench.report import table as t
from clipbench.report.comparison import render
from clipbench.report.latex import latex, tex
from clipbench.report.markdown import markdown
from clipbench.report.numbers import difference_text, sentence
from clipbench.report.provenance import SMOKE, provenance_of
from clipbench.report.write import write_tables
from clipbench.results.record import Record
from clipbench.results.store import Draft, Store
from tests.factory import PAPERS, record, records, table

CELL = ("lora-clip/table1", "lora-r8", "ucm-80")
PROBE = ("lora-clip/table1", "linear-probe", "aid-20")
NEAR = (99.36, 99.38, 99.37, 99.35, 99.39)
FULL = [*records(CELL, NEAR), *records(PROBE, (90.0, 91.0))]
PRETEND = Overrides(profile="smoke")
TABLES = [e.id for p in PAPERS.values() for e in p.tables.values() if e.rows]


def built(made: Sequence[Record], name: str = "lora-clip/table1") -> t.Table:
    paper, experiment = table(name)
    return t.Table(paper, experiment, load_published(paper), compare_paper([(paper, experiment)], Library(made)))


def unescaped(line: str, character: str) -> int:
    return len(re.findall(rf"(?<!\\){character}", line))


# LaTeX


@pytest.mark.parametrize("name", TABLES)
def test_every_line_of_the_latex_has_as_many_cells_as_the_table_has_columns(name: str) -> None:
    made = built(FULL, name)
    code = latex(made)
    (columns,) = re.findall(r"\\begin\{tabular\}\{([a-z]+)\}", code)
    assert len(columns) == len(made.experiment.columns) + 2
    body = code[code.index("\\toprule") : code.index("\\bottomrule")]
    lines = [line for line in body.splitlines() if line.endswith(r"\\")]
    for line in lines:
        spans = [int(count) for count in re.findall(r"\\multicolumn\{(\d+)\}", line)]
        cells = unescaped(line, "&") + 1 - len(spans) + sum(spans)
        assert cells == len(columns), line
    assert len(lines) > len([row for row in made.experiment.rows if not row.extra])
    assert code.count("{") - code.count(r"\{") == code.count("}") - code.count(r"\}")


@pytest.mark.parametrize("name", TABLES)
def test_the_latex_holds_nothing_that_latex_would_stumble_over(name: str) -> None:
    code = "\n".join(line for line in latex(built(FULL, name)).splitlines() if not line.startswith("%"))
    assert not unescaped(code, "%")
    assert not unescaped(code, "#")
    assert not unescaped(code, "_")
    outside = re.sub(r"\$[^$]*\$", "", code)
    assert "$" not in outside
    assert outside.isascii(), sorted({c for c in outside if not c.isascii()})


def test_latex_escapes_what_a_user_may_write() -> None:
    assert tex(r"50% & $5 #1 a_b {x} ~ ^ \end") == (
        r"50\% \& \$5 \#1 a\_b \{x\} \textasciitilde{} \textasciicircum{} \textbackslash{}end"
    )


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.parametrize("layout", ["twocolumn", "onecolumn"])
def test_the_latex_of_all_tables_compiles_and_nothing_runs_over(layout: str, tmp_path: Path) -> None:
    content = "\\clearpage\n".join(latex(built(FULL, name)) for name in TABLES)
    page = f"\\documentclass[{layout}]{{article}}\\usepackage[utf8]{{inputenc}}\\usepackage{{booktabs,graphicx}}"
    (tmp_path / "a.tex").write_text(f"{page}\n\\begin{{document}}\n{content}\\end{{document}}\n", encoding="utf-8")
    words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "a.tex"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert not re.findall(r"Overfull.*", done.stdout)
    assert "multiply defined" not in done.stdout


@pytest.mark.parametrize("name", ["clip-dora/table2", "lora-clip/table1"])
def test_groups_of_columns_stand_in_every_format(name: str) -> None:
    made = built(FULL, name)
    groups = list(dict.fromkeys(c.group for c in made.experiment.columns if c.group))
    code = latex(made)
    for group in groups:
        count = sum(c.group == group for c in made.experiment.columns)
        assert f"\\multicolumn{{{count}}}{{c}}{{{tex(group)}}}" in code
        assert f"{group}: " in markdown(made).split("| --- |")[0]
        assert group in {row["column_group"] for row in csv.DictReader(t.csv(made).splitlines())}
    assert bool(groups) == ("\\cmidrule" in code)
    assert bool(groups) == (name == "clip-dora/table2")


def test_a_label_and_true_minus_signs() -> None:
    code = latex(built(FULL, "clip-dora/table4"))
    assert "\\label{tab:clip-dora-table4}" in code
    assert "$-$" in code
    assert not re.search(r"(?<![\w$.{\-])-\d", code.partition("\\toprule")[2])


def test_the_best_of_a_column_is_bold_printed_and_measured_apart() -> None:
    made = built([*FULL, *records(("lora-clip/table1", "lora-r4", "ucm-80"), (99.2, 99.3, 99.1, 99.2, 99.2))])
    text = markdown(made)
    column = [c.id for c in made.experiment.columns].index("ucm-80")
    printed, measured = [], []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(" | ")]
        if len(cells) > 2 and cells[1] in ("printed", "measured"):
            (printed if cells[1] == "printed" else measured).append(cells[2 + column].rstrip(" |"))
    (best,) = [cell for cell in measured if cell.startswith("**")]
    assert "99.37 ± 0.02 (5)" in best
    numbers = {float(re.sub(r"[^0-9.].*", "", cell.strip("*"))): cell for cell in printed if re.match(r"\**\d", cell)}
    bold = [value for value, cell in numbers.items() if cell.startswith("**")]
    assert max(numbers) in bold
    assert len(bold) == len({row.group for row in made.experiment.rows if not row.extra})  # each group has its best
    assert "\\textbf{99.37 $\\pm$ 0.02 (5)}" in latex(made)


def test_the_verdict_and_the_difference_stand_below_a_measured_row() -> None:
    assert re.search(r"\|  \| verdict \|.*[+−]0\.00 reproduced", markdown(built(FULL)))


def test_what_a_record_says_leaves_neither_the_comment_of_latex_nor_the_text_of_markdown() -> None:
    made = built(records(CELL, NEAR, device="cpu: x \\input{/etc/passwd} <script>alert(1)</script>"))
    assert [line for line in latex(made).splitlines() if "passwd" in line and not line.startswith("%")] == []
    assert "<script" not in markdown(made)


def test_a_table_of_the_users_own_data_is_headed_as_such(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        for number in range(4):
            path = tmp_path / "pets" / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (number * 20, 90, 200)).save(path)
    paper, experiment = table("clip-dora/table1")
    own = additions(tmp_path / "pets", []).apply(paper, experiment)
    text = markdown(t.Table(paper, own, {}, []))
    assert text.startswith("# ")
    assert "pets, a data set of the user's own" in text.splitlines()[0]
    assert "as in the paper" not in text


# The same numbers in every format


def test_markdown_has_one_width_and_both_numbers_of_a_cell() -> None:
    text = markdown(built(FULL))
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert {unescaped(line, r"\|") for line in lines} == {6 + 2 + 1}
    mine = lines.index(next(line for line in lines if line.startswith("| r=8")))
    assert "99.37 ± 0.18" in lines[mine]
    assert "99.37 ± 0.02 (5)" in lines[mine + 1]
    assert any("(not in the paper)" in line and "90.50 ± 0.71 (2)" in line for line in lines)


def test_csv_has_a_line_for_every_cell() -> None:
    made = built(FULL)
    rows = {(r["row"], r["column"]): r for r in csv.DictReader(t.csv(made).splitlines())}
    assert len(rows) == len(made.cells)
    mine = rows[CELL[1:]]
    assert float(mine["printed"]) == 99.37
    assert float(mine["measured"]) == pytest.approx(sum(NEAR) / 5)
    assert (mine["runs"], mine["profile"], mine["verdict"]) == ("5", "full", "reproduced")
    assert rows["full", "aid-50"]["printed_raw"] == "98.20±12"
    assert float(rows["full", "aid-50"]["printed_std"]) == 0.12
    assert rows["full", "aid-50"]["measured"] == ""


def test_json_links_every_cell_to_runs_that_exist(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    store.publish([Draft(r, {}) for r in FULL])
    written = write_tables(["lora-clip"], tmp_path, None)
    assert sorted(p.name for p in written) == sorted(
        f"{name}.{suffix}" for name in ("table1", "table2") for suffix in ("md", "csv", "tex", "json")
    )
    content = json.loads((tmp_path / "tables" / "lora-clip" / "table1.json").read_text())
    measured = [c for c in content["cells"] if c["measured"]]
    assert {(c["row"], c["column"]) for c in measured} == {CELL[1:], PROBE[1:]}
    for cell in measured:
        for seed, (run_id,) in cell["measured"]["runs"].items():
            found = store.get(run_id)
            assert found is not None
            assert found.seed == int(seed)
            assert found.metrics["accuracy"] == cell["measured"]["values"][seed]
    assert content["commits"] == ["abc"]


def test_a_table_without_a_measured_cell_is_not_written(tmp_path: Path) -> None:
    Store(tmp_path / "results").publish([Draft(r, {}) for r in records(PROBE, (90.0,))])
    assert {p.stem for p in write_tables([], tmp_path, None)} == {"table1"}
    assert write_tables([], tmp_path, "smoke") == []


def test_an_average_links_to_the_runs_of_all_its_parts() -> None:
    where = [("clip-dora/table4", row, "clip-dora") for row in ("kvasir", "clinicdb", "isic2016", "busi")]
    made = [record(w, seed, 80.0 + seed) for w in where for seed in (1, 2, 3)]
    content = json.loads(t.to_json(built(made, "clip-dora/table4")))
    (cell,) = [c for c in content["cells"] if (c["row"], c["column"]) == ("avg", "clip-dora")]
    runs = cell["measured"]["runs"]
    assert {seed: set(found) for seed, found in runs.items()} == {
        str(seed): {r.id for r in made if r.seed == seed} for seed in (1, 2, 3)
    }


# Marks


def test_smoke_numbers_are_marked_in_every_format() -> None:
    made = built(records(CELL, (40.0, 41.0), overrides=PRETEND))
    assert SMOKE in markdown(made)
    assert f"% {SMOKE}" in latex(made)
    assert "smoke profile" in latex(made).split("\\caption")[1].splitlines()[0]
    (row,) = [r for r in csv.DictReader(t.csv(made).splitlines()) if r["measured"]]
    assert (row["profile"], row["verdict"]) == ("smoke", "not comparable")
    content = json.loads(t.to_json(made))
    assert content["profiles"] == ["smoke"]
    counts = summary(made.cells)
    for kind in ("text", "md"):
        assert "SMOKE PROFILE" in render(made.cells, counts, kind, 0.5)
    for kind in ("csv", "json"):
        assert "smoke profile" in render(made.cells, counts, kind, 0.5)


def test_backbones_that_the_smoke_profile_fills_with_one_model_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    where = ("clip-dora/table2", "dtd", "b16-1shot")
    made = built(records(where, (40.0,), overrides=PRETEND), where[0])
    assert sum(c.measured is not None for c in made.cells) == 3
    said = "one tiny model for every backbone: ViT-B/16, ViT-B/32, ViT-L/14 show the same runs"
    for text in (markdown(made), latex(made), render(made.cells, summary(made.cells), "text", 0.5)):
        assert said in text
    alone = built(records(CELL, (40.0,), overrides=PRETEND))
    assert "tiny model for every" not in markdown(alone)


def test_full_numbers_carry_no_smoke_mark() -> None:
    made = built(FULL)
    for text in (markdown(made), latex(made), t.csv(made), t.to_json(made)):
        assert "smoke" not in text.lower()


def test_provenance_counts_a_run_once_and_names_both_ends() -> None:
    runs = [record(CELL, 1), record(CELL, 1), record(CELL, 2, finished="2026-03-01T00:00:00.000+00:00", commit="def+")]
    found = provenance_of(runs)
    assert (found.runs, found.dates, found.commits) == (2, ("2026-01-01", "2026-03-01"), ("abc", "def+"))
    assert provenance_of([]).lines() == ["Nothing is measured yet."]


# Files


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.md"
    write_bytes(path, b"one")
    write_bytes(path, b"two")
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["b.md"]


def test_a_sentence_of_reasons_has_one_full_stop() -> None:
    assert sentence(["It has 3 of 9.", "limit 3, not none", "It has 3 of 9."]) == "It has 3 of 9; limit 3, not none."


def test_a_difference_of_another_protocol_is_bracketed_and_a_smoke_number_has_none() -> None:
    where = ("lora-clip/table1", "resnet50-eam", "ucm-80")
    said = {}
    for name, overrides in (("smoke", Overrides(profile="smoke")), ("other", Overrides(fields={"limit": 16}))):
        found = compare_paper([table(where[0])], Library(records(where, (34.0, 36.0), overrides=overrides)), 0.5)
        (cell,) = (c for c in found if c.cell.row.id == "resnet50-eam" and c.ours)
        said[name] = (cell.verdict, difference_text(cell))
    assert said == {"smoke": ("quoted", ""), "other": ("quoted", "[\N{MINUS SIGN}63.98]")}
