"""Tables as people save and print them, each with its known answer: no false accusation and no silent pass."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from clipbench.audit.user_table import audit_csv
from clipbench.errors import UserError

Answer = set[str]

# Five runs on 420 images cannot give 99.37, and no five whole counts have mean 99.52 and deviation 0.08;
# (99.52 + 97.04) / 2 is 98.28, not 98.38.
PLAIN = """\
method,UCM,OPTIMAL-31,Avg
n,5,5,
test_size,420,372,
ours,99.37 ± 0.18,97.20 ± 0.40,98.29
baseline,99.52 ± 0.08,97.04 ± 0.54,98.38
"""
FAULTS = {
    "impossible mean: ours, UCM",
    "impossible std: baseline, UCM",
    "inconsistent average: baseline, Avg",
}
LATEX = r"""
\begin{table}[t]
\centering
\caption{Overall accuracy (\%).} % a comment & no cell \\
\begin{tabular}{l|cc|c}
\toprule
method & UCM & OPTIMAL-31 & Avg \\ \midrule
n & 5 & 5 & \\
test size & 420 & 372 & \\
\rowcolor{gray!10} ours & \textbf{99.37} $\pm$ 0.18 & 97.20$_{\pm 0.40}$ & 98.29 \\[2pt]
baseline~\cite{x} & $99.52 \pm 0.08$ & \underline{97.04}\textsuperscript{$\dagger$} {\scriptsize$\pm$0.54} & 98.38 \\
\bottomrule
\end{tabular}
\end{table}
"""
MARKDOWN = """\
## Results

| method | UCM | OPTIMAL-31 | Avg |
|:-------|----:|-----------:|----:|
| n | 5 | 5 | |
| test_size | 420 | 372 | |
| ours | **99.37** ± 0.18 | 97.20 ± 0.40 | 98.29 |
| baseline | 99.52 ± 0.08† | *97.04 ± 0.54* | 98.38 |
"""


def changed(*pairs: tuple[str, str]) -> str:
    text = PLAIN
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


def transposed() -> str:
    rows = [line.split(",") for line in PLAIN.splitlines()]
    return "\n".join(",".join(row[at] for row in rows) for at in range(4))


WIDE_N = "method,UCM,n,test_size\nours,{0},{1},420\n"

# The same table with the same faults, in other clothes.
SAME: dict[str, str | bytes] = {
    "commas": PLAIN,
    "semicolons": PLAIN.replace(",", ";"),
    "tabs": PLAIN.replace(",", "\t"),
    "bars": PLAIN.replace(",", "|"),
    "decimal commas": PLAIN.replace(",", ";").replace(".", ","),
    "quoted decimal commas": re.sub(r"(?<=,)(\d\d)\.(\d\d)( ± 0\.(\d\d))?", r'"\1,\2 ± 0,\4"', PLAIN).replace(
        ' ± 0,"', '"'
    ),
    "spaces behind the commas": PLAIN.replace(",", ", "),
    "every cell quoted": "\n".join(",".join(f'"{c}"' for c in line.split(",")) for line in PLAIN.splitlines()),
    "Windows line ends": PLAIN.replace("\n", "\r\n"),
    "old Macintosh line ends": PLAIN.replace("\n", "\r"),
    "no line end at the end": PLAIN.rstrip("\n"),
    "byte order mark": b"\xef\xbb\xbf" + PLAIN.encode(),
    "UTF-16 with a mark": PLAIN.encode("utf-16"),
    "UTF-16 without a mark": PLAIN.encode("utf-16-le"),
    "UTF-16, the other end first": b"\xfe\xff" + PLAIN.encode("utf-16-be"),
    "Latin-1": PLAIN.encode("latin-1"),
    "LaTeX": LATEX,
    "LaTeX, only the rows": LATEX.partition("\\toprule")[2].partition("\\bottomrule")[0],
    "LaTeX in tabularx": LATEX.replace("{tabular}{", r"{tabularx}{\textwidth}{").replace(
        "end{tabular}", "end{tabularx}"
    ),
    "LaTeX, deviations in parentheses": LATEX.replace(r"$\pm$ 0.18", "(0.18)").replace(r"$_{\pm 0.40}$", r"\,(0.40)"),
    "LaTeX, bold in mathematics": LATEX.replace(r"\textbf{99.37} $\pm$ 0.18", r"$\mathbf{99.37}_{\pm 0.18}$"),
    "Markdown": MARKDOWN,
    "Markdown without outer bars": re.sub(r"^\| | \|$", "", MARKDOWN, flags=re.M),
    "plus-minus in ASCII": PLAIN.replace(" ± ", " +/- "),
    "plus-minus as +-": PLAIN.replace(" ± ", "+-"),
    "backslash pm": PLAIN.replace(" ± ", r" \pm "),
    "subscript": re.sub(r" ± ([0-9.]+)", r"_{\1}", PLAIN),
    "deviation in parentheses": re.sub(r" ± ([0-9.]+)", r" (\1)", PLAIN),
    "percent signs": re.sub(r"(\d\d\.\d\d)", r"\1%", PLAIN),
    "daggers and stars": changed(("99.37", "**99.37**"), ("97.04 ± 0.54", "97.04 ± 0.54 †"), ("98.29", "98.29*")),
    "HTML in a cell": changed(("99.37", "<b>99.37</b>"), ("97.04", "97.04<sup>1</sup>")),
    "gains behind": changed(("98.38", "98.38 (+0.28)"), ("98.29", "98.29 ↓0.09")),
    "names in capitals": changed(("n,5", "N,5"), ("test_size", "Test size")),
    "seeds": changed(("n,5", "Seeds,5"), ("test_size", "#test images")),
    "number of runs": changed(("n,5", "#runs,5"), ("test_size", "Test set size")),
    "runs in words": changed(("n,5,5", "n,5 runs,5 runs")),
    "floats of pandas": changed(("n,5,5", "n,5.0,5.0"), ("420,372", "420.0,372.0")),
    "a title above": "Table 3: overall accuracy,,,\n" + PLAIN,
    "a title in one cell": "Table 3\n\n" + PLAIN,
    "a comment above": "# made by hand\n" + PLAIN,
    "blank lines between": PLAIN.replace("\n", "\n\n"),
    "short rows": PLAIN.replace("n,5,5,", "n,5,5").replace("420,372,", "420,372"),
    "empty columns at the end": PLAIN.replace("\n", ",,\n"),
    "a row without numbers": PLAIN + "zero-shot,--,n/a,/\n",
    "a row of nan": PLAIN + "failed,nan,N.A.,OOM\n",
    "transposed": transposed(),
    "an own n": changed(("Avg\n", "Avg,n\n"), ("n,5,5,\n", ""), ("98.29", "98.29,5"), ("98.38", "98.38,5")),
    "n in the label": changed(("n,5,5,\n", ""), ("ours,", "ours (n=5),"), ("baseline,", "baseline (n=5),")),
    "parameters beside": changed(
        ("Avg\n", "Params (M),Avg\n"),
        ("5,5,\n", "5,5,,\n"),
        ("372,\n", "372,,\n"),
        ("98.29", "4.1,98.29"),
        ("98.38", "304,98.38"),
    ),
    "a text column": changed(
        ("UCM,", "Backbone,UCM,"),
        ("n,", "n,,"),
        ("size,", "size,,"),
        ("ours,", "ours,ViT,"),
        ("baseline,", "baseline,RN50,"),
    ),
    "deviations in columns of their own": (
        "method,UCM,UCM std,OPTIMAL-31,OPTIMAL-31 std,Avg\nn,5,,5,,\ntest_size,420,,372,,\n"
        "ours,99.37,0.18,97.20,0.40,98.29\nbaseline,99.52,0.08,97.04,0.54,98.38\n"
    ),
    "fractions": (
        "method,UCM,OPTIMAL-31,Avg\nn,5,5,\ntest_size,420,372,\n"
        "ours,0.9937 ± 0.0018,0.9720 ± 0.0040,0.9829\nbaseline,0.9952 ± 0.0008,0.9704 ± 0.0054,0.9838\n"
    ),
}


def findings(tmp_path: Path, content: str | bytes) -> list[tuple[str, str, str, str]]:
    path = tmp_path / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [(f.severity, f.check, f.where, f.found) for f in audit_csv(path)]


def grave(tmp_path: Path, content: str | bytes) -> Answer:
    found = findings(tmp_path, content)
    return {f"{s} {check}: {where}" for s, check, where, _ in found if s in ("impossible", "inconsistent")}


@pytest.mark.parametrize("name", SAME)
def test_the_same_faults_are_found_in_any_clothes(tmp_path: Path, name: str) -> None:
    due = FAULTS
    if name == "transposed":
        due = {re.sub(r": (.*), (.*)", r": \2, \1", fault) for fault in FAULTS}
    if name == "n in the label":
        due = {re.sub(r": (\w+),", r": \1 (n=5),", fault) for fault in FAULTS}
    found = {re.sub(r"(ours|baseline)~?, (ViT|RN50)", r"\1", fault) for fault in grave(tmp_path, SAME[name])}
    assert {fault.replace("Table 3: overall accuracy, ", "") for fault in found} == due


# Sound tables that are easily accused.
SOUND: dict[str, str] = {
    "fractions that can be": "method,UCM,OPTIMAL\nn,5,5\ntest_size,420,372\nours,0.9938,0.9720\nbase,0.9952,0.9704\n",
    "fractions of one decimal more": "method,A\nn,3\ntest_size,100\nours,0.9533\n",
    "parameters in an average's row": "method,A,B,Params (M),Avg\nours,90.0,80.0,147.7,85.0\n",
    "time and memory": "method,A,B,Time (s),Memory (GB),Avg\nours,90.0,80.0,12.5,7.1,85.0\n",
    "floating point operations": "method,GFLOPs,A,B,Avg\nours,17.6,90.0,80.0,85.0\n",
    "shots": "method,Shots,A,B,Avg\nours,16,90.0,80.0,85.0\n",
    "year": "method,Year,A,B,Average\nours,2021,90.0,80.0,85.0\n",
    "two groups with an average each": "method,A,B,Avg,C,D,Avg\nours,90.0,80.0,85.0,70.0,60.0,65.0\n",
    "an average in front": "method,Avg,A,B\nours,85.0,90.0,80.0\n",
    "mean of one column": "method,Mean,Std,n,Test size\nours,99.38,0.21,5,420\n",
    "F1": "method,F1\nn,5\ntest_size,420\nours,99.37\n",
    "macro F1 in a caption": "Macro-F1 on UCM,\nmethod,UCM\nn,5\ntest_size,420\nours,99.37\n",
    "mean per class": "method,UCM (mean per-class acc.)\nn,5\ntest_size,420\nours,99.37\n",
    "Dice": "method,Kvasir mDice\nn,5\ntest_size,100\nours,90.37\n",
    "IoU": "method,mIoU\nn,1\ntest_size,100\nours,78.37\n",
    "AUC": "method,AUROC\nn,1\ntest_size,100\nours,0.9837\n",
    "top-5": "method,Top-5\nn,1\ntest_size,100\nours,97.37\n",
    "harmonic mean": "method,Base,New,HM\nn,3,3,3\ntest_size,100,100,100\nours,80.00,60.00,68.57\n",
    "gains": "method,A,B\nn,5,5\ntest_size,420,372\nours,99.38,97.20\ngain,+0.37,-0.11\n",
    "a difference column": "method,A,B,Δ\nn,5,5,\ntest_size,420,420,\nours,99.38,99.52,0.14\n",
    "n of the row above that of the column": "method,UCM,n\nn,5,\ntest_size,420,\nours,99.37,3\n",
    "n=3 in the label above that of the column": 'method,UCM\nn,5\ntest_size,420\n"ours, n=3",99.37\n',
    "numbers above a hundred": "method,Score\nn,5\ntest_size,420\nours,147.7\n",
    "millions": "method,Size\nn,1\ntest_size,100\nours,2.37M\n",
    "thousands": 'method,A\nn,1\ntest_size,"28,350"\nours,95.30\n',
    "an average over the rows": "dataset,ours\nA,90.0\nB,80.0\nParams (M),4.1\nAverage,85.0\n",
    "two tables": "method,A,B,Avg\nours,90.0,80.0,85.0\n\nmethod,C,D,Avg\nours,70.0,60.0,65.0\n",
    "groups of rows": "method,A,B,Avg\nViT-B/16,,,\nours,90.0,80.0,85.0\nViT-L/14,,,\nours,70.0,60.0,65.0\n",
    "two lines of header": "method,UCM,UCM,AID\n,50%,80%,50%\nours,90.0,80.0,70.0\n",
    "a hundred runs": "method,X\nn,100\ntest_size,420\nours,99.37 ± 0.18\n",
    "a thousand runs": "method,X\nn,1000\ntest_size,420\nours,99.37 ± 0.18\n",
    "a test set of three milliards": "method,X\nn,5\ntest_size,3000000000\nours,99.37 ± 0.18\n",
    "confidence intervals": 'method,X\nn,1\ntest_size,1000\nours,"95.3 [94.1, 96.5]"\n',
    "Markdown with two lines a method": (
        "| | | A | B | Avg |\n| --- | --- | --- | --- | --- |\n| ours | printed | 90.00 | 80.00 | 85.00 |\n"
        "| | measured | **91.00 ± 0.20 (3)** | **81.00 ± 0.10 (3)** | **86.00 ± 0.10 (3)** |\n"
    ),
}


@pytest.mark.parametrize("name", SOUND)
def test_nobody_is_accused_falsely_and_nothing_passes_silently(tmp_path: Path, name: str) -> None:
    found = findings(tmp_path, SOUND[name])
    assert [f for f in found if f[0] in ("impossible", "inconsistent")] == []
    assert found


@pytest.mark.parametrize(
    ("name", "due"),
    [
        ("F1", "f1 is no share of right answers: GRIM does not apply"),
        ("mean per class", "per class is no share of right answers: GRIM does not apply"),
        ("top-5", "top 5 is no share of right answers: GRIM does not apply"),
        ("gains", "a difference is no share of right answers: GRIM does not apply"),
        ("numbers above a hundred", "it is no percentage: GRIM does not apply"),
        ("fractions that can be", "reachable, read as fractions of 1"),
        ("two groups with an average each", "re-adds from the printed parts"),
        ("parameters in an average's row", "re-adds from the printed parts"),
        ("groups of rows", "re-adds from the printed parts"),
        ("an average over the rows", "re-adds from the printed parts"),
        ("Markdown with two lines a method", "re-adds from the printed parts"),
    ],
)
def test_what_is_said_of_it(tmp_path: Path, name: str, due: str) -> None:
    assert any(due in found for *_, found in findings(tmp_path, SOUND[name]))


def test_several_tables_of_a_latex_file_are_all_read(tmp_path: Path) -> None:
    second = LATEX.replace("Overall accuracy", "Again").replace("98.38", "98.28")
    assert {fault.partition(":")[0] for fault in grave(tmp_path, LATEX + second)} == {
        "impossible mean",
        "impossible std",
        "inconsistent average",
    }
    assert len(grave(tmp_path, LATEX + second)) == 3 + 2


@pytest.mark.parametrize(
    ("content", "due"),
    [
        ("", "holds no numbers"),
        ("only words in one column\nand another line\n", "one column was found"),
        ("method,A\nours,good\n", "0 checks"),
        ("method,A,B\n", "holds no numbers"),
        ("method,A,B\nours,97,94,96,10\n", "line 2: 5 fields, but the header has 3"),
        ('a title\n\nmethod,A\n\n"two\nlines",90.0\nn,many\n', "line 7: n = 'many' is no whole number above zero"),
        (b"PK\x03\x04 and more", "an Excel or OpenDocument file"),
        ("row,column,value\na,b,ninety\n", "line 2: 'ninety' is no printed number"),
    ],
)
def test_what_cannot_be_checked_at_all_is_an_error_with_a_reason(
    tmp_path: Path, content: str | bytes, due: str
) -> None:
    with pytest.raises(UserError, match=re.escape(due)):
        findings(tmp_path, content)


def test_a_cell_that_is_no_number_is_named_with_its_line(tmp_path: Path) -> None:
    found = findings(tmp_path, "method,A,B,Avg\n\nours,90.0,8O.0,85.0\n")
    assert ("cannot be checked", "mean", "ours, B") in {f[:3] for f in found}
    assert any("line 3: '8O.0' is no printed number" in f[3] for f in found)


def test_an_impossible_number_names_all_that_it_rests_on(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(PLAIN, encoding="utf-8")
    arithmetic = next(f.arithmetic for f in audit_csv(path) if f.severity == "impossible")
    for word in ("420 test images", "5 repetitions", "every image counted once", "equal weight"):
        assert word in arithmetic
