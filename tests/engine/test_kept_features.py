"""What a run keeps for a figure of features: asked for by the registry, before and after training, seed by seed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from clipbench.plan.keep import features_drawn
from clipbench.plan.select import Planned, make_plan
from clipbench.registry import Overrides
from clipbench.results.companions import FEATURES
from clipbench.results.store import Draft
from tests.engine.passes_for_tests import place, predictions, run_planned


def plan(table: str, row: str, dataset: str = "optimal31", seeds: Sequence[int] = (1,)) -> list[Planned]:
    overrides = Overrides("smoke", fields={"limit": 3, "epochs": 2})
    return list(make_plan([table], overrides, [f"row={row}", f"dataset={dataset}"], seeds).runs)


def test_the_registry_decides() -> None:
    drawn = {row: features_drawn(plan("lora-clip/table2", row)[0]) for row in ("clip-l", "mamba-l")}
    assert drawn == {"clip-l": True, "mamba-l": True}
    assert not features_drawn(plan("lora-clip/table2", "clip-l", "ucm")[0])
    assert not features_drawn(plan("table1", "lora-r4")[0])


def test_a_run_that_another_table_asked_for_first_is_known_by_its_protocol() -> None:
    assert plan("table1", "lora-r8")[0].run.id == plan("lora-clip/table2", "clip-l")[0].run.id
    assert features_drawn(plan("table1", "lora-r8")[0])


@pytest.fixture(scope="module")
def drafts(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Draft]:
    return run_planned(plan("lora-clip/table2", "mamba-l", seeds=(1, 2)), place(tmp_path_factory.mktemp("kept"))).drafts


def read(draft: Draft, folder: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    path = folder / FEATURES
    path.write_bytes(draft.files[FEATURES])
    with safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["classes"])  # noqa: SIM118


def test_features_of_the_test_images_before_and_after(drafts: Sequence[Draft], tmp_path: Path) -> None:
    for draft in drafts:
        kept, classes = read(draft, tmp_path)
        assert len(classes) == draft.record.data.classes
        assert kept["before"].shape == kept["after"].shape == (draft.record.data.test_images, 128)
        assert {str(kept[name].dtype) for name in ("before", "after", "labels")} == {"float16", "int16"}
        assert len(predictions(draft)) == len(kept["labels"])
        assert not np.array_equal(kept["before"], kept["after"])
    first, second = (read(draft, tmp_path)[0]["before"] for draft in drafts)
    assert not np.array_equal(first, second)  # each seed has a split of its own


def test_together_and_alone_keep_the_same(drafts: Sequence[Draft], tmp_path: Path) -> None:
    alone = run_planned(plan("lora-clip/table2", "mamba-l", seeds=(2,)), place(tmp_path)).drafts[0]
    found, due = read(drafts[1], tmp_path)[0], read(alone, tmp_path)[0]
    for name, value in due.items():
        torch.testing.assert_close(torch.from_numpy(found[name]), torch.from_numpy(value), rtol=2e-3, atol=1e-4)


def test_a_run_that_no_figure_draws_keeps_nothing(tmp_path: Path) -> None:
    assert FEATURES not in run_planned(plan("lora-clip/table2", "vit-b"), place(tmp_path)).drafts[0].files
