"""What the audit must find in the two papers, and what it must not say."""

from __future__ import annotations

from collections import Counter
from itertools import combinations_with_replacement
from statistics import pstdev, stdev

import pytest

from clipbench.audit.finding import Finding
from clipbench.audit.paper import audit_paper, numbers_of
from clipbench.audit.sizes import test_size as size_of
from clipbench.data.catalogue import entry
from clipbench.data.splits.fraction import train_count
from clipbench.registry import load_papers
from tests.factory import protocol_of

PAPERS = {paper.id: paper for paper in load_papers()}


@pytest.fixture(scope="module")
def findings() -> dict[str, list[Finding]]:
    return {name: audit_paper(paper) for name, paper in PAPERS.items()}


def chosen(found: list[Finding], check: str, severity: str) -> list[Finding]:
    return [f for f in found if (f.check, f.severity) == (check, severity)]


def test_ucm_means_that_no_counts_give(findings: dict[str, list[Finding]]) -> None:
    """PROTOCOLS 7.2: 99.37 (in both tables), 99.54 and 97.94 are unreachable, 99.28 only if cut."""
    found = findings["lora-clip"]
    impossible = sorted(f.printed[:5] for f in chosen(found, "mean", "impossible"))
    assert impossible == ["97.94", "99.37", "99.37", "99.54"]
    assert [f.printed[:5] for f in chosen(found, "mean", "inconsistent")] == ["99.28"]
    optimal = [f for f in found if f.check == "mean" and "OPTIMAL" in f.where and "[" not in f.where.split(",")[1]]
    assert len(optimal) == 11
    assert {f.severity for f in optimal} == {"fine"}
    assert all("1 - 0" not in f.arithmetic and f.arithmetic for f in optimal)


def test_impossible_spreads_against_every_set_of_five_runs(findings: dict[str, list[Finding]]) -> None:
    found = chosen(findings["lora-clip"], "std", "impossible")
    assert sorted(f.printed for f in found) == ["99.24±0.21", "99.52±0.08"]
    for printed, spread in ((99.24, 0.21), (99.52, 0.08)):
        for runs in combinations_with_replacement(range(405, 421), 5):
            values = [100 * k / 420 for k in runs]
            if abs(sum(values) / 5 - printed) <= 0.005:
                assert all(abs(s(values) - spread) > 0.005 for s in (stdev, pstdev)), runs


def test_every_average_re_adds(findings: dict[str, list[Finding]]) -> None:
    counts = Counter(f.severity for f in findings["clip-dora"] if f.check == "average")
    assert counts == {"fine": 71}
    assert not [f for f in findings["lora-clip"] if f.check == "average"]


def test_repeated_cells_agree(findings: dict[str, list[Finding]]) -> None:
    """Table II's CLIP-L row is Table I's r = 8 row; three columns of Table 2 are rows of Table 1."""
    assert Counter(f.severity for f in findings["lora-clip"] if f.check == "repeat") == {"fine": 6}
    assert Counter(f.severity for f in findings["clip-dora"] if f.check == "repeat") == {"fine": 33}


def test_parameter_counts(findings: dict[str, list[Finding]]) -> None:
    bad = {f.where: f.found for name in PAPERS for f in chosen(findings[name], "parameters", "inconsistent")}
    assert {where.split(", ", 1)[1]: found.rsplit(" ", 1)[1] for where, found in bad.items()} == {
        "r = 4, row label of Table I": "0.3",
        "r = 16, row label of Table I": "1.0",
        "r = 32, row label of Table I": "2.1",
        "Params (M), CLIP-DoRA": "1.1",
        "Params (%), CLIP-DoRA": "0.74",
    }


def test_misprints_say_how_they_are_read(findings: dict[str, list[Finding]]) -> None:
    for name, due in (("lora-clip", 6), ("clip-dora", 3)):
        found = [f for f in findings[name] if f.severity == "misprint"]
        assert len(found) == due
        assert all("read as" in f.found for f in found)


def test_unknown_is_never_fine(findings: dict[str, list[Finding]]) -> None:
    for name, paper in PAPERS.items():
        unknown = {
            n.where for n in numbers_of(paper).values() if (n.n is None or n.test_size is None) and not n.operation
        }
        found = [f for f in findings[name] if f.check in ("mean", "std") and f.where in unknown]
        assert found
        assert {f.severity for f in found} == {"cannot be checked"}


@pytest.mark.parametrize(
    ("column", "due"), [("ucm-80", 420), ("aid-20", 8000), ("nwpu-10", 28_350), ("optimal31-80", 372)]
)
def test_test_sizes_are_those_of_the_split(column: str, due: int) -> None:
    protocol = protocol_of("lora-clip/table1", "lora-r8", column)
    size, source = size_of(PAPERS["lora-clip"], protocol, "accuracy")
    counts = entry(protocol.dataset or "").classes.values()
    assert size == due == sum(n - train_count(n, protocol.need("train_fraction")) for n in counts)
    assert "every class tests" in source


def test_official_sizes_against_the_research(shared: object) -> None:
    import csv
    from pathlib import Path

    lines = list(csv.DictReader((Path(str(shared)) / "research/reference/fewshot_datasets.csv").open(encoding="utf-8")))
    paper = PAPERS["clip-dora"]
    columns = {c.dataset_name: c.id for c in paper.tables["table1"].columns if c.dataset_name}
    for line in lines:
        protocol = protocol_of("clip-dora/table1", "clip-dora-1shot", columns[line["dataset"]])
        assert size_of(paper, protocol, "accuracy")[0] == int(line["test"]), line["dataset"]
