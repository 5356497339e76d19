"""Protocols, registry files and options as people write them: a value that nothing reads, or that cannot be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from clipbench.cli.main import main
from clipbench.registry import registry_dir
from clipbench.registry.toml_files import _lines
from tests.cli.commands_for_tests import ROOT, Captured, call

FEW = ["--backbone", "clipbench-tiny", "--precision", "fp32", "--set", "steps_per_shot=2", "--seeds", "1"]


def refused(capsys: Captured, my: Path, *words: str) -> str:
    """What a few-shot run on the pictures says, which leaves nothing behind."""
    out = my.parent / "out"
    only = ("--only", "method=clip-dora-1shot")
    code, said, err = call(capsys, "run", "fewshot", "--dataset-dir", my, *only, *FEW, *words, "--out", out)
    assert (code, said, out.exists()) == (2, "", False)
    assert len(err.strip().splitlines()) == 1
    return err


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("lr=nan", "lr = nan: must be a number from 0."),
        ("lr=-1", "lr = -1: must be a number from 0."),
        ("lr=inf", "lr = inf: must be a number from 0."),
        ("betas=0", "must be 2 numbers from 0 and below 1"),
        ("betas=0.9", "must be 2 numbers from 0 and below 1"),
        ("betas=[]", "betas = []: must be 2 numbers"),
        ("betas=[2, 3]", "must be 2 numbers from 0 and below 1"),
        ("eps=nan", "eps = nan: must be a number from 0 to 1"),
        ("hflip=nan", "hflip = nan: must be a number from 0 to 1"),
        ("train_fraction=nan", "train_fraction = nan: must be a number above 0 and below 1"),
        ("rank=100000", "rank = 100000: must be a whole number from 1 to 4,096"),
        ("crop_scale=[0]", "must be 2 numbers above 0 to 1, the smaller first"),
        ("crop_scale=2,1", "must be 2 numbers above 0 to 1, the smaller first"),
        ("alpha=0", "alpha = 0: must be a number above 0"),
        ("gradient_clip=0", "gradient_clip = 0: must be a number above 0"),
        ("template=a photo", "must be text with {} in it, or dataset"),
    ],
)
def test_a_number_that_cannot_be(capsys: Captured, my: Path, word: str, says: str) -> None:
    assert says in refused(capsys, my, "--set", word)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--epochs", "1"), "epochs = 1: no run of this selection reads it; these runs are measured by steps_per_shot"),
        (("--epochs", "50"), "epochs = 50: no run of this selection reads it"),
        (("--set", "patience=3"), "it is read where schedule is plateau, and here it is cosine"),
        (("--set", "early_stop=3"), "no run of this selection reads it"),
        (("--set", "train_fraction=0.5"), "it is read where split_rule is stratified-fraction"),
        (("--set", "test_domain=moon"), "it is read where split_rule is leave-one-domain-out"),
        (("--set", "pooling=cls"), "it is read where task is linear-head, and here it is image-text"),
        (("--set", "task=linear-head"), "the protocol does not say pooling"),
        (("--set", "split_rule=official"), "it is read where split_rule is coop or clip-lora, and here it is official"),
        (("--method", "clipbench.methods.base:Method"), "that is the class of all methods"),
        (("--set", "lr_min=1"), "lr_min = 1 is above lr = 0.0002"),
    ],
)
def test_a_field_that_nothing_reads(capsys: Captured, my: Path, words: tuple[str, ...], says: str) -> None:
    assert says in refused(capsys, my, *words)


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    _lines.cache_clear()
    monkeypatch.setenv("CLIPBENCH_PAPERS", "")
    copied = shutil.copytree(registry_dir() / "lora_clip", tmp_path / "mine")
    change(copied / "paper.toml", 'id = "lora-clip"', 'id = "mine"')
    return Path(copied)


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize("seeds", ["[]", '["a"]', "[1.5]", "[-1]", "[true]", "[1, 1]", "[[1]]"])
def test_seeds_that_are_no_numbers(capsys: Captured, registry: Path, seeds: str) -> None:
    change(registry / "table1.toml", "seeds = [1, 2, 3, 4, 5]", f"seeds = {seeds}")
    words = ("--dry-run", "--only", "column=ucm-80,row=lora-r4", "--data", "none")
    code, said, err = call(capsys, "run", "mine/table1", "--papers", registry, *words)
    assert (code, said) == (2, "")
    assert "table1.toml" in err
    assert "seeds" in err


def test_a_protocol_that_extends_itself(capsys: Captured, registry: Path) -> None:
    change(registry / "paper.toml", "[protocols.scene]", '[protocols.scene]\nextends = "scene"')
    code, _, err = call(capsys, "show", "mine/table1", "--papers", registry)
    assert code == 2
    assert f"{registry / 'paper.toml'}, line 23" in err
    assert "the protocol scene extends itself" in err


def test_output_in_an_encoding_that_lacks_characters() -> None:
    """Greek letters and plus-minus signs are escaped, and the exit code stays what it means."""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "clipbench", "audit", "lora-clip"], env=environment, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\u03b1" in done.stdout


def test_a_back_end_that_a_notebook_hands_down(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    assert main(["list", "lora-clip/table1"]) == 0
    assert os.environ["MPLBACKEND"] == "Agg"
    assert "lora-clip/table1" in capsys.readouterr().out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_an_output_that_is_full() -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        words = [sys.executable, "-m", "clipbench", "list", "lora-clip"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(words, env=environment, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert "its output cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
