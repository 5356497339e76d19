"""From the state of a finished loop to records: one per run that went well, a report for each that did not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from safetensors.torch import save
from torch import Tensor

from clipbench.data.images import ImageSet
from clipbench.data.splits import Split
from clipbench.engine.checkpoint import Checkpoint
from clipbench.engine.examiner import Examiner, npz
from clipbench.engine.loop import State
from clipbench.engine.tasks.task import AnyTask
from clipbench.plan.select import Planned
from clipbench.results.collapse import at_chance
from clipbench.results.record import Cost, DataUsed, Environment, Epoch, ModelUsed, Record
from clipbench.results.store import Draft


@dataclass(frozen=True)
class Diverged:
    """A run whose loss was no number; its history says from when on, ``files`` hold the state that it ended in."""

    planned: Planned
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
class Made:
    """What all records of one pass share, and what each replica has of its own (``kept``: further files)."""

    images: ImageSet
    task: AnyTask
    examiner: Examiner
    environment: Environment
    cost: Cost
    kept: Sequence[Mapping[str, bytes]]


def outcome(
    group: Sequence[Planned], splits: Sequence[Split], state: State, made: Made
) -> tuple[list[Draft], list[Diverged]]:
    """Records and reports of the runs of one pass."""
    drafts: list[Draft] = []
    diverged: list[Diverged] = []
    for replica, planned in enumerate(group):
        history = [lines[replica] for lines in state.history]
        files = _losses(state, replica)
        if (reason := _lost(state, replica)) is not None:
            diverged.append(Diverged(planned, history, reason, {**files, **_trained_state(made.task, replica)}))
            continue
        draft = _draft(planned, splits[replica], history, [p[replica] for p in state.predictions], made)
        fallen = _trained_state(made.task, replica) if at_chance(draft.record) else {}
        drafts.append(Draft(draft.record, {**draft.files, **files, **fallen, **made.kept[replica]}))
    return drafts, diverged


def _lost(state: State, replica: int) -> str | None:
    """From when on a replica's loss was no number; None where it always was one."""
    if not state.losses.numel():
        return None
    bad = np.flatnonzero(~np.isfinite(state.losses[replica].numpy()))
    if not len(bad):
        return None
    step = int(bad[0]) + 1
    epoch = next(lines[replica].epoch for lines in state.history if lines[replica].step >= step)
    return f"its loss was no number from epoch {epoch} on (step {step})"


def _losses(state: State, replica: int) -> dict[str, bytes]:
    if not state.losses.numel():
        return {}
    return {"losses.npz": npz({"losses": state.losses[replica].numpy().astype(np.float32)})}


def _draft(
    planned: Planned, parts: Split, history: Sequence[Epoch], predictions: Sequence[Tensor], made: Made
) -> Draft:
    protocol, images, encoder = planned.run.protocol, made.images, made.task.encoder
    scores = [line.accuracy for line in history if line.accuracy is not None]
    chosen = int(np.argmax(scores)) if protocol.selection == "best-test" else len(scores) - 1
    found = made.examiner.results(predictions[chosen], parts)
    metrics = {**found.metrics, **_followed(history, made.examiner.score)}
    trainable, total = sizes(made.task)
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
            rebuilt=images.rebuilt,
        ),
        model=ModelUsed(encoder.name, encoder.weights, encoder.weights_sha256, trainable, total),
        environment=made.environment,
        cost=made.cost,
        finished=datetime.now(UTC).isoformat(timespec="milliseconds"),
        files={},
    )
    return Draft(record, found.files)


def _followed(history: Sequence[Epoch], score: str) -> dict[str, float]:
    """The last training loss, and the best score of the validation images, where there are any."""
    loss, scores = history[-1].train_loss, [line.val_score for line in history if line.val_score is not None]
    best = {f"val_{score}": max(scores)} if scores else {}
    return best if loss is None else {**best, "train_loss": loss}


def _trained_state(task: AnyTask, replica: int) -> dict[str, bytes]:
    """What was trained of one replica, for whoever looks into a run that went wrong."""
    shared = task.replicas == 1
    trained = {name: p.detach().cpu() for name, p in task.named_parameters() if p.requires_grad}
    tensors = {name: (value if shared else value[replica]).contiguous() for name, value in trained.items()}
    return {"trained.safetensors": save(tensors)} if tensors else {}


def sizes(task: AnyTask) -> tuple[int, int]:
    """Trainable and all parameters of one replica, head and adapters included."""
    replicas = task.replicas
    trained = sum(p.numel() for p in task.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in task.parameters() if not p.requires_grad)
    return trained // replicas, trained // replicas + frozen
