"""More odd tables with known answers: LaTeX of many packages, headers of papers, averages of some, other encodings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from clipbench.audit.user_table import audit_csv
from clipbench.cli.main import main
from clipbench.errors import UserError

# Three runs on 100 images cannot give 94.50, no three counts of 40 have mean 85.83 and deviation 1.20, and
# (94.50 + 85.83) / 2 is 90.17, not 90.27.
PLAIN = """\
method,A,B,Avg
n,3,3,
test size,100,40,
ours,95.33 ± 0.58,87.50 ± 2.50,91.42
base,94.50 ± 0.50,85.83 ± 1.20,90.27
"""
MEAN, STD, AVERAGE = "impossible mean: base, A", "impossible std: base, B", "inconsistent average: base, Avg"
NUMBERS = (("95.33", "0.58"), ("87.50", "2.50"), ("91.42", ""), ("94.50", "0.50"), ("85.83", "1.20"), ("90.27", ""))


def tabular(cell: str, lone: str = "VALUE", *changes: tuple[str, str]) -> str:
    """The same table in LaTeX: how a number with its deviation is written, and one without."""
    cells = [(cell if std else lone).replace("VALUE", value).replace("STD", std) for value, std in NUMBERS]
    rows = ["method & A & B & Avg", r"\midrule n & 3 & 3 &", "test size & 100 & 40 &"]
    rows += [" & ".join(["ours", *cells[:3]]), " & ".join(["base", *cells[3:]])]
    text = "\n".join([r"\begin{tabular}{lccc}", r"\toprule", *(rf"{row} \\" for row in rows), r"\end{tabular}", ""])
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


SIUNITX = re.sub(r"\\pm (\d)\.(\d\d)", lambda m: f"({int(m[1] + m[2])})", tabular(r"VALUE\pm STD"))
PM = r"VALUE $\pm$ STD"
SAME = {
    "several signs": tabular(r"\textbf{VALUE $\pm$ STD (3)$^\dagger$$^\P$}", r"VALUE$^\S$"),
    "dagger above, deviation below": tabular(r"$VALUE^{\dagger}_{\pm STD}$"),
    "deviation below, dagger above": tabular(r"$VALUE_{\pm STD}^{\dagger}$"),
    "deviation below without its sign": tabular(r"$VALUE_{STD}^{\ast}$"),
    "macros of the paper": tabular(r"\best{VALUE} $\pm$ STD", r"\second{VALUE}"),
    "colours": tabular(r"{\color{blue}VALUE}{\tiny$\pm$STD}", r"\cellcolor[HTML]{EFEFEF}\textcolor{red}{VALUE}"),
    "siunitx SI": tabular(r"\SI{VALUE \pm STD}{\percent}", r"\SI{VALUE}{\percent}"),
    "siunitx qty and num": tabular(r"\qty{VALUE +- STD}{\percent}", r"\num{VALUE}"),
    "siunitx columns": SIUNITX.replace("{lccc}", "{l S[table-format=2.2(2)] S S}").replace("A & B", "{A} & {B}"),
    "makecell": tabular(r"\makecell{VALUE\\$\pm$STD}"),
    "shortstack": tabular(r"\shortstack{VALUE\\[-2pt] \tiny $\pm$ STD}"),
    "a tabular in a cell": tabular(PM, "VALUE", ("& A &", r"& \begin{tabular}[c]{@{}c@{}}A\\ \end{tabular} &")),
    "a macro for deviations": tabular(r"VALUE\std{STD}"),
    "a macro that the file defines": r"\newcommand{\res}[2]{#1{\tiny$\pm$#2}}" + "\n" + tabular(r"\res{VALUE}{STD}"),
    "a macro by def": r"\def\pair#1#2{#1 (#2)}" + "\n" + tabular(r"\pair{VALUE}{STD}"),
    "multicolumn of one": tabular(r"\multicolumn{1}{c|}{VALUE $\pm$ STD}"),
    "bold mathematics": tabular(r"$\bm{VALUE\pm STD}$", r"$\boldsymbol{VALUE}$"),
    "script style": tabular(r"$VALUE{\scriptstyle\pm STD}$"),
    "subscript in text": tabular(r"VALUE\textsubscript{STD}"),
    "decimal commas in braces": re.sub(r"(\d)\.(\d)", r"\1{,}\2", tabular(r"$VALUE \pm STD$", "$VALUE$")),
    "a row in a comment": tabular(PM, "VALUE", ("base &", "% old & 1.00 & 2.00 & 9.00 \\\\\nbase &")),
    "a comment behind the row": tabular(PM, "VALUE", ("\\\\\n", "\\\\% and so on\n")),
    "hidden rows": tabular(PM, "VALUE", ("base &", "\\iffalse\nold & 1.0 & 2.0 & 9.0 \\\\\n\\fi\nbase &")),
    "rules of other packages": tabular(
        PM, "VALUE", (r"\toprule", r"\Xhline{2\arrayrulewidth}\hhline{|=|=|=|=|}\shline\arrayrulecolor{gray}")
    ),
    "NiceTabular": tabular(PM, "VALUE", ("{tabular}", "{NiceTabular}")),
    "tabularray": tabular(
        PM, "VALUE", ("{tabular}", "{tblr}"), ("{lccc}", r"{colspec={lccc}, row{1}={font=\bfseries}}")
    ),
    "tabular of a width": tabular(
        PM, "VALUE", ("{lccc}", r"{\textwidth}{@{\extracolsep{\fill}}lccc}"), ("{tabular}", "{tabular*}")
    ),
    "longtable": tabular(
        PM,
        "VALUE",
        ("{tabular}", "{longtable}"),
        (r"\midrule", "\\endfirsthead\n\\multicolumn{4}{c}{continued}\\\\ \\endhead\n"),
    ),
    "skips behind rows": tabular(PM, "VALUE", ("\\\\\n", "\\\\*[0.5ex]\n")),
    "Markdown of one dash": "|"
    + PLAIN.replace(",", "|").replace("Avg\n", "Avg|\n-|:-:|-:|-|\n", 1).rstrip("\n").replace("\n", "\n|"),
    "Markdown with links, code and breaks": (
        "| method | A | B | Avg |\n| :--- | :---: | ---: | --- |\n| n | 3 | 3 | |\n| test size | 100 | 40 | |\n"
        "| p(y\\|x) | 95.33 | 87.50 | 91.42 |\n"
        "| base | ~~94.50~~ `±0.50` | [85.83](https://x.org/a) <br>±1.20 | 90.27 |\n"
    ),
    "HTML": "<style>td{}</style><table><tr><th>"
    + "</td></tr>\n<tr><td>".join(PLAIN.rstrip().replace("±", "&plusmn;").replace(",", "</td><td>").split("\n"))
    + "</td></tr></table>",
    "UTF-16 with semicolons": b"\xff\xfe" + PLAIN.replace(",", ";").encode("utf-16-le"),
    "UTF-16 without a mark, with tabs": PLAIN.replace(",", "\t").replace("\n", "\r\n").encode("utf-16-be"),
    "UTF-32": PLAIN.encode("utf-32"),
    "Latin-1 with decimal commas": PLAIN.replace(",", ";").replace(".", ",").encode("latin-1"),
    "the separator's line of Excel": "sep=;\n" + PLAIN.replace(",", ";").replace(".", ","),
    "a comment with commas": "# made by hand, in May\n" + PLAIN,
    "the header again": PLAIN.replace("base", "method,A,B,Avg\nbase"),
    "fractions without nought": re.sub(
        r"\d\d\.\d\d", lambda m: f"{float(m[0]) / 100:.4f}"[1:], re.sub(r"± (\d)\.", r"± 0.0\1", PLAIN)
    ),
}


def found_in(tmp_path: Path, content: str | bytes) -> tuple[set[str], str]:
    """What is grave, and everything in words."""
    path = tmp_path / "table.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    findings = audit_csv(path)
    grave = {f"{f.severity} {f.check}: {f.where}" for f in findings if f.severity in ("impossible", "inconsistent")}
    return grave, "\n".join(f"{f.where}: {f.found}" for f in findings)


@pytest.mark.parametrize("name", SAME)
def test_the_same_faults_in_other_clothes(tmp_path: Path, name: str) -> None:
    assert found_in(tmp_path, SAME[name])[0] == {MEAN, STD, AVERAGE}


def test_a_dagger_above_and_gains_behind_are_no_deviations(tmp_path: Path) -> None:
    for cell in (r"$VALUE^{+0.8}$", r"VALUE\textcolor{green}{(+0.8)}", r"VALUE$_{\uparrow 0.8}$", r"VALUE \gain{0.8}"):
        assert found_in(tmp_path, tabular(cell))[0] == {MEAN, AVERAGE}, cell


OTHER: dict[str, tuple[str | bytes, set[str]]] = {
    "averages of two groups": (
        "method,1 shot,,,16 shots,,\n,A,B,Avg,A,B,Avg\nx,60.0,70.0,65.0,80.0,90.0,85.0\n"
        "y,60.0,70.0,65.0,80.0,90.0,86.0\n",
        {"inconsistent average: y, 16 shots Avg"},
    ),
    "a header whose first cell is empty": (
        "& \\multicolumn{2}{c}{1 shot} & \\\\\nMethod & A & B & Avg \\\\\nx & 60.0 & 70.0 & 66.0 \\\\\n",
        {"inconsistent average: x, 1 shot Avg"},
    ),
    "test images in a second column of names": (
        "Backbone & Method & A & Avg. \\\\\n & test size & 100 & \\\\\n & n & 3 & \\\\\n ViT & x & 94.50 & \\\\\n",
        {"impossible mean: ViT, x, A"},
    ),
    "domains called by letters": (
        "method,V2,S,A,R,Avg\nx,60.83,46.15,47.77,73.96,57.18\ny,64.20,47.99,49.71,75.21,59.98\n",
        {"inconsistent average: y, Avg"},
    ),
    "the average of the target domains": (
        "method,ImageNet,V2,S,A,R,Avg\nx,66.73,60.83,46.15,47.77,73.96,57.18\ny,71.51,64.20,47.99,49.71,75.21,59.28\n"
        "z,71.02,64.07,48.75,50.63,76.18,59.51\n",
        {"inconsistent average: z, Avg"},
    ),
    "the average of the targets beside that of all": (
        "method,ImageNet,V2,S,A,R,OOD Avg,Avg\nx,66.73,60.83,46.15,47.77,73.96,57.18,59.09\n"
        "y,71.51,64.20,47.99,49.71,75.21,59.28,62.72\n",
        {"inconsistent average: y, Avg"},
    ),
    "base, new and H": (
        "method,B,N,H\nn,3,3,\ntest size,100,100,\nx,80.00,60.00,68.57\ny,80.00,60.50,68.90\n",
        {"impossible mean: y, N"},
    ),
    "H of the averages": ("data,Base,New,H\nA,80.0,60.0,68.57\nB,90.0,50.0,64.29\nAverage,85.0,55.0,66.79\n", set()),
    "the average of more than is shown": ("method,A,B,Average over 11\nx,44.39,89.10,65.20\ny,50.0,90.0,71.1\n", set()),
    "the average of one method over data sets": (
        "data,method,acc\nA,x,90.0\nA,y,80.0\nB,x,80.0\nB,y,70.0\nAvg,x,85.0\nAvg,y,75.5\n",
        {"inconsistent average: Avg, y, acc"},
    ),
    "the mean of means": (
        "method,A,B,Avg,C,D,Avg,Overall avg\nx,90.0,80.0,85.0,70.0,60.0,65.0,75.0\n"
        "y,90.0,80.0,85.0,70.0,60.0,65.0,76.0\n",
        {"inconsistent average: y, Overall avg"},
    ),
    "an average by number of images": (
        "method,A,B,Avg\ntest size,100,300,\nx,90.0,80.0,82.5\ny,70.0,60.0,62.5\n",
        set(),
    ),
    "Mittel": (PLAIN.replace("Avg", "Mittel"), {MEAN, STD, "inconsistent average: base, Mittel"}),
    "a mean rank": ("method,A,B,Mean rank,Avg\nx,90.0,80.0,1.5,85.0\ny,70.0,60.0,2.5,65.0\n", set()),
    "an unknown quantity": ("method,A,B,Grams,Avg\nx,90.0,80.0,1.5,85.0\ny,70.0,60.0,2.5,65.0\n", set()),
    "ticks": (
        "id & X & Y & A & B & Avg \\\\\n(a) & \\ding{51} & \\ding{55} & 80.0 & 70.0 & 75.0 \\\\\n"
        "(b) & \\ding{51} & \\ding{51} & 83.0 & 73.0 & 78.5 \\\\\n",
        {"inconsistent average: (b), Avg"},
    ),
    "phantoms": (r"m & A & B & Avg \\ a & \phantom{0}8.00 & \hphantom{-}10.00 & \phantom{$-$}9.00 \\", set()),
    "mean and deviation below seeds": (
        "seed,A\nn,1\ntest size,100\nseed 1,95.00\nseed 2,96.00\nseed 3,94.00\nmean,95.00\nstd,0.82\n",
        set(),
    ),
    "rows of deviations": (
        "method,A\nn,3\ntest size,100\nx,95.33\nx std,0.58\ny,94.50\n± std,0.50\n",
        {"impossible mean: y, A"},
    ),
    "deviations below the numbers": (
        "method,A,B\nn,3,3\ntest size,100,40\nx,95.33,87.50\n,(0.58),(2.50)\ny,94.50,85.83\n,±0.50,±1.20\n",
        {"impossible mean: y, A", "impossible std: y, B"},
    ),
    "columns of means and deviations": (
        "method,A mean,A sd,B mean,B sd\nn,3,,3,\ntest size,100,,40,\nx,95.33,0.58,87.50,2.50\n"
        "y,94.50,0.50,85.83,1.20\n",
        {"impossible mean: y, A mean", "impossible std: y, B mean"},
    ),
    "rows of gains": (
        "method,A\nn,3\ntest size,100\nx,95.33\nGain over CLIP,1.33\nImprovement vs. y,0.50\nΔ (x - y),0.50\n",
        set(),
    ),
    "confidence intervals above": ("95% confidence intervals,\nmethod,A\nn,3\ntest size,100\nx,95.33 ± 0.10\n", set()),
    "standard errors beside": ("method,A (mean ± SE)\nn,3\ntest size,100\nx,95.33 ± 0.10\n", set()),
    "N above the seeds": ("method,A\nN,100\nSeeds,3\nx,94.50\n", {"impossible mean: x, A"}),
    "columns n and N": ("method,A,n,N\nx,94.50,3,100\ny,95.33,3,100\n", {"impossible mean: x, A"}),
    "N in a label": ("method,A (N=100)\nn,3\nx,94.50\n", {"impossible mean: x, A (N=100)"}),
    "seeds in words": (
        "\\begin{table}\\caption{Mean of three random seeds.}\\begin{tabular}{lc}m & A\\\\ test size & 100\\\\ "
        "x & 94.50\\\\\\end{tabular}\\end{table}",
        {"impossible mean: x, A"},
    ),
    "an index in front": (",method,A\n0,n,3\n1,test size,100\n2,x,94.50\n", {"impossible mean: 2, x, A"}),
    "thousands with a comma in braces": (
        r"m & A \\ n & 1 \\ test size & 1{,}000 \\ x & 94.25 \\",
        {"impossible mean: x, A"},
    ),
    "thousands with points": ("m;A\nn;1\ntest size;1.000\nx;94,25\n", {"impossible mean: x, A"}),
    "three decimals with commas": (
        "m;A;B;Avg\nx;95,333;87,500;91,417\ny;94,500;85,833;90,267\n",
        {"inconsistent average: y, Avg"},
    ),
    "footnotes": (
        "m,A,B\nn,3,3\ntest size,100,40\nx,94.50a,87.50 b\ny,94.50¹,87.50 [1]\n",
        {"impossible mean: x, A", "impossible mean: y, A"},
    ),
    "powers of ten": ("m,A\nn,3\ntest size,100\nx,9.450e+01\n", {"impossible mean: x, A"}),
    "percent in the title": ("Error (%),\nm,A\nn,3\ntest size,100\nx,0.33\ny,0.50\n", {"impossible mean: y, A"}),
    "accuracy beside F1 in the caption": (
        "Accuracy and macro-F1,,\nm,Acc,F1\nn,3,3\ntest size,100,100\nx,94.50,94.50\n",
        {"impossible mean: x, Acc"},
    ),
    "mixed precision in the caption": (
        "In mixed precision,\nm,A\nn,3\ntest size,100\nx,94.50\n",
        {"impossible mean: x, A"},
    ),
    "a line per number, in fractions": (
        "row,column,value,n,test_size\nx,A,0.9533,3,100\ny,A,0.9450,3,100\n",
        {"impossible mean: y, A"},
    ),
    "a line per number, with intervals": (
        "row,column,value,n,test_size,metric\nx,A,95.33 ± 0.10,3,100,accuracy with 95% CI\n",
        set(),
    ),
    "a line per number, domains": (
        "row,column,value\nx,V2,90.0\nx,R,80.0\nx,Avg,86.0\n",
        {"inconsistent average: x, Avg"},
    ),
    "cells over several rows of HTML": (
        "<table><caption>T</caption><tr><th rowspan=2>m<th colspan=2>1 shot<th rowspan=2>Avg</tr><tr><th>A<th>B</tr>"
        "<tr><td>x<td>60.0<td>70.0<td>66.0</tr></table>",
        {"inconsistent average: x, Avg"},
    ),
}


@pytest.mark.parametrize("name", OTHER)
def test_tables_of_papers_have_their_known_answers(tmp_path: Path, name: str) -> None:
    content, due = OTHER[name]
    assert found_in(tmp_path, content)[0] == due


BESIDE = (
    *("#P", "Mult-Adds", "ms/img", "img/s", "Mem.", "Prompt length", "Ctx. len", "# Learnable", "Storage", "Rank r"),
    *("p-value", "Venue", "Runtime", "Iter/s", "α", "σ", "SE", "95% CI", "Avg. rank", "Speed-up", "support"),
)
NO_COUNTS = (
    *("mDSC", "AP50", "Cohen's κ", "Acc@5", "mAcc", "bAcc", "FID", "NSD", "EER", "FPR95", "AA", "OA/AA", "mCE", "PQ"),
    *("WER", "G-mean", "H", "macro accuracy", "mean per-class accuracy", "SRCC", "PR-AUC", "Recall@5"),
)


def test_columns_beside_the_accuracies_are_left_out_of_averages(tmp_path: Path) -> None:
    for name in BESIDE:
        grave, said = found_in(tmp_path, f"method,A,{name},B,Avg\nx,90.0,12.5,80.0,85.0\n")
        assert not grave, name
        assert "re-adds from the printed parts" in said, name


def test_what_is_no_share_of_right_answers_is_known_by_its_name(tmp_path: Path) -> None:
    for name in NO_COUNTS:
        grave, said = found_in(tmp_path, f"method,{name}\nn,3\ntest size,100\nx,94.50\n")
        assert not grave, name
        assert "GRIM does not apply" in said, name


def test_what_is_grave_says_its_line_and_a_file_without_any_check_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, nothing = tmp_path / "a.csv", tmp_path / "b.csv"
    table.write_text(PLAIN, encoding="utf-8")
    nothing.write_text("method,Dice\nn,3\nx,90.0\n", encoding="utf-8")
    assert (main(["audit", str(table)]), main(["audit", str(table), "--strict"])) == (0, 1)
    assert "base, A: 94.50 ± 0.50 (line 5)" in capsys.readouterr().out
    assert (main(["audit", str(nothing)]), main(["audit", str(nothing), "--strict"])) == (0, 0)
    assert "nothing could be checked" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "due"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "is no text file"),
        (b"\x1f\x8b\x08\0abc,def\n1,2\n", "a compressed file"),
        ("method,A\nx,95.33 ∓ 0.58\n", "line 2: '95.33 ∓ 0.58' is no printed number"),
        ('method,A\n"x\u2028y",9O.3\x0c\nn,3.5\n', "line 3: n = '3.5' is no whole number above zero"),
    ],
)
def test_what_is_no_table_is_said_with_its_line(tmp_path: Path, content: str | bytes, due: str) -> None:
    with pytest.raises(UserError, match=re.escape(due)):
        found_in(tmp_path, content)
