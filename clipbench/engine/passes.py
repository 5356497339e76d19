"""One pass: the runs of one protocol that train together, from data and model to records."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clipbench.data.cache import decoded
from clipbench.data.images import ImageSet
from clipbench.data.load import image_set
from clipbench.data.splits import Split, split
from clipbench.drawn import FEATURES, features_drawn
from clipbench.engine.checkpoint import Checkpoint
from clipbench.engine.device import Meter, autocast, commit, environment
from clipbench.engine.features import FeatureBank
from clipbench.engine.kept_features import features_of, packed
from clipbench.engine.linear_head import LinearHeadTask
from clipbench.engine.loop import Hooks, Loop, Parts, Source, State
from clipbench.engine.streams import stream_seed
from clipbench.engine.views import Images
from clipbench.errors import UserError
from clipbench.methods import method
from clipbench.models.backbone import Backbone
from clipbench.models.load import load_backbone
from clipbench.models.sources import Sources
from clipbench.plan import Planned
from clipbench.record import Cost, DataUsed, Environment, Epoch, ModelUsed, Record
from clipbench.spec import Protocol
from clipbench.store import Draft


def _ignore(*_: object) -> None:
    """Nobody watches."""


@dataclass(frozen=True)
class Workplace:
    """Where a pass works: data, files behind names, device, and where checkpoints go."""

    data_root: Path
    device: torch.device
    checkpoints: Path
    sources: Sources = field(default_factory=Sources)
    checkpoint_seconds: float = 600.0
    advance: Callable[[int], None] = _ignore
    tell: Callable[[str], None] = _ignore


@dataclass(frozen=True)
class Diverged:
    """A run whose loss was no number; its history says from when on."""

    planned: Planned
    history: Sequence[Epoch]
    reason: str


@dataclass(frozen=True)
class Outcome:
    """Records of the runs that went well, what happened to those that did not, and the checkpoint to remove."""

    drafts: Sequence[Draft]
    diverged: Sequence[Diverged]
    checkpoint: Checkpoint


def run_pass(group: Sequence[Planned], place: Workplace) -> Outcome:
    """Train the runs of one protocol together. Raises ``UserError`` for missing data, weights or memory."""
    began, meter = time.perf_counter(), Meter(place.device)
    protocol, seeds = group[0].run.protocol, [p.run.seed for p in group]
    images = image_set(protocol, place.data_root)
    splits = [split(images, protocol, seed) for seed in seeds]
    backbone = _backbone(protocol, place)
    task = LinearHeadTask(backbone, seeds, len(images.classes), protocol)
    way = method(protocol.method or "")
    way.attach(backbone.module, protocol, [stream_seed(seed, "adapter") for seed in seeds])
    task.head.requires_grad_(True)
    task.to(place.device)

    pixels = _images(images, backbone, protocol, place)
    parts = _parts(images, splits)
    source: Source = _bank(task, pixels, parts, protocol, place) if way.frozen else pixels
    model = task.head if way.frozen else task
    loop = Loop(model, source, parts, protocol, seeds, place.device)
    runs = [f"{planned.run.id} {cut.digest}" for planned, cut in zip(group, splits, strict=True)]
    identity = [*runs, backbone.weights_sha256, commit(), str(place.device)]
    checkpoint = Checkpoint(place.checkpoints, identity, place.checkpoint_seconds)
    seen = [_test_features(task, source, parts, protocol, place)] if features_drawn(group[0]) else []

    def start_epoch(epoch: int) -> None:
        way.start_epoch(backbone.module, [stream_seed(seed, "dropout", epoch) for seed in seeds])
        task.head.start_epoch(seeds, epoch)

    def epoch_end(state: State) -> None:
        checkpoint.maybe_save(loop, state)

    state = loop.run(checkpoint.restore(loop), start_epoch, Hooks(place.advance, epoch_end))
    seen += [_test_features(task, source, parts, protocol, place)] if seen else []
    cost = _cost(state, time.perf_counter() - began, meter, splits[0])
    made = _Made(images, backbone, _sizes(task), environment(place.device), cost, _kept(seen, parts, images))
    drafts, diverged = _outcome(group, splits, state, made)
    return Outcome(drafts, diverged, checkpoint)


@dataclass(frozen=True)
class _Made:
    """What all records of one pass share."""

    images: ImageSet
    backbone: Backbone
    sizes: tuple[int, int]
    environment: Environment
    cost: Cost
    kept: Sequence[Mapping[str, bytes]]
    """Further files beside each replica's record."""


def _backbone(protocol: Protocol, place: Workplace) -> Backbone:
    backbone = load_backbone(protocol.backbone or "", protocol.weights or "", place.sources)
    if protocol.image_size != backbone.image_size:
        raise UserError(
            f"{backbone.name} takes {backbone.image_size} px images, the protocol says {protocol.image_size}; "
            f"a --backbone of another size brings its own, other sizes are not implemented."
        )
    return backbone


def _images(images: ImageSet, backbone: Backbone, protocol: Protocol, place: Workplace) -> Images:
    pixels = decoded(images, backbone.image_size, protocol.interpolation or "bicubic", place.tell)
    mean, std = backbone.normalisation(protocol.normalisation or "backbone")
    return Images(pixels, mean, std, place.device)


def _bank(task: LinearHeadTask, images: Images, parts: Parts, protocol: Protocol, place: Workplace) -> FeatureBank:
    """Features of the frozen tower, of every image that is used in every view that can be drawn."""

    @torch.no_grad()
    def encode(batch: Tensor) -> Tensor:
        with autocast(place.device, protocol.precision or "fp32"):
            return task.features(batch)

    task.eval()
    used = torch.unique(torch.cat([parts.train.flatten(), parts.test.flatten()]))
    views = 4 if protocol.vflip else 2 if protocol.hflip else 1
    return FeatureBank(images, used, encode, views, advance=_ignore)


def _test_features(task: LinearHeadTask, source: Source, parts: Parts, protocol: Protocol, place: Workplace) -> Tensor:
    """Features ``[R, t, D]`` that the head sees of the test images now."""

    def encode(inputs: Tensor) -> Tensor:
        with autocast(place.device, protocol.precision or "fp32"):
            return inputs if isinstance(source, FeatureBank) else task.features(inputs)

    task.eval()
    return features_of(encode, source, parts.test)


def _kept(seen: Sequence[Tensor], parts: Parts, images: ImageSet) -> list[dict[str, bytes]]:
    """The features before and after training as one file per replica; nothing where no figure draws them."""
    if not seen:
        return [{} for _ in parts.test]
    labels = parts.labels[parts.test]
    return [
        {FEATURES: packed(before, after, truth, images.classes)}
        for before, after, truth in zip(*seen, labels, strict=True)
    ]


def _parts(images: ImageSet, splits: Sequence[Split]) -> Parts:
    if len({(len(s.train), len(s.test)) for s in splits}) != 1:
        raise UserError("the seeds' splits differ in size and cannot train in one pass; pass --replicas 1.")
    train, test = (torch.tensor([list(getattr(s, part)) for s in splits]) for part in ("train", "test"))
    return Parts(train, test, torch.tensor(list(images.labels)))


def _sizes(task: LinearHeadTask) -> tuple[int, int]:
    """Trainable and all parameters of one replica, head and adapters included."""
    replicas = task.head.weight.shape[0]
    trained = sum(p.numel() for p in task.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in task.parameters() if not p.requires_grad)
    return trained // replicas, trained // replicas + frozen


def _cost(state: State, seconds: float, meter: Meter, parts: Split) -> Cost:
    replicas = len(state.history[0])
    trained = sum(lines[0].train_seconds for lines in state.history)
    rate = replicas * len(parts.train) * len(state.history) / max(trained, 1e-9)
    return Cost(seconds, replicas, meter.peak_memory(), meter.energy(), rate)


def _outcome(
    group: Sequence[Planned], splits: Sequence[Split], state: State, made: _Made
) -> tuple[list[Draft], list[Diverged]]:
    drafts: list[Draft] = []
    diverged: list[Diverged] = []
    for replica, planned in enumerate(group):
        history = [lines[replica] for lines in state.history]
        lost = next((line.epoch for line in history if not np.isfinite(line.train_loss)), None)
        if lost is not None:
            diverged.append(Diverged(planned, history, f"its loss was no number from epoch {lost} on"))
            continue
        draft = _draft(planned, splits[replica], history, [p[replica] for p in state.predictions], made)
        drafts.append(Draft(draft.record, {**draft.files, **made.kept[replica]}))
    return drafts, diverged


def _draft(
    planned: Planned, parts: Split, history: Sequence[Epoch], predictions: Sequence[Tensor], made: _Made
) -> Draft:
    protocol, images = planned.run.protocol, made.images
    best = protocol.selection == "best-test"
    chosen = max(range(len(history)), key=lambda e: history[e].accuracy) if best else len(history) - 1
    truth = np.asarray([images.labels[i] for i in parts.test])
    predicted = predictions[chosen].numpy()
    per_class = [float((predicted[truth == c] == c).mean()) for c in np.unique(truth)]
    metrics = {
        "accuracy": history[chosen].accuracy,
        "mean_class_accuracy": 100.0 * float(np.mean(per_class)),
        "train_loss": history[-1].train_loss,
    }
    record = Record(
        id=planned.run.id,
        seed=planned.run.seed,
        protocol=protocol,
        origin=planned.origin,
        metrics=metrics,
        history=tuple(history),
        data=DataUsed(
            dataset=images.dataset,
            classes=len(images.classes),
            train_images=len(parts.train),
            test_images=len(parts.test),
            split_sha256=parts.digest,
            complete=images.complete,
            shortfall=images.shortfall,
        ),
        model=ModelUsed(
            backbone=made.backbone.name,
            weights=made.backbone.weights,
            weights_sha256=made.backbone.weights_sha256,
            trainable_parameters=made.sizes[0],
            total_parameters=made.sizes[1],
        ),
        environment=made.environment,
        cost=made.cost,
        finished=datetime.now(UTC).isoformat(timespec="milliseconds"),
        files={},
    )
    return Draft(record, {"predictions.npz": _npz(labels=truth, predictions=predicted)})


def _npz(**arrays: np.ndarray) -> bytes:
    """Class indices as a compressed, pickle-free numpy archive."""
    buffer = io.BytesIO()
    small: dict[str, Any] = {name: array.astype(np.uint16) for name, array in arrays.items()}
    np.savez_compressed(buffer, **small)
    return buffer.getvalue()
