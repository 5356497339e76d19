"""Malformed papers: each is refused with the file, its line and the key, and none is a traceback."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from clipbench.audit.sentences.claim import load_claims
from clipbench.cli.main import main
from clipbench.errors import UserError
from clipbench.registry import find, load_paper, load_papers, registry_dir
from clipbench.registry.printed import load_published
from clipbench.registry.toml_files import _lines

LORA, DORA = "lora_clip", "clip_dora"
TABLE, FIGURE, SCATTER, PAPER = "table1.toml", "figure3.toml", "figure4.toml", "paper.toml"
LR = 'lr = { value = 2e-4, stated = "sec. III-A" }'
SEEDS = ("[]", '["a"]', "[1.5]", "[-1]", "[true]", "[1, 1]", "[[1]]", "[nan]", "[9223372036854775808]")
FAULTS = [
    *((LORA, TABLE, "seeds = [1, 2, 3, 4, 5]", f"seeds = {seeds}", "seed") for seeds in SEEDS),
    *((LORA, PAPER, "seeds = [1, 2]", f"seeds = {seeds}", "seed") for seeds in SEEDS),
    (LORA, FIGURE, 'source = "table1"', 'source = "table9"', "line 5, source: source = 'table9' is no table"),
    (LORA, FIGURE, 'source = "table1"', 'source = "figure3"', "is no table of the paper"),
    (LORA, FIGURE, 'y = "accuracy"', 'y = "acuracy"', "line 6, y: y = 'acuracy'; curves draw accuracy or train_loss"),
    (LORA, FIGURE, 'kind = "curves"', 'kind = "curve"', "line 1, kind: kind = 'curve'; allowed are table"),
    (LORA, FIGURE, 'rows = ["lora-r4"', 'rows = ["lora-r5"', "table1 has no 'lora-r5'"),
    (LORA, FIGURE, 'columns = ["ucm-80"]', "columns = []", "needs a row and a column"),
    (LORA, SCATTER, 'feature = "before"', 'feature = "during"', "allowed are before, after"),
    (LORA, TABLE, "train_fraction = 0.2", "train_fraction = nan", "must be a number above 0 and below 1"),
    (LORA, TABLE, "train_fraction = 0.2", "train_fraction = 1.9", "must be a number above 0 and below 1"),
    (LORA, TABLE, 'recipe = "full"', 'recipe = "ful"', "there is no recipe 'ful'"),
    (LORA, TABLE, 'protocol = "scene"', 'protocol = "scenes"', "there is no protocol 'scenes'"),
    (LORA, TABLE, 'quoted = "3"', 'quoted = "33"', "the references of paper.toml have no '33'"),
    (LORA, TABLE, 'id = "full"', 'id = "../full"', "make an id"),
    (LORA, TABLE, 'unit = "%"', 'unit = "percent"', "allowed are %, M"),
    (DORA, TABLE, "average_of = [", 'average_of = ["avg", ', "would be computed from itself"),
    (DORA, "table4.toml", '["clip-dora", "full"]', '["clip-dora"]', "it takes two entries"),
    (DORA, "table4.toml", '["clip-dora", "full"]', '["clip-dora", "full", "avg"]', "to compute from"),
    (LORA, PAPER, "[protocols.scene]", '[protocols.scene]\nextends = "scene"', "the protocol scene extends itself"),
    (LORA, PAPER, LR, LR.replace("2e-4", "inf"), "lr = inf: must be a number from 0"),
    (LORA, PAPER, LR, LR.replace("stated", "says"), "write {value, stated}"),
    (LORA, PAPER, LR, 'lr = { assumed = "nothing" }', "no assumption 'nothing'"),
    (LORA, PAPER, "epochs = { value = 10", "epochs = { value = 1.5", "must be a whole number from 1 to 1,000,000"),
    (LORA, PAPER, 'id = "lora-clip"', 'id = "Lora/../x"', "make an id"),
    (LORA, "assumptions.toml", 'set = { scaling = "alpha" }', "set = { rank = 3 }", "must set the same fields"),
]


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    _lines.cache_clear()
    return Path(shutil.copytree(registry_dir(), tmp_path / "papers", ignore=shutil.ignore_patterns("speed")))


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text, "the fault no longer finds its place: mend this test"
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize(("paper", "file", "old", "new", "says"), FAULTS, ids=[f"{f[1]}: {f[3][:40]}" for f in FAULTS])
def test_a_malformed_file_is_refused(registry: Path, paper: str, file: str, old: str, new: str, says: str) -> None:
    change(registry / paper / file, old, new)
    with pytest.raises(UserError) as refused:
        load_paper(registry / paper)
    said = str(refused.value)
    assert said.startswith(str(registry / paper / file))
    assert says in said


def test_the_command_names_file_and_line_and_goes_on_with_the_next_paper(
    registry: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(registry / LORA / TABLE, 'dataset = "aid"', 'dataset = "umc"')
    assert main(["validate", str(registry)]) == 2
    said = capsys.readouterr()
    assert f"{registry / LORA / TABLE}, line 31, columns, aid-20, dataset: the data set 'umc'" in said.err
    assert "Did you mean ucm?" in said.err
    assert f"clip-dora: {len(find(['clip-dora']))} tables and figures" in said.out


CLAIMS = [
    ('kind = "lead"', "kind = []", "form.kind = []; allowed are difference"),
    ('over = ["*-1shot"]', "over = []", "over = [] has the wrong type; expected a list of texts that are not empty"),
    ('over = ["*-1shot"]', "over = [1]", "expected a list of texts that are not empty"),
    ('over = ["*-1shot"]', 'over = ["nothing*"]', "'nothing*' matches none of"),
    ('cell = "table1/clip-dora-1shot/avg"', 'cell = "table1/clip-dora-1shot/average"', "is no printed cell"),
    ('cell = "table1/clip-dora-1shot/avg"', 'cell = "table1/zero-shot/avg - table1/zero-shot/dtd"', "no single cell"),
    ('experiment = "table1"', 'experiment = "table9"', "clip-dora has no table 'table9'; it has "),
    ('by = "best"', 'by = "worst"', "expected one of each, best"),
    ("line = 118", "line = 0", "line = 0 has the wrong type; expected the number of a line, from 1"),
    ("bound = 1.0", "bound = nan", "bound = nan has the wrong type; expected a number above 0"),
    ("exactly = 3", "exactly = 999", "999 of"),
    ("exactly = 3", "exactly = -1", "expected a whole number from 0"),
    ('"StyLIP" = 85.225', '"StyLIP" = inf', "expected a table of numbers"),
    ("shots = [1, 2, 4, 8, 16]", "shots = [1, true]", "shots = True: must be a whole number"),
    ("shots = [1, 2, 4, 8, 16]", "shot = [1]", "there is no protocol field 'shot'"),
    ('id = "gain-4shot"', 'id = "gain-1shot"', "a claim id stands twice"),
    ('printed = "1.76"', 'printed = "\uff11.76"', "is no plain number such as 97.94"),
    ('says = "1.76% above', 'says = "\\u001b[2J1.76% above', "expected text that is not empty"),
]


@pytest.mark.parametrize(("old", "new", "says"), CLAIMS, ids=[c[1][:30] for c in CLAIMS])
def test_a_malformed_sentence_is_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    (paper,) = (paper for paper in load_papers() if paper.id == "clip-dora")
    for name in ("claims.toml", "published.csv"):
        shutil.copy(paper.folder / name, tmp_path)
    change(tmp_path / "claims.toml", old, new)
    with pytest.raises(UserError) as refused:
        load_claims(replace(paper, folder=tmp_path))
    said = str(refused.value)
    assert said.startswith(f"{tmp_path / 'claims.toml'}, line ")
    assert says in said
    assert "\n" not in said


@pytest.mark.parametrize("name", [TABLE, PAPER, "claims.toml", "assumptions.toml", "published.csv"])
def test_what_is_no_text_file_is_refused_and_never_waited_for(registry: Path, name: str) -> None:
    path, read = registry / LORA / name, load_published if name == "published.csv" else load_claims

    def refusal() -> str:
        _lines.cache_clear()
        with pytest.raises(UserError) as refused:
            read(load_paper(registry / LORA))
        return str(refused.value)

    content = path.read_bytes()
    path.write_bytes(content.decode().encode("utf-16"))
    assert refusal().startswith(f"{path} is not valid")
    path.write_bytes(b"x = " + b"9" * 5000 + b"\n" + content)
    assert refusal().startswith(str(path))
    if name == PAPER:
        return
    path.unlink()
    os.mkfifo(path)
    assert refusal() == f"{path} is no file."
    path.unlink()
    path.symlink_to(path)
    assert refusal().startswith(f"{path} cannot be read")


def test_a_file_with_a_byte_order_mark_is_taken(registry: Path) -> None:
    for path in (registry / LORA).iterdir():
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    paper = load_paper(registry / LORA)
    assert len(load_published(paper)) == 110
    assert len(load_claims(paper)) == 26


def test_our_papers_are_valid(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(registry_dir() / LORA)]) == 0
    said = capsys.readouterr().out
    assert f"lora-clip: {len(find(['lora-clip']))} tables and figures" in said
    assert "110 printed numbers, 26 claims: valid" in said


def test_a_folder_without_a_paper_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(tmp_path)]) == 2
    assert "holds no folder with a paper.toml" in capsys.readouterr().err


def test_a_paper_of_ones_own_is_listed_and_an_ambiguous_name_refused(
    registry: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIPBENCH_PAPERS", "")
    own = Path(shutil.copytree(registry / LORA, tmp_path / "mine"))
    change(own / PAPER, 'id = "lora-clip"', 'id = "mine"')
    assert main(["list", "mine", "--papers", str(own), "--out", str(tmp_path), "--data", str(tmp_path)]) == 0
    assert "mine/table2" in capsys.readouterr().out
    assert main(["show", "table1", "--papers", str(own)]) == 2
    assert "is a name in 2 papers. Say which: mine/table1" in capsys.readouterr().err
