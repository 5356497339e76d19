"""Held-out domains in every format, marks beside quoted numbers, and what is said of the printed ones."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from clipbench.cli.main import main
from clipbench.compare.cells import Library
from clipbench.compare.verdict import compare_paper, summary
from clipbench.registry import Overrides
from clipbench.registry.printed import load_published
from clipbench.report import table as t
from clipbench.report.comparison import render
from clipbench.report.latex import latex
from clipbench.report.markdown import markdown
from clipbench.report.write import write_tables
from clipbench.results.record import Record
from clipbench.results.store import Draft, Store
from tests.factory import protocol_of, record, table

NAME = "clip-dora/table3"
DIGITS = ("mnist", "mnist_m", "svhn", "syn")
FULL = Overrides()


def made(row: str, shift: float = 0.0, seeds: Sequence[int] = (1, 2, 3), overrides: Overrides = FULL) -> list[Record]:
    """Domain number i and seed s score ``80 + 2 i + s / 10 + shift``; known and unknown classes where there are."""
    where = (NAME, row, "digits_dg")
    protocol = protocol_of(*where, overrides)
    return [
        record(where, seed, score, protocol=replace(protocol, test_domain=domain), overrides=overrides, metrics=numbers)
        for i, domain in enumerate(DIGITS)
        for seed in seeds
        for score in [80 + 2 * i + seed / 10 + shift]
        for numbers in [{"accuracy": score} | _open(protocol.label_space, i, seed)]
    ]


def _open(space: str | None, i: int, seed: int) -> dict[str, float]:
    return {"unknown_accuracy": 40.0 + i, "h_score": 60.0 + i + seed} if space == "odg" else {}


RECORDS = [*made("clip", -30.0), *made("clip-dora")]


def built(records: Sequence[Record]) -> t.Table:
    paper, experiment = table(NAME)
    return t.Table(paper, experiment, load_published(paper), compare_paper([(paper, experiment)], Library(records)))


def section(text: str) -> list[list[str]]:
    lines = text[text.index("## D-DG by target domain") :].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]


def test_latex_has_a_table_per_column_of_domains_on_request_only() -> None:
    plain, full = latex(built(RECORDS)), latex(built(RECORDS), by_domain=True)
    assert full.startswith(plain)
    more = full.removeprefix(plain)
    assert more.count("\\begin{table}") == more.count("\\end{table}") == 1
    assert r"\caption{D-DG by target domain.}" in more
    assert r" & mnist & mnist\_m & svhn & syn & mean \\" in more
    assert r"\begin{tabular}{lrrrrr}" in more
    lines = [line for line in more.splitlines() if line.startswith("CLIP-DoRA")]
    means = ("80.20", "82.20", "84.20", "86.20", "83.20")
    spread = r" $\pm$ 0.10 (3)"
    assert lines == ["CLIP-DoRA & " + " & ".join(mean + spread for mean in means) + r" \\"]


def test_markdown_has_a_column_per_domain_on_request_only() -> None:
    assert "by target domain" not in markdown(built(RECORDS))
    head, _, zero, dora = section(markdown(built(RECORDS), by_domain=True))
    assert head == ["", *DIGITS, "mean"]
    assert zero[:2] == ["CLIP", "50.20 ± 0.10 (3)"]
    assert dora == ["CLIP-DoRA", *(f"{80.2 + 2 * i:.2f} ± 0.10 (3)" for i in range(4)), "83.20 ± 0.10 (3)"]


def test_a_domain_that_is_missing_leaves_its_place_empty() -> None:
    some = [r for r in made("clip-dora") if r.protocol.test_domain != "svhn"]
    text = markdown(built(some), by_domain=True)
    _, _, line = section(text)
    assert line[0] == "CLIP-DoRA"
    assert "svhn" not in section(text)[0]
    assert "‡" in text
    assert "‡ incomplete: 0 of 3 seeds; seed 1 lacks svhn" in text


def test_csv_has_a_line_per_domain_behind_its_mean() -> None:
    plain = list(csv.DictReader(t.csv(built(RECORDS)).splitlines()))
    assert "domain" not in plain[0]
    rows = list(csv.DictReader(t.csv(built(RECORDS), by_domain=True).splitlines()))
    assert [r for r in rows if not r["domain"]] == [r | {"domain": ""} for r in plain]
    own = [r for r in rows if r["row"] == "clip-dora" and r["column"] == "digits_dg"]
    assert [r["domain"] for r in own] == ["", *DIGITS]
    assert [float(r["measured"]) for r in own] == pytest.approx([83.2, *(80.2 + 2 * i for i in range(4))])


def test_json_keeps_every_seed_of_every_domain_and_its_run() -> None:
    cells = {(c["row"], c["column"]): c for c in json.loads(t.to_json(built(RECORDS)))["cells"]}
    found = cells["clip-dora", "digits_dg"]["measured"]
    due = {d: {str(s): 80 + 2 * i + s / 10 for s in (1, 2, 3)} for i, d in enumerate(DIGITS)}
    assert {d: v["values"] for d, v in found["by_domain"].items()} == due
    assert found["by_domain"]["svhn"]["mean"] == pytest.approx(84.2)
    assert {s: len(ids) for s, ids in found["runs"].items()} == {"1": 4, "2": 4, "3": 4}
    assert {i for ids in found["runs"].values() for i in ids} == {r.id for r in made("clip-dora")}


def test_compare_has_a_line_per_domain_in_its_formats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # a narrow terminal breaks the names
    results = built(RECORDS).cells
    counts = summary(results)
    for kind in ("text", "md", "csv"):
        name = "digits_dg" if kind == "csv" else "D-DG"
        assert f"{name}: svhn" not in render(results, counts, kind, 0.5)
        found = render(results, counts, kind, 0.5, by_domain=True)
        for domain, value in zip(DIGITS, ("80.20", "82.20", "84.20", "86.20"), strict=True):
            (line,) = [x for x in found.splitlines() if f"{name}: {domain}" in x and value in x]
            assert f"{value} ± 0.10 (3)" in line
    cells = json.loads(render(results, counts, "json", 0.5))["cells"]
    assert any("by_domain" in (c["measured"] or {}) for c in cells)


def test_the_h_score_stands_below_the_accuracy() -> None:
    odg = Overrides(assume={"label-space": "odg"})
    shown = built(made("clip-dora", overrides=odg))
    rows = {line[0]: line[1:] for line in section(markdown(shown, by_domain=True))}
    assert rows["CLIP-DoRA: H-score of known and unknown classes"][0] == "62.00 ± 1.00 (3)"
    assert rows["CLIP-DoRA: H-score of known and unknown classes"][-1] == "63.50 ± 1.00 (3)"
    assert rows["CLIP-DoRA: accuracy on unknown classes"][-1] == "41.50 ± 0.00 (3)"
    cells = json.loads(t.to_json(shown))["cells"]
    (found,) = [c["measured"] for c in cells if c["measured"]]
    assert found["h_score"]["mean"] == pytest.approx(63.5)
    assert found["h_score"]["by_domain"]["mnist"]["values"] == {"1": 61.0, "2": 62.0, "3": 63.0}


def test_numbers_beside_quoted_ones_are_marked_and_the_protocol_is_named() -> None:
    shown = built(RECORDS)
    for text in (markdown(shown), latex(shown)):
        assert "follows ODG-CLIP's protocol [33]" in text
        assert "cannot be plain zero-shot CLIP" in text
    assert "53.20 ± 0.10 (3)§" in markdown(shown)
    assert "83.20 ± 0.10 (3)§" not in markdown(shown)
    assert r"(3)\S{}" in latex(shown)
    assert "§ beside a number that the paper quotes" in markdown(shown)
    assert "zero-shot CLIP" not in markdown(t.Table(*table("lora-clip/table1"), {}, []))


def test_the_command_writes_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    Store(tmp_path / "results").publish([Draft(r, {}) for r in RECORDS])
    assert main(["table", "domains", "--by-domain", "--out", str(tmp_path)]) == 0
    assert "## D-DG by target domain" in capsys.readouterr().out
    assert main(["compare", "domains", "--by-domain", "--out", str(tmp_path)]) == 0
    assert "D-DG: mnist_m" in capsys.readouterr().out
    write_tables(["domains"], tmp_path, None)
    assert "by held-out" not in (tmp_path / "tables/clip-dora/table3.md").read_text("utf-8")


def test_two_folders_name_the_domain(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    for name in ("a", "b"):
        Store(tmp_path / name / "results").publish([Draft(r, {}) for r in made("clip-dora")])
    assert main(["compare", "--out", str(tmp_path / "a"), "--against", str(tmp_path / "b")]) == 0
    said = capsys.readouterr().out
    assert "digits_dg, svhn held out" in said
    assert "4 reproduced" in said
