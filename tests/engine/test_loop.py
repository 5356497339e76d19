"""The loop against a plain one written by hand; interrupted and resumed; and a loss that is no number."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.transforms import functional as reference

from clipbench.data.load import image_set
from clipbench.data.splits import split
from clipbench.engine import run_job as jobs
from clipbench.engine.batches.views import epoch_order, epoch_views
from clipbench.engine.loop import Loop, State
from clipbench.engine.random import stream
from clipbench.engine.tasks.classification import Classification
from clipbench.launch.launcher import Options
from clipbench.launch.local import Local
from clipbench.models.image_tower import CLIP_MEAN, CLIP_STD
from clipbench.models.tiny import load_tiny
from clipbench.plan.cost import images_seen
from clipbench.plan.jobs import jobs_of
from clipbench.plan.select import Plan
from clipbench.registry import Overrides, Protocol
from clipbench.results.store import Store
from tests.engine.passes_for_tests import curve, place, planned, predictions, run_planned
from tests.engine.test_replicas import DORA


class _Plain(nn.Module):
    """The tiny tower, average-pooled by open_clip itself, under torch's own linear layer."""

    def __init__(self, classes: int, seed: int) -> None:
        super().__init__()
        self.visual: Any = load_tiny().visual
        self.visual.proj, self.visual.pool_type = None, "avg"
        self.head = nn.Linear(96, classes)
        draw, bound = stream(seed, "head"), 1 / np.sqrt(96)
        with torch.no_grad():
            self.head.weight.uniform_(-bound, bound, generator=draw)
            self.head.bias.uniform_(-bound, bound, generator=draw)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.visual(images))
        return logits


def _picture(path: Path, view: int) -> torch.Tensor:
    with Image.open(path) as image:
        pixels = reference.to_tensor(image.convert("RGB").resize((64, 64), Image.Resampling.BICUBIC))
    pixels = reference.hflip(pixels) if view & 1 else pixels
    pixels = reference.vflip(pixels) if view & 2 else pixels
    return reference.normalize(pixels, CLIP_MEAN, CLIP_STD)


def _by_hand(protocol: Protocol, seed: int, folder: Path) -> tuple[list[float], list[float], list[int]]:
    """Losses and accuracies by epoch, and the last predictions, of full tuning as anyone would write it."""
    images = image_set(protocol, folder)
    parts = split(images, protocol, seed)
    model = _Plain(len(images.classes), seed)
    assert protocol.lr is not None
    assert protocol.lr_min is not None
    assert protocol.epochs is not None
    assert protocol.batch_size is not None
    optimizer = torch.optim.AdamW(model.parameters(), lr=protocol.lr, weight_decay=protocol.weight_decay)  # type: ignore[arg-type]
    steps = -(-len(parts.train) // protocol.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, protocol.epochs * steps, eta_min=protocol.lr_min)
    test = torch.stack([_picture(images.root / images.files[i], 0) for i in parts.test])
    truth = torch.tensor([images.labels[i] for i in parts.test])
    losses, scores, predicted = [], [], torch.empty(0)
    for epoch in range(protocol.epochs):
        model.train()
        order = epoch_order(seed, epoch, len(parts.train)).tolist()
        views = epoch_views(seed, epoch, len(parts.train), protocol).tolist()
        summed = 0.0
        for start in range(0, len(order), protocol.batch_size):
            positions = range(start, min(start + protocol.batch_size, len(order)))
            chosen = [parts.train[order[p]] for p in positions]
            batch = torch.stack(
                [_picture(images.root / images.files[i], views[p]) for i, p in zip(chosen, positions, strict=True)]
            )
            loss = nn.functional.cross_entropy(model(batch), torch.tensor([images.labels[i] for i in chosen]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            summed += loss.item() * len(chosen)
        model.eval()
        with torch.no_grad():
            predicted = model(test).argmax(dim=1)
        losses.append(summed / len(order))
        scores.append(100.0 * (predicted == truth).float().mean().item())
    return losses, scores, predicted.tolist()


def test_full_tuning_is_a_plain_pytorch_loop(tmp_path: Path) -> None:
    (run,) = planned("full", (3,), epochs=3)
    (draft,) = run_planned([run], place(tmp_path)).drafts
    losses, scores, predicted = _by_hand(run.run.protocol, 3, tmp_path)
    # The optimiser's steps amplify the last bits of a gradient: 1e-5 in the first epoch, 1e-3 in the third.
    assert [loss for loss, _, _ in curve(draft)] == [
        pytest.approx(loss, rel=rel) for loss, rel in zip(losses, (1e-5, 1e-4, 1e-3), strict=True)
    ]
    assert [score for _, _, score in curve(draft)] == pytest.approx(scores, abs=1e-4)
    assert predictions(draft).tolist() == predicted
    assert losses[-1] < 0.8 * losses[0]  # it learns, so that equality says something


def test_what_the_record_says_follows_from_the_predictions(tmp_path: Path) -> None:
    (draft,) = run_planned(planned("lora-r4", (1,)), place(tmp_path)).drafts
    record = draft.record
    stored = np.load(io.BytesIO(draft.files["predictions.npz"]))
    right = stored["labels"] == stored["predictions"]
    assert record.metrics["accuracy"] == pytest.approx(100 * right.mean())
    each = [100 * right[stored["labels"] == c].mean() for c in range(10)]
    assert record.metrics["mean_class_accuracy"] == pytest.approx(np.mean(each))
    assert record.history[-1].accuracy == record.metrics["accuracy"]
    assert (record.data.train_images, record.data.test_images, len(right)) == (40, 40, 40)
    assert [line.epoch for line in record.history] == [1, 2]
    adapters = 4 * 4 * (4 * 2 * 96)  # blocks x projections x rank x (in + out)
    assert record.model.trainable_parameters == adapters + 96 * 10 + 10


def test_the_best_epoch_is_taken_where_the_protocol_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second of three epochs is made the best."""
    run, seen = Loop.run, []

    def watched(self: Loop, *arguments: Any, **named: Any) -> State:
        seen.append(run(self, *arguments, **named))
        return seen[-1]

    monkeypatch.setattr(Loop, "run", watched)
    for selection, score, epoch in (("last", 60, 2), ("best-test", 70, 1)):
        scores = iter((50.0, 70.0, 60.0))
        monkeypatch.setattr(Classification, "scores", lambda *_, scores=scores: [next(scores)])
        (draft,) = run_planned(planned("lora-r4", (1,), epochs=3, selection=selection), place(tmp_path)).drafts
        assert draft.record.history[epoch].accuracy == score
        found = np.load(io.BytesIO(draft.files["predictions.npz"]))
        right = found["labels"] == found["predictions"]
        assert draft.record.metrics["accuracy"] == pytest.approx(100 * right.mean())
        assert predictions(draft).tolist() == seen[-1].outputs[epoch]["predictions"][0].tolist()
    assert seen[0].outputs[1]["predictions"].tolist() != seen[0].outputs[2]["predictions"].tolist()


class KilledError(Exception):
    pass


def _killed_after(epoch: int, monkeypatch: pytest.MonkeyPatch) -> Any:
    save = jobs.Checkpoint.maybe_save

    def save_and_die(self: Any, loop: Loop, state: State, *before_a_test: float) -> bool:
        saved = save(self, loop, state, *before_a_test)
        if state.epoch == epoch and not before_a_test:
            raise KilledError
        return saved

    context = monkeypatch.context()
    patch = context.__enter__()
    patch.setattr(jobs.Checkpoint, "maybe_save", save_and_die)
    return context


@pytest.mark.parametrize(
    ("row", "seeds", "fields"),
    [
        ("linear-probe", (1, 2), {"head_dropout": 0.2}),
        ("lora-r4", (1, 2), {"adapter_dropout": 0.25}),
        ("lora-r4", (1, 2), DORA | {"adapter_dropout": 0.25}),
        ("full", (1,), {}),
    ],
    ids=["linear-probe", "lora", "dora", "full"],
)
def test_resumed_is_uninterrupted_bit_for_bit(
    row: str, seeds: Sequence[int], fields: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = planned(row, seeds, epochs=4, **fields)
    due = run_planned(group, place(tmp_path / "whole")).drafts
    where = place(tmp_path / "cut", checkpoint_seconds=0.0)
    context = _killed_after(2, monkeypatch)
    with pytest.raises(KilledError):
        run_planned(group, where)
    context.__exit__(None, None, None)
    assert len(list(where.checkpoints.iterdir())) == 1
    epochs: list[int] = []
    train = Loop._train_epoch
    monkeypatch.setattr(Loop, "_train_epoch", lambda self, p, i, h: epochs.append(p.epoch) or train(self, p, i, h))
    outcome = run_planned(group, where)
    assert epochs == [2, 3]  # the first two came from the checkpoint
    assert [curve(d) for d in outcome.drafts] == [curve(d) for d in due]
    assert [d.files for d in outcome.drafts] == [d.files for d in due]
    assert [d.record.metrics for d in outcome.drafts] == [d.record.metrics for d in due]
    outcome.checkpoint.remove()
    assert not list(where.checkpoints.iterdir())


def test_a_torn_checkpoint_costs_time_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = planned("lora-r4", (1,))
    due = run_planned(group, place(tmp_path)).drafts
    where = place(tmp_path, checkpoint_seconds=0.0)
    context = _killed_after(1, monkeypatch)
    with pytest.raises(KilledError):
        run_planned(group, where)
    context.__exit__(None, None, None)
    (saved,) = where.checkpoints.iterdir()
    saved.write_bytes(saved.read_bytes()[:1000])
    with pytest.warns(UserWarning, match="checkpoint"):
        found = run_planned(group, where).drafts
    assert [curve(d) for d in found] == [curve(d) for d in due]


def test_a_checkpoint_that_cannot_be_written_does_not_stop_the_run(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file is in the way")
    with pytest.warns(UserWarning, match="no checkpoint could be written"):
        outcome = run_planned(planned("linear-probe", (1,)), place(tmp_path, checkpoint_seconds=0.0))
    assert len(outcome.drafts) == 1
    outcome.checkpoint.remove()


@pytest.mark.parametrize("row", ["lora-r4", "full"])
def test_a_loss_that_is_no_number_makes_no_record(row: str, tmp_path: Path) -> None:
    group = planned(row, (1,), lr=1e30)
    store = Store(tmp_path / "results")
    summary = Local().launch(jobs_of(Plan(Overrides("smoke"), group, ())), store, place(tmp_path), Options())
    run_id = group[0].run.id
    assert (summary.made, list(summary.failed)) == ([], [run_id])
    assert "no number from epoch" in summary.failed[run_id]
    assert store.scan() == ([], [])
    kept = json.loads((store.root / ".failed" / f"{run_id}.json").read_text())
    assert kept["seed"] == 1
    assert kept["protocol"]["lr"] == 1e30
    assert len(kept["history"]) == 2
    assert not list((store.root / ".claims").iterdir())


def test_a_seed_that_diverges_leaves_the_others_their_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = planned("linear-probe", (1, 2))
    run = Loop.run

    def spoiled(self: Loop, *arguments: Any, **named: Any) -> State:
        state = run(self, *arguments, **named)
        state.losses[0, -1] = float("inf")
        return state

    monkeypatch.setattr(Loop, "run", spoiled)
    store = Store(tmp_path / "results")
    summary = Local().launch(jobs_of(Plan(Overrides("smoke"), group, ())), store, place(tmp_path), Options())
    assert list(summary.failed) == [group[0].run.id]
    assert [r.seed for r in store.scan()[0]] == [2]


def test_splits_of_different_size_do_not_train_together() -> None:
    from clipbench.data.splits import Split
    from clipbench.errors import UserError

    protocol = planned()[0].run.protocol
    images = image_set(protocol, Path())
    with pytest.raises(UserError, match="--replicas 1"):
        jobs.parts_of(images, [Split([0, 1], [2], ""), Split([0], [1, 2], "")], protocol)


@pytest.mark.parametrize("row", ["lora-r4", "resnet50-eam"])
def test_what_is_done_is_what_was_said(row: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The images of an earlier stage count beside the protocol's; those of epochs that a checkpoint holds do not."""
    group = planned(row, (1,), batch_size=8, **({"first_epochs": 1} if row == "resnet50-eam" else {}))
    done: list[int] = []
    more: list[int] = []
    where = place(tmp_path, checkpoint_seconds=0.0, advance=done.append, more=more.append)
    protocol = group[0].run.protocol
    due = sum(images_seen(protocol, where.listed))
    patched = _killed_after(1, monkeypatch)
    with pytest.raises(KilledError):
        run_planned(group, where)
    patched.__exit__(None, None, None)
    done.clear()
    more.clear()
    run_planned(group, where)
    assert 0 < sum(done) == due + sum(more)
