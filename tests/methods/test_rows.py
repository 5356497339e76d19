"""The rows that learn on features or with deep tokens, run: seeds in one pass, resumed, their protocols."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipbench.data.load import image_set
from clipbench.plan.select import Planned, make_plan
from clipbench.registry import Overrides
from tests.engine.few_shot_for_tests import step_losses
from tests.engine.passes_for_tests import check_resuming, place, predictions, run_planned
from tests.factory import protocol_of

ROWS = ("tip-adapter-f-4shot", "clip-adapter-4shot", "taskres-4shot", "maple-4shot", "promptsrc-4shot")
SHORT: dict[str, Any] = {"epochs": 3, "batch_size": 12}


def runs(row: str, seeds: Sequence[int], **fields: Any) -> list[Planned]:
    fields = {"limit": 2} | (SHORT if row in ROWS else {}) | fields
    overrides = Overrides("smoke", fields=fields)
    return list(make_plan(["fewshot"], overrides, [f"row={row}", "dataset=caltech101"], seeds).runs)


@pytest.mark.parametrize("row", ROWS)
def test_seeds_in_one_pass_are_passes_of_their_own(row: str, tmp_path: Path) -> None:
    together = run_planned(runs(row, (1, 2)), place(tmp_path)).drafts
    for seed, draft in zip((1, 2), together, strict=True):
        (alone,) = run_planned(runs(row, (seed,)), place(tmp_path)).drafts
        assert draft.record.id == alone.record.id
        assert draft.record.model == alone.record.model
        np.testing.assert_allclose(step_losses(draft), step_losses(alone), rtol=2e-4)
        np.testing.assert_array_equal(predictions(draft), predictions(alone))
    assert step_losses(together[0])[-1] != step_losses(together[1])[-1]


@pytest.mark.parametrize("row", ROWS)
def test_resumed_is_uninterrupted_bit_for_bit(row: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after the first epoch and after the second; what is averaged or kept over epochs goes on too."""
    check_resuming(runs(row, (1, 2)), tmp_path, monkeypatch, kills=2)


def test_training_free_tip_adapter_searches_and_trains_nothing(tmp_path: Path) -> None:
    (draft,) = run_planned(runs("tip-adapter-4shot", (1,)), place(tmp_path)).drafts
    (unsearched,) = run_planned(runs("tip-adapter-4shot", (1,), cache_search="none"), place(tmp_path)).drafts
    assert draft.record.model.trainable_parameters == 0
    assert draft.record.history[-1].train_loss is None
    assert draft.files["predictions.npz"] != unsearched.files["predictions.npz"]


def test_parameters_trained_on_the_tiny_model(tmp_path: Path) -> None:
    """D = Dt = Dv = 96: the formulas that give the printed methods' numbers at ViT-B/16."""
    width = 96
    classes = len(image_set(runs("taskres-4shot", (1,))[0].run.protocol, tmp_path).classes)
    due = {
        "tip-adapter-f-4shot": 2 * classes * width,
        "clip-adapter-4shot": 2 * width * (width // 4),
        "taskres-4shot": classes * width,
        "maple-4shot": 3 * 2 * width + 3 * (width * width + width),
        "promptsrc-4shot": 3 * 4 * width + 3 * 4 * width,
    }
    for row, count in due.items():
        (draft,) = run_planned(runs(row, (1,), epochs=1), place(tmp_path)).drafts
        assert draft.record.model.trainable_parameters == count, row
    assert (512 * 128 * 2, 9 * 2 * 512 + 9 * (512 * 768 + 768)) == (131_072, 3_555_072)


TIP = {  # init alpha, ends of the search, epochs: official configs/*.yaml
    "imagenet": (1.17, (7, 3), 20),
    "sun397": (1.17, (12, 10), 20),
    "fgvc_aircraft": (5, (30, 30), 20),
    "eurosat": (2, (12, 10), 100),
    "stanford_cars": (3, (20, 10), 20),
    "food101": (1.17, (10, 10), 20),
    "oxford_pets": (1.17, (7, 3), 20),
    "flowers102": (10, (50, 50), 20),
    "caltech101": (3, (12, 5), 20),
    "dtd": (2, (13, 13), 20),
    "ucf101": (3, (7, 3), 20),
}


@pytest.mark.parametrize("column", TIP)
def test_constants_of_each_data_set(column: str) -> None:
    """Tip-Adapter's, TaskRes' and PromptSRC's, at 1 and 16 shots."""
    alpha, ends, epochs = TIP[column]
    for shots, length in ((1, 100), (16, 200)):
        tip = protocol_of("clip-dora/table1", f"tip-adapter-f-{shots}shot", column)
        assert (tip.get("cache_alpha"), tip.get("cache_search_ends"), tip.epochs) == (alpha, ends, epochs)
        assert (tip.get("cache_templates") == "imagenet-7") == (column == "imagenet")
        assert (tip.selection, tip.tested, tip.precision) == ("best-test", "every-epoch", "fp32")
        assert (tip.get("cache_search"), tip.val_part) == (
            ("test", "few-shot") if column == "imagenet" else ("val", "all")
        )
        taskres = protocol_of("clip-dora/table1", f"taskres-{shots}shot", column)
        assert (taskres.epochs, taskres.lr) == (length, 2e-4 if column == "imagenet" else 2e-3)
        assert taskres.get("residual_alpha") == (1.0 if column == "flowers102" else 0.5)
        assert (taskres.get("residual_templates"), taskres.class_names) == (
            "imagenet-8" if column == "imagenet" else "one",
            "with-underscores",
        )
        late = column in ("fgvc_aircraft", "eurosat", "stanford_cars", "flowers102", "dtd")
        src = protocol_of("clip-dora/table1", f"promptsrc-{shots}shot", column)
        assert (src.get("epoch_mean"), src.get("epoch_std")) == ((45, 5) if late else (30, 30))


def test_choices_of_the_published_quirks() -> None:
    clean = Overrides(assume={"tip-selection": "last", "taskres-names": "clean", "maple-recipe": "cross-data-set"})
    tip = protocol_of("clip-dora/table1", "tip-adapter-f-4shot", "dtd", clean)
    assert (tip.selection, tip.tested) == ("last", "last")
    assert protocol_of("clip-dora/table1", "taskres-4shot", "dtd", clean).class_names == "catalogue"
    maple = protocol_of("clip-dora/table1", "maple-4shot", "dtd", clean)
    assert (maple.epochs, maple.lr, maple.get("prompt_depth")) == (2, 2.6e-3, 3)


@pytest.mark.parametrize(("row", "epochs"), [("maple", 5), ("promptsrc", 20)])
def test_rows_of_table_3_train_on_whole_source_domains(row: str, epochs: int) -> None:
    found = protocol_of("clip-dora/table3", row, "pacs")
    assert (found.split_rule, found.epochs, found.batch_size, found.shots) == ("leave-one-domain-out", epochs, 4, None)
    assert found.train_transform == "random-resized-crop"
    if row == "promptsrc":
        assert (found.get("epoch_mean"), found.get("epoch_std")) == (15, 1)
