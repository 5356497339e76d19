"""Carry out a plan on this machine, pass by pass; what is there already is not run again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch

from clipbench.data.progress import Progress, duration
from clipbench.engine.device import make_deterministic
from clipbench.engine.heap import keep_freed_memory
from clipbench.engine.outcome import Diverged, Outcome
from clipbench.engine.place import Workplace
from clipbench.engine.run_job import run_pass
from clipbench.engine.validation import trains_alone
from clipbench.errors import MissingWeightsError, UserError
from clipbench.methods import is_own, method
from clipbench.methods.fault import own_fault
from clipbench.plan.cost import images_seen
from clipbench.plan.select import Plan, Planned
from clipbench.registry import Protocol
from clipbench.results.store import Claim, Store


@dataclass
class Summary:
    """What a command did: run ids by what became of them; ``missing_weights`` by name, with what to do."""

    made: list[str] = field(default_factory=list)
    there: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    missing_weights: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class Options:
    """How to carry out: replicas in one pass at most (None: all seeds), whether to run again what is there."""

    replicas: int | None = None
    force: bool = False


def carry_out(plan: Plan, store: Store, place: Workplace, options: Options) -> Summary:
    """Run what is missing. Faults of one pass do not stop the others; they are in the summary.

    Raises ``UserError`` at once for faults that every pass would meet (a results folder that cannot be written).
    """
    make_deterministic()
    keep_freed_memory()
    began, summary = time.monotonic(), Summary()
    summary.there = [] if options.force else [p.run.id for p in plan.runs if store.has(p.run.id)]
    todo = [p for p in plan.runs if p.run.id not in summary.there]
    progress = Progress(sum(sum(images_seen(p.run.protocol, place.own)) for p in todo))
    worker = _Worker(store, replace(place, tell=progress.say), progress, summary, force=options.force)
    try:
        for group in plan.groups([p.run.id for p in todo], options.replicas, replicable):
            worker.work(group)
    finally:
        progress.close()
    summary.seconds = time.monotonic() - began
    return summary


def replicable(protocol: Protocol) -> bool:
    """Whether several seeds may share a pass.

    The method must allow it; a gradient norm or a validation set would couple them.
    """
    return not trains_alone(protocol) and method(protocol.need("method")).replicable


class _Worker:
    """Carries out pass after pass, and notes in the summary what became of each run."""

    def __init__(self, store: Store, place: Workplace, progress: Progress, summary: Summary, *, force: bool) -> None:
        self._store, self._place, self._progress, self._summary = store, place, progress, summary
        self._force = force

    def work(self, group: Sequence[Planned]) -> None:
        """One pass under a claim; a pass that does not fit into the GPU's memory is halved."""
        ids = [p.run.id for p in group]
        if reason := self._summary.missing_weights.get(_weights(group)):
            self._summary.failed |= dict.fromkeys(ids, reason)
            return
        with self._store.claim(ids) as claim:
            if claim is None:
                self._summary.elsewhere += ids
                self._progress.say(f"{label(group)}: another process is at it, passed over")
                return
            if not self._force and all(self._store.has(run_id) for run_id in ids):
                self._summary.there += ids
                return
            fits = self._attempt(group, claim)
        if not fits:
            self._halve(group)

    def _attempt(self, group: Sequence[Planned], claim: Claim) -> bool:
        """Train and publish; False where the GPU's memory does not hold the pass."""
        self._progress.start(label(group))
        began = time.monotonic()
        try:
            outcome = run_pass(group, replace(self._place, advance=self._watched(claim)))
        except torch.OutOfMemoryError:
            return False
        except UserError as error:
            if isinstance(error, MissingWeightsError):
                self._summary.missing_weights[_weights(group)] = str(error)
            self._fail(group, str(error), "not run")
            return True
        except (Exception, SystemExit) as error:
            name = group[0].run.protocol.need("method").partition("@")[0]
            if not is_own(name):
                raise
            self._fail(group, f"the method {name} failed: {own_fault(name, error)}.", "FAILED")
            return True
        self._keep(outcome)
        scores = [next(iter(d.record.metrics.values())) for d in outcome.drafts]
        self._progress.say(f"{label(group)}: {_scores(scores)}  {duration(time.monotonic() - began)}")
        return True

    def _fail(self, group: Sequence[Planned], reason: str, what: str) -> None:
        self._summary.failed |= dict.fromkeys((p.run.id for p in group), reason)
        self._progress.say(f"{label(group)}: {what}, the reason stands below")

    def _keep(self, outcome: Outcome) -> None:
        """Put the records in place; of a run whose loss was no number, keep what was seen."""
        for draft in outcome.drafts if self._force else ():
            self._store.set_aside(draft.record.id)
        self._store.publish(outcome.drafts)
        outcome.checkpoint.remove()
        self._summary.made += [d.record.id for d in outcome.drafts]
        for lost in outcome.diverged:
            path = _keep_diverged(lost, self._store)
            self._summary.failed[lost.planned.run.id] = f"{lost.reason}; its history is in {path}"
            self._progress.say(f"{label([lost.planned])}: FAILED, {lost.reason}. No record is made; see {path}")

    def _halve(self, group: Sequence[Planned]) -> None:
        torch.cuda.empty_cache()
        if len(group) == 1:
            message = "the GPU's memory does not hold one run. Use a smaller batch (--batch-size) or a larger GPU."
            self._summary.failed[group[0].run.id] = message
            return
        half = len(group) // 2
        self._progress.say(
            f"{label(group)}: {len(group)} runs do not fit into the GPU's memory together, trying {half}"
        )
        for part in (group[:half], group[half:]):
            self.work(part)

    def _watched(self, claim: Claim) -> Callable[[int], None]:
        """Progress of a pass also keeps its claim alive."""

        def advance(images: int) -> None:
            self._progress.advance(images)
            claim.renew()

        return advance


def _weights(group: Sequence[Planned]) -> str:
    return f"{group[0].run.protocol.backbone} {group[0].run.protocol.weights}"


def label(group: Sequence[Planned]) -> str:
    """``lora-clip/table1 lora-r8 aid-20 seeds 1-5``."""
    first, seeds = group[0], [p.run.seed for p in group]
    run = seeds == list(range(seeds[0], seeds[0] + len(seeds)))
    shown = f"{seeds[0]}-{seeds[-1]}" if run and len(seeds) > 1 else ",".join(map(str, seeds))
    return f"{first.experiment.id} {first.cell.row.id} {first.place} seed{'s' * (len(seeds) > 1)} {shown}"


def _scores(scores: Sequence[float]) -> str:
    return " ".join(f"{score:.2f}" for score in scores) + " %" if scores else "no record"


def _keep_diverged(lost: Diverged, store: Store) -> Path:
    """A run whose loss was no number makes no record; what was seen of it is kept under ``.failed``."""
    seen = {
        "reason": lost.reason,
        "protocol": lost.planned.run.protocol.as_dict(),
        "seed": lost.planned.run.seed,
        "history": [asdict(line) for line in lost.history],
    }
    path = store.root / ".failed" / f"{lost.planned.run.id}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(seen, indent=1), encoding="utf-8")
    for name, content in lost.files.items():
        path.with_name(f"{path.stem}-{name}").write_bytes(content)
    return path
