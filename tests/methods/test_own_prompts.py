"""Prompt learning on a user's own folder: clipbench's methods, one written by the user, and one of ours subclassed."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipbench.engine.outcome import Outcome
from clipbench.plan.select import make_plan
from clipbench.plan.user import additions
from clipbench.registry import Overrides
from tests.engine.few_shot_for_tests import step_losses
from tests.engine.passes_for_tests import place, run_planned

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
COLOURS = {"red_square": (220, 30, 30), "green field": (40, 180, 60), "blue_lake": (30, 60, 210)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of eight plain pictures."""
    root, random = tmp_path_factory.mktemp("own"), np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (root / name).mkdir()
        for i in range(8):
            pixels = np.clip(np.array(colour) + random.normal(0, 20, (40, 50, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    return root


def run(row: str, folder: Path, methods: tuple[str, ...] = (), **fields: object) -> Outcome:
    added = additions(folder, methods)
    plan = make_plan(["fewshot"], Overrides("smoke", fields=fields), [f"row={row}"], (1, 2), added.apply)
    assert not plan.gaps
    return run_planned(list(plan.runs), place(folder.parent, user_data=added.own))


@pytest.mark.parametrize("row", ["coop-4", "coop-16", "cocoop", "kgcoop", "prograd", "plotpp"])
def test_every_row_trains_on_a_folder_of_the_user(row: str, folder: Path) -> None:
    drafts = run(f"{row}-1shot", folder, epochs=2).drafts
    assert [d.record.seed for d in drafts] == [1, 2]
    assert all(np.isfinite(step_losses(d)).all() for d in drafts)


@pytest.mark.parametrize(
    ("name", "row"), [("own_coop:OwnCoOp", "own-coop"), ("own_kgcoop:SquaredKgCoOp", "kgcoop-squared-distance")]
)
def test_the_examples_learn(name: str, row: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SGD with a warm-up epoch, from the protocol that the class declares; the loss falls for either seed."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    drafts = run(f"{row}-clip-dora-4shot", folder, (name,), epochs=12).drafts
    for draft in drafts:
        p, losses, rates = draft.record.protocol, step_losses(draft), [line.lr for line in draft.record.history]
        assert (p.optimiser, p.steps_per_shot, p.epochs, p.rank) == ("sgd", None, 12, None)
        assert rates[0] == 1e-5
        assert rates[1] == p.lr
        assert losses[-3:].mean() < losses[:2].mean()


def test_coop_of_the_user_is_short_and_touches_nothing_private() -> None:
    text = (EXAMPLES / "own_coop.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 60
    names = {node.attr for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute)}
    assert not {n for n in names if n.startswith("_") and n != "__init__"}
