"""What the tests of the commands share: calling one, and made-up results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from clipbench.cli.main import main
from clipbench.results.record import Record
from clipbench.results.store import Draft, Store

ROOT = Path(__file__).resolve().parents[2]
CELL = ("lora-clip/table1", "lora-r8", "ucm-80")
NEAR = (99.36, 99.38, 99.37, 99.35, 99.39)
TINY = ["--only", "dataset=ucm,row=lora-r4", "--epochs", "1", "--limit", "3"]

Captured = pytest.CaptureFixture[str]


def publish(out: Path, made: Sequence[Record]) -> Path:
    Store(out / "results").publish([Draft(r, {"predictions.npz": b"x"}) for r in made])
    return out


def call(capsys: Captured, *words: str | Path) -> tuple[int, str, str]:
    code = main([str(w) for w in words])
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return code, said.out, said.err


def as_json(capsys: Captured, *words: str | Path) -> Any:
    code, out, _ = call(capsys, *words)
    assert code == 0
    return json.loads(out)
