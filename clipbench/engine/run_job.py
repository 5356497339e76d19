"""One pass: the runs of one protocol that train together, from images to drafts of their records."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from clipbench.data.images import ImageSet
from clipbench.data.load import image_set
from clipbench.data.splits import Split, split
from clipbench.engine.batches.features import FeatureBank
from clipbench.engine.batches.sources import Decoder
from clipbench.engine.checkpoint import Checkpoint, code_digest
from clipbench.engine.device import Meter, autocast, environment
from clipbench.engine.kept_features import features_of, packed
from clipbench.engine.loop import Hooks, Loop, Objective, Parts, Source, State
from clipbench.engine.outcome import Made, Outcome, outcome
from clipbench.engine.place import Workplace
from clipbench.engine.random import stream_seed
from clipbench.engine.tasks.task import AnyTask, Task, make_task
from clipbench.errors import UserError
from clipbench.methods import method
from clipbench.plan.keep import FEATURES, features_drawn
from clipbench.plan.select import Planned
from clipbench.registry import Protocol
from clipbench.registry.budget import budget, images_trained
from clipbench.results.record import Cost


def run_pass(group: Sequence[Planned], place: Workplace) -> Outcome:
    """Train the runs of one protocol together. Raises ``UserError`` for missing data, weights or memory."""
    began, meter = time.perf_counter(), Meter(place.device)
    protocol, seeds = group[0].run.protocol, [p.run.seed for p in group]
    images = image_set(protocol, place.data_root, place.own)
    splits = [split(images, protocol, seed) for seed in seeds]
    parts = _parts(images, splits)
    task = _task(protocol, images, seeds, place)
    setup = task.setup(Decoder(images, task, protocol, place), parts)
    _check_trained(setup.model, protocol, parts)
    objective = Objective(task.loss, task.method.undecayed(task.model, protocol))
    loop = Loop(setup.model, setup.source, parts, protocol, seeds, place.device, objective, setup.examiner)
    runs = [f"{planned.run.id} {cut.digest}" for planned, cut in zip(group, splits, strict=True)]
    identity = [*runs, task.encoder.weights_sha256, code_digest(), str(place.device)]
    checkpoint = Checkpoint(place.checkpoints, identity, place.checkpoint_seconds)
    look = _Features(task, setup.source, parts, protocol, place) if features_drawn(group[0]) else None
    seen = [look.now()] if look else []

    def start_epoch(epoch: int) -> None:
        task.method.start_epoch(task.model, [stream_seed(seed, "dropout", epoch) for seed in seeds])
        task.start_epoch(seeds, epoch)

    def epoch_end(state: State) -> None:
        checkpoint.maybe_save(loop, state)

    state = loop.run(checkpoint.restore(loop), start_epoch, Hooks(place.advance, epoch_end))
    seen += [look.now()] if look else []
    cost = _cost(protocol, state, time.perf_counter() - began, meter, splits[0])
    made = Made(images, task, setup.examiner, environment(place.device), cost, _kept(seen, parts, images))
    return Outcome(*outcome(group, splits, state, made), checkpoint)


def _check_trained(model: nn.Module, protocol: Protocol, parts: Parts) -> None:
    """Raises ``UserError`` where a protocol asks for steps of a method that trains nothing, or trains seeds as one."""
    steps, replicas = budget(protocol, parts.train.shape[1]).steps, len(parts.train)
    if steps and not any(p.requires_grad for p in model.parameters()):
        raise UserError(
            f"the method {protocol.method} leaves nothing to train, but its protocol asks for {steps} steps. A method "
            f'without training says so: protocol = {{"steps_per_shot": {{"unset": "nothing is trained"}}}} (or epochs).'
        )
    trained = {name: tuple(p.shape) for name, p in model.named_parameters() if p.requires_grad}
    shared = [name for name, shape in trained.items() if replicas > 1 and shape[:1] != (replicas,)]
    if shared:
        raise UserError(
            f"the method {protocol.method} trains {shared[0]} of shape {trained[shared[0]]} with {replicas} seeds in "
            f"one pass, and they would share it: the first axis of all that is trained must be the seed. Give it that "
            f"axis, or leave replicable = False in the class."
        )


def _task(protocol: Protocol, images: ImageSet, seeds: Sequence[int], place: Workplace) -> AnyTask:
    """The protocol's task with its method in place: what is trained has ``requires_grad``, and nothing else."""
    task = make_task(protocol, images, seeds, place.sources)
    way = method(protocol.method or "")
    way.attach(task.model, protocol, [stream_seed(seed, "adapter") for seed in seeds])
    task.method = way
    return task


@dataclass(frozen=True)
class _Features:
    """The features that a linear head sees of the test images."""

    task: AnyTask
    source: Source
    parts: Parts
    protocol: Protocol
    place: Workplace

    def now(self) -> Tensor:
        """Features ``[R, t, D]`` as the model stands."""
        self.task.eval()
        return features_of(self._encode, self.source, self.parts.test)

    def _encode(self, inputs: Tensor) -> Tensor:
        with autocast(self.place.device, self.protocol.precision or "fp32"):
            return inputs if isinstance(self.source, FeatureBank) else cast("Task", self.task).features(inputs)


def _kept(seen: Sequence[Tensor], parts: Parts, images: ImageSet) -> list[Mapping[str, bytes]]:
    """The features before and after training as one file per replica; nothing where no figure draws them."""
    if not seen:
        return [{} for _ in parts.test]
    labels = parts.labels[parts.test]
    return [
        {FEATURES: packed(before, after, truth, images.classes)}
        for before, after, truth in zip(*seen, labels, strict=True)
    ]


def _parts(images: ImageSet, splits: Sequence[Split]) -> Parts:
    if len({(len(s.train), len(s.val), len(s.test)) for s in splits}) != 1:
        raise UserError("the seeds' splits differ in size and cannot train in one pass; pass --replicas 1.")
    train, test, val = (
        torch.tensor([list(getattr(s, p)) for s in splits], dtype=torch.long) for p in ("train", "test", "val")
    )
    return Parts(train, test, torch.tensor(list(images.labels)), val, splits[0].known)


def _cost(protocol: Protocol, state: State, seconds: float, meter: Meter, parts: Split) -> Cost:
    replicas = len(state.history[0])
    trained = sum(lines[0].train_seconds for lines in state.history)
    images = images_trained(protocol, len(parts.train), state.history[-1][0].step)
    rate = replicas * images / max(trained, 1e-9)
    return Cost(seconds, replicas, meter.peak_memory(), meter.energy(), rate)
