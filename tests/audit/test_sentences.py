"""Every sentence's verdict on the printed numbers, frozen here and held against the research's own list."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from clipbench.audit.sentences.claim import Claim, load_claims
from clipbench.audit.sentences.printed import on_printed
from clipbench.cli.main import main
from clipbench.errors import UserError
from clipbench.registry import load_paper, load_papers

CLAIMS: dict[str, Claim] = {f"{p.id}/{c.id}": c for p in load_papers() for c in load_claims(p)}
HOLDS, WITHIN, FAILS = "holds", "holds within rounding", "does not hold"
FROZEN = {
    "lora-clip/prose-numbers": HOLDS,
    "lora-clip/r16-best-on-aid": HOLDS,
    "lora-clip/r32-best-on-nwpu-optimal": HOLDS,
    "lora-clip/beats-published": FAILS,
    "lora-clip/gain-over-published-aid-20": HOLDS,
    "lora-clip/gain-over-published-nwpu-10": HOLDS,
    "lora-clip/gain-over-published-optimal31": HOLDS,
    "lora-clip/gain-over-full-aid-20": HOLDS,
    "lora-clip/higher-rank-better": FAILS,
    "lora-clip/overhead": HOLDS,
    "lora-clip/row-labels": FAILS,
    "lora-clip/clip-l-over-vit-l": HOLDS,
    "lora-clip/clip-over-imagenet": FAILS,
    "lora-clip/clip-l-over-imagenet": HOLDS,
    "lora-clip/larger-gain-with-few-data": HOLDS,
    "lora-clip/vit-b-size": HOLDS,
    "lora-clip/vit-l-size": WITHIN,
    "lora-clip/mamba-b-size": FAILS,
    "lora-clip/mamba-l-size": FAILS,
    "lora-clip/aid-class-sizes": WITHIN,
    "lora-clip/ucm-means": FAILS,
    "lora-clip/ucm-means-table2": FAILS,
    "lora-clip/std-12": "misprint",
    "lora-clip/merged": "misprint",
    "lora-clip/loss": "misprint",
    "lora-clip/literal-scale": "misprint",
    "clip-dora/gain-1shot": HOLDS,
    "clip-dora/gain-4shot": HOLDS,
    "clip-dora/gain-16shot": HOLDS,
    "clip-dora/over-lora-low": HOLDS,
    "clip-dora/over-lora-high": WITHIN,
    "clip-dora/grows-with-shots": HOLDS,
    "clip-dora/best-1shot": HOLDS,
    "clip-dora/best-4shot": HOLDS,
    "clip-dora/best-16shot": HOLDS,
    "clip-dora/food-and-pets-1shot": FAILS,
    "clip-dora/food-and-pets-4shot": HOLDS,
    "clip-dora/food-and-pets-16shot": HOLDS,
    "clip-dora/degradation": HOLDS,
    "clip-dora/across-backbones": "not supported",
    "clip-dora/consistently-1shot": FAILS,
    "clip-dora/consistently-4shot": FAILS,
    "clip-dora/consistently-16shot": FAILS,
    "clip-dora/behind-maple-sd": HOLDS,
    "clip-dora/only-maple-sd-ahead": FAILS,
    "clip-dora/three-of-four": HOLDS,
    "clip-dora/dg-average-over-lora": HOLDS,
    "clip-dora/better-than-clip": FAILS,
    "clip-dora/better-than-clip-average": HOLDS,
    "clip-dora/caption-cnn": FAILS,
    "clip-dora/caption-last-four": FAILS,
    "clip-dora/dice-below-one": HOLDS,
    "clip-dora/dice-average": HOLDS,
    "clip-dora/full-better": HOLDS,
    "clip-dora/share-is-ratio": HOLDS,
    "clip-dora/abstract-share": HOLDS,
    "clip-dora/segmentation-parameters": FAILS,
    "clip-dora/clip-smallest": HOLDS,
    "clip-dora/clip-largest": FAILS,
    "clip-dora/equation-2": "misprint",
    "clip-dora/gradient": "misprint",
    "clip-dora/w-o": "misprint",
}
# The lines of claims_check.csv, in its order, and the claim here that carries each one's verdict.
RESEARCH = [
    "clip-dora/gain-1shot",
    "clip-dora/gain-4shot",
    "clip-dora/gain-16shot",
    "clip-dora/over-lora-low",
    "clip-dora/over-lora-high",
    "clip-dora/grows-with-shots",
    "clip-dora/food-and-pets-1shot",
    "clip-dora/across-backbones",
    "clip-dora/consistently-1shot",
    "clip-dora/behind-maple-sd",
    "clip-dora/three-of-four",
    "clip-dora/better-than-clip",
    "clip-dora/caption-cnn",
    "clip-dora/caption-last-four",
    "clip-dora/only-maple-sd-ahead",
    "clip-dora/dice-below-one",
    "clip-dora/segmentation-parameters",
    "clip-dora/clip-largest",
    "clip-dora/equation-2",
    "clip-dora/gradient",
    "lora-clip/clip-l-over-vit-l",
    "lora-clip/prose-numbers",
    "lora-clip/beats-published",
    "lora-clip/clip-over-imagenet",
    "lora-clip/higher-rank-better",
    "lora-clip/row-labels",
    "lora-clip/std-12",
    "lora-clip/merged",
    "lora-clip/mamba-b-size",
    "lora-clip/aid-class-sizes",
    "lora-clip/ucm-means",
]


def test_verdicts_are_the_frozen_ones() -> None:
    assert {name: on_printed(claim).verdict for name, claim in CLAIMS.items()} == FROZEN


def test_verdicts_agree_with_the_research(shared: Path) -> None:
    with (shared / "research/published/claims_check.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(RESEARCH) == 31
    for line, name in zip(lines, RESEARCH, strict=True):
        assert name.startswith(line["paper"].lower()), name
        verdict = on_printed(CLAIMS[name]).verdict
        said = line["verdict"]
        due = (
            {HOLDS}
            if said.startswith(("ok", "equal Table I"))
            else {WITHIN}
            if said.startswith(("0.28 only", "approximate"))
            else {"misprint"}
            if said.startswith(("misprint", "read as", "typo"))
            else {"not supported"}
            if said.startswith("not supported")
            else {FAILS}
        )
        assert verdict in due, (name, said)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("clip-dora/gain-1shot", "1.7636"),
        ("clip-dora/gain-16shot", "1.1455"),
        ("clip-dora/over-lora-low", "0.1273"),
        ("clip-dora/over-lora-high", "0.2727, printed 0.28; 0.28 only between the rounded averages"),
        ("clip-dora/consistently-1shot", "7 of 11"),
        ("clip-dora/consistently-4shot", "6 of 11"),
        ("clip-dora/three-of-four", "mini_domainnet = -1.06"),
        ("clip-dora/better-than-clip", "clip-lora - clip on pacs = -0.07"),
        ("clip-dora/segmentation-parameters", "1.1"),
        ("lora-clip/clip-l-over-vit-l", "4.55"),
        ("lora-clip/aid-class-sizes", "220 to 420"),
        ("lora-clip/ucm-means", "2 of 5"),
    ],
)
def test_recomputed_numbers_are_shown(name: str, number: str) -> None:
    assert number in on_printed(CLAIMS[name]).found


def test_sentences_stand_where_they_are_said(shared: Path) -> None:
    """Each claim's line of the paper's text holds its printed number, where it has one."""
    names = {"lora-clip": "lora_clip.txt", "clip-dora": "clip_dora.txt"}
    texts = {paper: (shared / "papers" / file).read_text("utf-8").splitlines() for paper, file in names.items()}
    for name, claim in CLAIMS.items():
        line = texts[claim.paper][claim.line - 1]
        assert line.strip(), name
        if claim.printed is not None:
            shown = "1.37B" if name == "clip-dora/clip-largest" else str(claim.printed)
            assert shown in line, (name, shown)


def _changed(tmp_path: Path, old: str, new: str) -> Path:
    import shutil

    folder = tmp_path / "clip_dora"
    shutil.copytree(next(p.folder for p in load_papers() if p.id == "clip-dora"), folder)
    path = folder / "claims.toml"
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('kind = "lead"', 'kind = "eval"', "form.kind = 'eval'; allowed are difference, lead"),
        ('cell = "table1/clip-dora-1shot/avg"', 'cell = "table1/clip-dora-1shot/mean"', "is no printed cell"),
        ('over = ["*-1shot"]', 'over = ["*-2shot"]', "matches none of"),
        ('printed = "1.76"', 'printed = "about 2"', "is no plain number"),
        ('id = "gain-4shot"', 'id = "gain-1shot"', "a claim id stands twice"),
        ('says = "1.76%', 'sais = "1.76%', "the key 'says' is missing"),
        ("exactly = 3", 'exactly = "three"', "wrong type"),
    ],
)
def test_faults_name_the_file_the_claim_and_the_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(UserError, match=r"claims\.toml") as error:
        load_claims(load_paper(_changed(tmp_path, old, new)))
    assert message in str(error.value)


@pytest.mark.parametrize("kind", ["text", "md", "json"])
def test_the_command(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claims", "clip-dora", "--format", kind]) == 0
    text = capsys.readouterr().out
    assert "1.7636" in text
    if kind == "json":
        assert len(json.loads(text)["CLIP-DoRA"]) == sum(name.startswith("clip-dora") for name in FROZEN)
