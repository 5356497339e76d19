"""From the state of a finished loop to records: one per run that went well, a report for each that did not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from safetensors.torch import save

from clipbench.data.content import Content
from clipbench.data.images import ImageSet
from clipbench.data.splits import Split
from clipbench.engine.checkpoint import Checkpoint
from clipbench.engine.kept import kept_files, trained_state
from clipbench.engine.loop import State
from clipbench.engine.tasks.classification import npz
from clipbench.engine.tasks.task import NO_NUMBERS, Outputs, Task
from clipbench.registry import Run
from clipbench.results.collapse import at_chance
from clipbench.results.job import Job
from clipbench.results.record import Cost, DataUsed, Environment, Epoch, ModelUsed, Record
from clipbench.results.store import Draft


@dataclass(frozen=True)
class Diverged:
    """A run whose loss or logits were no numbers: what was seen of it; ``files`` hold the state that it ended in."""

    run: Run
    history: Sequence[Epoch]
    reason: str
    files: Mapping[str, bytes]


@dataclass(frozen=True)
class Outcome:
    """Records of the runs that went well, what happened to those that did not, and the checkpoint to remove."""

    drafts: Sequence[Draft]
    diverged: Sequence[Diverged]
    checkpoint: Checkpoint


@dataclass(frozen=True)
class Shared:
    """What all records of one job share, and what each run has of its own: digests of its data, and files to keep."""

    images: ImageSet
    contents: Sequence[Content]
    task: Task
    environment: Environment
    cost: Cost
    kept: Sequence[Mapping[str, bytes]]


def outcome(job: Job, splits: Sequence[Split], state: State, shared: Shared) -> tuple[list[Draft], list[Diverged]]:
    """Records and reports of the runs of one job."""
    drafts: list[Draft] = []
    diverged: list[Diverged] = []
    for number, run in enumerate(job.runs):
        history = [lines[number] for lines in state.history]
        files = _losses(state, number)
        if (reason := _lost(state, number)) is not None:
            diverged.append(Diverged(run, history, reason, {**files, **_trained_state(shared.task, number)}))
            continue
        outputs = {name: values[number] for name, values in state.outputs[state.chosen[number]].items()}
        draft = _draft(run, job, splits[number], history, outputs, shared, shared.contents[number])
        if at_chance(draft.record):
            files |= _trained_state(shared.task, number)
        if "adapters" in job.keep:
            files |= kept_files(shared.task, number)
        drafts.append(Draft(draft.record, {**draft.files, **files, **shared.kept[number]}))
    return drafts, diverged


def _lost(state: State, number: int) -> str | None:
    """From when on a run's loss was no number, or for how many test images its logits are none; None where all are."""
    losses = state.losses[number] if state.losses.numel() else state.losses
    bad = np.flatnonzero(~np.isfinite(losses.numpy()))
    if len(bad):
        step = int(bad[0]) + 1
        epoch = next(lines[number].epoch for lines in state.history if lines[number].step >= step)
        return f"its loss was no number from epoch {epoch} on (step {step})"
    unusable = state.outputs[state.chosen[number]][NO_NUMBERS][number]
    if unusable.any():
        return f"its logits are no numbers for {int(unusable.sum()):,} of {len(unusable):,} test images"
    return None


def _losses(state: State, number: int) -> dict[str, bytes]:
    if not state.losses.numel():
        return {}
    return {"losses.npz": npz({"losses": state.losses[number].numpy().astype(np.float32)})}


def _draft(
    run: Run,
    job: Job,
    parts: Split,
    history: Sequence[Epoch],
    outputs: Outputs,
    shared: Shared,
    content: Content,
) -> Draft:
    images, model = shared.images, shared.task.model
    found = shared.task.results(outputs, parts)
    trainable, total = sizes(shared.task)
    record = Record(
        id=run.id,
        seed=run.seed,
        protocol=job.protocol,
        origin=job.origin,
        metrics={**found.metrics, **_over_epochs(history, shared.task.score), **shared.task.method.measured()},
        history=tuple(history),
        data=DataUsed(
            dataset=images.dataset,
            classes=len(images.classes),
            train_images=len(parts.train),
            test_images=len(parts.test),
            split_sha256=parts.digest,
            complete=images.complete,
            shortfall=images.shortfall,
            rebuilt=images.rebuilt,
            unpublished=tuple(images.unpublished),
            images_sha256=content.images_sha256,
            class_names_sha256=content.class_names_sha256,
            split_file_sha256=content.split_file_sha256,
            content_sha256=content.sha256,
            shared_list_sha256=content.shared_list_sha256,
            shared_images_sha256=content.shared_images_sha256,
            copies_in_test=content.copies,
            synthetic_images=len(parts.synthetic),
            synthetic_source=images.synthetic,
        ),
        model=ModelUsed(model.name, model.weights, model.weights_sha256, trainable, total, getattr(model, "note", "")),
        environment=shared.environment,
        cost=shared.cost,
        finished=datetime.now(UTC).isoformat(timespec="milliseconds"),
        files={},
    )
    return Draft(record, found.files)


def _over_epochs(history: Sequence[Epoch], score: str) -> dict[str, float]:
    """The last training loss; the best score of the validation images, and of the test images, by epoch."""
    loss = history[-1].train_loss
    validated = [line.val_score for line in history if line.val_score is not None]
    tested = [line.accuracy for line in history if line.accuracy is not None]
    best = {f"val_{score}": max(validated)} if validated else {}
    if len(tested) > 1:
        best[f"best_test_{score}"] = max(tested)
    return best if loss is None else {**best, "train_loss": loss}


def _trained_state(task: Task, number: int) -> dict[str, bytes]:
    """What was trained of one run, under the names of the task's parameters."""
    tensors = dict(trained_state(task, number))
    return {"trained.safetensors": save(tensors)} if tensors else {}


def sizes(task: Task) -> tuple[int, int]:
    """Trainable and all parameters of one run, head and adapters included."""
    runs = len(task.method.setting.seeds)
    trained = sum(p.numel() for p in task.parameters() if p.requires_grad) // task.method.copies
    frozen = sum(p.numel() for p in task.parameters() if not p.requires_grad)
    return trained // runs, trained // runs + frozen
