"""A whole segmentation pass: against a plain loop with transformers' own forward, resumed, and what its record says."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torchvision.transforms import functional as view

from clipbench.data.load import image_set
from clipbench.data.splits import split
from clipbench.engine import run_job as passes
from clipbench.engine.batches.views import epoch_order
from clipbench.engine.loop import Loop, State
from clipbench.errors import UserError
from clipbench.launch.launcher import Options
from clipbench.launch.local import Local, shares_a_pass
from clipbench.models.clipseg.configs import TINY_CLIPSEG
from clipbench.models.clipseg.load import load_clipseg
from clipbench.models.clipseg.prompts import tokenise
from clipbench.plan.jobs import jobs_of
from clipbench.plan.select import Plan
from clipbench.registry import Overrides, Protocol
from clipbench.results.companions import Sheet
from clipbench.results.store import Store
from tests.engine.passes_for_tests import place, run_planned
from tests.engine.segmentation_for_tests import line, planned, stored

IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
WATCHED: dict[str, Any] = {
    "epochs": 9, "lr": 0.3, "patience": 0, "schedule_factor": 0.3, "early_stop": 3, "min_delta": 0.02,
    "gradient_clip": 0.02,
}  # fmt: skip
"""Everything that the validation images can decide happens within nine epochs."""


class Pictures:
    """Images and masks of a part as PIL and torchvision read them."""

    def __init__(self, protocol: Protocol, folder: Path) -> None:
        self.all = image_set(protocol, folder)
        self.cut = split(self.all, protocol, 1)
        assert {tuple(p["p1"]) for p in self.all.prompts} == {("polyp",)}

    def __call__(self, index: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        images = [Image.open(self.all.root / self.all.files[i]).convert("RGB") for i in index]
        shrunk = [view.to_tensor(image.resize((96, 96), Image.Resampling.BILINEAR)) for image in images]
        pixels = torch.stack([view.normalize(image, *IMAGENET) for image in shrunk])
        masks = [np.asarray(Image.open(self.all.root / self.all.masks[i][0]).convert("L")) > 127 for i in index]
        small = [np.asarray(Image.fromarray(mask).resize((96, 96), Image.Resampling.NEAREST)) for mask in masks]
        return pixels, torch.from_numpy(np.stack(small)).float()


def _soft_dice(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    p = logits.sigmoid()
    top, low = 2 * (p * masks).sum((1, 2)) + 1e-5, p.sum((1, 2)) + masks.sum((1, 2)) + 1e-5
    return (1 - top / low).mean()


def _dice(found: np.ndarray, masks: np.ndarray) -> float:
    each = [
        2 * (f & m).sum() / (f.sum() + m.sum()) if m.any() or f.any() else 1.0
        for f, m in zip(found, masks, strict=True)
    ]
    return 100.0 * float(np.mean(each))


def _by_hand(protocol: Protocol, folder: Path) -> tuple[list[tuple[float, ...]], np.ndarray, np.ndarray]:
    """Lines of loss, rate, validation loss and Dice; test predictions and masks, of decoder tuning in a plain loop.

    The model's own forward, torch's own schedule; best weights by validation Dice, and an early stop.
    """
    pictures = Pictures(protocol, folder)
    model: Any = load_clipseg(TINY_CLIPSEG, "random").module
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=protocol.lr or 0, weight_decay=protocol.weight_decay or 0)
    schedule = ReduceLROnPlateau(optimizer, factor=protocol.schedule_factor or 0, patience=protocol.patience or 0)
    ids = tokenise(["polyp"])[0]

    def logits(images: torch.Tensor) -> torch.Tensor:
        rows = ids.expand(len(images), -1)
        found: torch.Tensor = model(input_ids=rows, pixel_values=images, interpolate_pos_encoding=True).logits
        return found

    lines, best, bad, kept, highest = [], -1.0, 0, {}, -1.0
    for epoch in range(protocol.epochs or 0):
        model.train()
        order = [pictures.cut.train[i] for i in epoch_order(1, epoch, len(pictures.cut.train)).tolist()]
        rate, total = optimizer.param_groups[0]["lr"], 0.0
        for start in range(0, len(order), protocol.batch_size or 1):
            images, masks = pictures(order[start : start + (protocol.batch_size or 1)])
            loss = _soft_dice(logits(images), masks)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, protocol.gradient_clip or 0)
            optimizer.step()
            total += loss.item() * len(images)
        model.eval()
        images, masks = pictures(list(pictures.cut.val))
        with torch.no_grad():
            found = logits(images)
        val, score = _soft_dice(found, masks).item(), _dice((found > 0).numpy(), masks.numpy() > 0)
        schedule.step(val)
        lines.append((total / len(order), rate, val, score))
        if score > highest:
            highest, kept = score, copy.deepcopy(model.state_dict())
        best, bad = (score, 0) if score - 100 * (protocol.min_delta or 0) > best else (best, bad + 1)
        if bad >= (protocol.early_stop or 0):
            break
    model.load_state_dict(kept)
    images, masks = pictures(list(pictures.cut.test))
    with torch.no_grad():
        return lines, (logits(images) > 0).numpy(), masks.numpy() > 0


@pytest.mark.parametrize("fields", [WATCHED, {"epochs": 5, "lr": 0.01}], ids=["watched", "learning"])
def test_decoder_tuning_is_a_plain_pytorch_loop(fields: dict[str, Any], tmp_path: Path) -> None:
    (run,) = planned("full", **fields)
    (draft,) = run_planned([run], place(tmp_path)).drafts
    lines, predictions, masks = _by_hand(run.run.protocol, tmp_path)
    ours = [(x.train_loss, x.lr, x.val_loss, x.val_score) for x in draft.record.history]
    # The optimiser's steps amplify the last bits of a gradient; a Dice in percent may differ by a pixel.
    np.testing.assert_allclose(np.array(ours), np.array(lines), rtol=5e-3, atol=1e-3)
    found = stored(draft)
    np.testing.assert_array_equal(found["masks"], masks)
    assert (found["predictions"] == predictions).mean() > 0.999
    assert draft.record.metrics["dice"] == pytest.approx(_dice(predictions, masks), abs=0.2)
    assert draft.record.metrics["val_dice"] == max(x[3] for x in ours)
    if fields is WATCHED:
        rates, scores = [x[1] for x in lines], [x[3] for x in lines]
        assert 3 < len(lines) < 9, "the early stop strikes"
        assert rates[-1] < rates[0], "the plateau cuts the rate"
        assert scores.index(max(scores)) < len(lines) - 1, "the best epoch is not the last"
    else:
        assert len(lines) == 5
        assert lines[-1][0] < 0.95 * lines[0][0], "it learns"


def test_what_the_record_says_follows_from_the_predictions(tmp_path: Path) -> None:
    (draft,) = run_planned(planned(), place(tmp_path)).drafts
    record, found = draft.record, stored(draft)
    pairs = list(zip(found["predictions"], found["masks"], strict=True))
    assert list(record.metrics) == ["dice", "iou", "val_dice", "train_loss"]
    assert record.metrics["dice"] == pytest.approx(_dice(found["predictions"], found["masks"]))
    assert record.metrics["iou"] == pytest.approx(100 * np.mean([(p & m).sum() / (p | m).sum() for p, m in pairs]))
    assert (record.data.train_images, record.data.test_images, len(pairs)) == (12, 12, 12)
    assert record.history[-1].train_loss == record.metrics["train_loss"]
    vision, text, rank, up = 4 * 4 * 48, 2 * 4 * 32, 8, (9 * 16 * 16 + 16) + (16 * 16 * 8 + 8) + (16 * 8 + 1)
    assert record.model.trainable_parameters == (vision + text) * (1 + 2 * rank) + up
    sheet = Sheet.of(draft.files["sheet.npz"])
    assert (len(sheet.images), sheet.total, sheet.images.shape[1]) == (8, 12, 96)
    each = [_dice(p[None], m[None]) for p, m in zip(sheet.predictions, sheet.masks, strict=True)]
    assert sheet.dice == pytest.approx(each)


class KilledError(Exception):
    pass


@pytest.mark.parametrize(("column", "fields"), [("full", {"encoder_gradient": True}), ("clip-dora", {})])
def test_resumed_is_uninterrupted_bit_for_bit(
    column: str, fields: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = planned(column, **(WATCHED | fields | {"epochs": 6, "lr": 0.01, "early_stop": 2, "min_delta": 0.05}))
    (due,) = run_planned(group, place(tmp_path)).drafts
    where = place(tmp_path, checkpoint_seconds=0.0)
    save = passes.Checkpoint.maybe_save

    def save_and_die(self: Any, loop: Loop, state: State, *before_a_test: float) -> bool:
        saved = save(self, loop, state, *before_a_test)
        if not before_a_test:
            raise KilledError
        return saved

    monkeypatch.setattr(passes.Checkpoint, "maybe_save", save_and_die)
    for _ in due.record.history:  # a kill after every epoch, and one more: after the last, before the test
        with pytest.raises(KilledError):
            run_planned(group, where)
    monkeypatch.setattr(passes.Checkpoint, "maybe_save", save)
    (found,) = run_planned(group, where).drafts
    assert line(found) == line(due)
    assert found.files == due.files
    assert found.record.metrics == due.record.metrics


def test_several_seeds_in_one_pass(tmp_path: Path) -> None:
    """Two seeds together give what each gives alone, where nothing of the protocol is a seed's own."""
    plain = {"schedule": "constant", "selection": "last", "early_stop": None, "gradient_clip": None}
    group = [_without(run, plain) for run in planned(seeds=(1, 2))]
    assert shares_a_pass(group[0].run.protocol)
    together = run_planned(group, place(tmp_path)).drafts
    for draft, run in zip(together, group, strict=True):
        (alone,) = run_planned([run], place(tmp_path)).drafts
        ours, theirs = ([x.train_loss for x in d.record.history] for d in (draft, alone))
        assert ours == pytest.approx(theirs, rel=1e-4)
        assert (stored(draft)["predictions"] == stored(alone)["predictions"]).mean() > 0.999
        assert draft.record.model == alone.record.model
    assert line(together[0]) != line(together[1])


def _without(run: Any, fields: dict[str, Any]) -> Any:
    from dataclasses import replace

    return replace(run, run=replace(run.run, protocol=replace(run.run.protocol, **fields)))


def test_what_follows_its_own_validation_trains_alone(tmp_path: Path) -> None:
    group = planned(seeds=(1, 2))
    assert not shares_a_pass(group[0].run.protocol)
    with pytest.raises(UserError, match="one seed at a time"):
        run_planned(group, place(tmp_path))


def test_a_loss_that_is_no_number_makes_no_record(tmp_path: Path) -> None:
    (run,) = planned("full", lr=1e30)
    store = Store(tmp_path / "results")
    summary = Local().launch(jobs_of(Plan(Overrides("smoke"), [run], ())), store, place(tmp_path), Options())
    assert list(summary.failed) == [run.run.id]
    assert "no number from epoch" in summary.failed[run.run.id]


def test_an_early_stop_without_a_best_epoch_tests_the_last(tmp_path: Path) -> None:
    (run,) = planned("full", **(WATCHED | {"selection": "last", "min_delta": 0.9}))
    (draft,) = run_planned([run], place(tmp_path)).drafts
    assert len(draft.record.history) == 4  # the first is the best there will be
    found = stored(draft)
    assert draft.record.metrics["dice"] == pytest.approx(_dice(found["predictions"], found["masks"]))


def test_a_split_without_validation_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    monkeypatch.setattr(passes, "split", lambda *words: replace(split(*words), val=()))
    with pytest.raises(UserError, match="validation images"):
        run_planned(planned(), place(tmp_path))
