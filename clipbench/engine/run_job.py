"""One job: the runs of one protocol that train together, from images to records about to be written."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch

from clipbench.data.content import content_of, copies_told
from clipbench.data.images import ImageSet
from clipbench.data.splits import Split, split
from clipbench.engine.batches.synthetic import Synthetic
from clipbench.engine.checkpoint import Checkpoint, code_digest
from clipbench.engine.context import Context
from clipbench.engine.device import Meter, environment
from clipbench.engine.loop import Hooks, Loop, State
from clipbench.engine.outcome import Outcome, Shared, outcome
from clipbench.engine.tasks import make_task
from clipbench.engine.tasks.classification import Classification
from clipbench.engine.tasks.task import Parts, Task
from clipbench.errors import UserError
from clipbench.methods.base import Method, pretrained
from clipbench.models.compiled import compiled_blocks
from clipbench.models.products import PYTORCH, choose_products, products
from clipbench.registry import Protocol
from clipbench.registry.budget import budget, images_trained
from clipbench.results.job import Job
from clipbench.results.record import Cost

_SECONDS_BEFORE_A_TEST = 30.0
"""Of training since the last checkpoint: so much is saved before a test, which may take long."""


def run_job(job: Job, context: Context) -> Outcome:
    """Train the runs of a job together. Raises ``UserError`` for missing data, weights or memory.

    Once they are trained, a stop waits until the caller has put the records in place (see ``Stop.delay``).
    """
    began, meter = time.perf_counter(), Meter(context.device)
    protocol, seeds = job.protocol, list(job.seeds)
    images = context.listed.images_of_run(protocol)
    splits = [split(images, protocol, seed) for seed in seeds]
    contents = [content_of(images, cut) for cut in splits]
    for said in dict.fromkeys(copies_told(images, content) for content in contents if content.copies):
        context.say(said)
    parts = parts_of(images, splits, protocol)
    task = make_task(protocol, images, parts, seeds, context)
    _check_trained(task, protocol, parts)
    runs = [f"{run.id} {content.sha256}" for run, content in zip(job.runs, contents, strict=True)]
    # The compiler sees nothing of a block within oneDNN's mode, and has choices of its own.
    by = choose_products(PYTORCH if context.compiled else context.products, context.device, task)
    identity = [*runs, task.model.weights_sha256, code_digest(), str(context.device), by, str(context.compiled)]
    checkpoint = Checkpoint(context.checkpoints, identity, context.checkpoint_seconds)
    features = isinstance(task, Classification) and "features" in job.keep
    kept: list[dict[str, bytes]] = [{} for _ in seeds]
    with products(by), compiled_blocks(pretrained(task.model), asked=context.compiled):
        seen = [task.test_features()] if features and isinstance(task, Classification) else []
        state = _train(task, images, parts, job, context, checkpoint)
        if features and isinstance(task, Classification):
            kept = [dict(files) for files in task.feature_files(seen[0], task.test_features())]
    in_order = type(task.method).epoch_order is Method.epoch_order
    cost = _cost(protocol, state, time.perf_counter() - began, meter, len(splits[0].train), by_steps=in_order)
    shared = Shared(images, contents, task, environment(context.device, by, compiled=context.compiled), cost, kept)
    return Outcome(*outcome(job, splits, state, shared), checkpoint)


def _train(task: Task, images: ImageSet, parts: Parts, job: Job, context: Context, checkpoint: Checkpoint) -> State:
    """Every stage of training, from where a checkpoint left off; the tests are those of the last stage."""
    method, state = task.method, None
    saved = checkpoint.load()
    for stage in range(saved["stage"] if saved else 0, method.stages):
        method.new_stage(stage)
        task.to(context.device)
        seeds = list(method.stage_seeds(stage)) if method.stages > 1 else list(job.seeds)
        if seeds != list(job.seeds):
            cuts = [split(images, job.protocol, seed) for seed in seeds]
            stage_parts = parts_of(images, cuts, job.protocol)
        else:
            stage_parts = parts
        loop = Loop(task, stage_parts, method.stage_protocol(stage), seeds, context.device)
        last, tested = stage + 1 == method.stages, 0
        if saved:
            state, saved = checkpoint.restore(loop, saved), None
            tested = len(state.outputs) * stage_parts.test.numel()
        elif state is None:
            state = State()
        else:
            state = _next_stage(state, stage, len(seeds))

        def epoch_end(state: State, loop: Loop = loop) -> None:
            if context.stop.requested:
                checkpoint.save(loop, state)
            context.stop.check()
            checkpoint.maybe_save(loop, state)

        @contextmanager
        def testing(state: State, loop: Loop = loop) -> Iterator[None]:
            if context.stop.requested:
                checkpoint.save(loop, state)
            context.stop.check()
            saved = checkpoint.maybe_save(loop, state, _SECONDS_BEFORE_A_TEST)
            with context.stop.delay(delayed=not saved):
                yield

        count = stage_parts.train.shape[1]
        skipped = min(state.epoch * budget(loop.protocol, count).steps_per_epoch, budget(loop.protocol, count).steps)
        known = images_trained(loop.protocol, count) if last else 0
        due = images_trained(loop.protocol, count) - images_trained(loop.protocol, count, skipped)
        context.more(len(seeds) * (due - known) - tested)
        # Where nothing is trained there is nothing that a stop should wait for.
        context.stop.delayed = loop.trains
        hooks = Hooks(context.advance, epoch_end, context.line, context.losses, testing)
        state = loop.run(state, hooks, last=last)
        context.stop.delayed = True
    assert state is not None, "a method has at least one stage"  # noqa: S101
    return state


def _next_stage(state: State, stage: int, runs: int) -> State:
    """The state at the start of a stage: what one seed has trained for all of them counts for each."""
    history = [list(lines) * runs if len(lines) == 1 else lines for lines in state.history]
    losses = state.losses.expand(runs, -1) if len(state.losses) == 1 else state.losses
    return replace(state, stage=stage, epoch=0, history=history, losses=losses)


def _check_trained(task: Task, protocol: Protocol, parts: Parts) -> None:
    """Raises ``UserError`` where a protocol asks for steps of a method that trains nothing, or the other way round,
    or trains seeds as one.
    """
    steps, runs = budget(protocol, parts.train.shape[1]).steps, len(parts.train)
    trained = {name: tuple(p.shape) for name, p in task.named_parameters() if p.requires_grad}
    if trained and not steps and protocol.optimiser is not None:
        raise UserError(
            f"the method {protocol.method} is to train and has no step to do it in: its split has "
            f"{parts.train.shape[1]} training images (shots = {protocol.shots}). Give it some, or run zero-shot."
        )
    if steps and not trained:
        raise UserError(
            f"the method {protocol.method} leaves nothing to train, but its protocol asks for {steps} steps. A method "
            f'without training says so: protocol = {{"steps_per_shot": {{"unset": "nothing is trained"}}}} (or epochs).'
        )
    handed = {id(p) for group in task.parameter_groups() for p in group["params"]} if steps else set()
    if steps and not any(id(p) in handed for p in task.parameters() if p.requires_grad):
        raise UserError(
            f"the method {protocol.method} hands nothing to the optimiser: its parameter_groups have no parameters "
            f"of its own, while {next(iter(trained))} and others are to be trained."
        )
    shared = [name for name, shape in trained.items() if runs > 1 and shape[:1] != (runs,)]
    if shared and task.method.stages == 1:
        raise UserError(
            f"the method {protocol.method} trains {shared[0]} of shape {trained[shared[0]]} with {runs} seeds in "
            f"one pass, and they would share it: the first axis of all that is trained must be the seed. Give it that "
            f"axis, or leave seed_axis = False in the class."
        )


def parts_of(images: ImageSet, splits: Sequence[Split], protocol: Protocol) -> Parts:
    """The images of each seed by their part. Raises ``UserError`` where the seeds' parts differ in size."""
    if len({(len(s.train), len(s.val), len(s.test)) for s in splits}) != 1:
        raise UserError("the seeds' splits differ in size and cannot train in one pass; pass --replicas 1.")
    train, test, val = (
        torch.tensor([list(getattr(s, p)) for s in splits], dtype=torch.long) for p in ("train", "test", "val")
    )
    groups = None
    if protocol.domain_sampling == "balanced":
        numbers = {name: number for number, name in enumerate(dict.fromkeys(images.domains))}
        groups = torch.tensor([numbers[name] for name in images.domains])[train]
    labels, synthetic = torch.tensor(list(images.labels)), Synthetic.of(images, splits[0], protocol)
    return Parts(train, test, labels, val, splits[0].known, groups, synthetic)


def _cost(protocol: Protocol, state: State, seconds: float, meter: Meter, images: int, *, by_steps: bool) -> Cost:
    """``by_steps``: the steps of an epoch are the protocol's, not cut by the method."""
    last = state.history[-1][0]
    runs = len(state.history[-1])
    trained = sum(lines[0].train_seconds for lines in state.history)
    seen = images_trained(protocol, images, last.step) if by_steps else last.epoch * images
    rate = runs * seen / max(trained, 1e-9)
    return Cost(seconds, runs, meter.peak_memory(), meter.energy(), rate)
