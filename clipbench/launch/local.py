"""Carry out a plan on this machine, pass by pass; what is there already is not run again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace

import torch

from clipbench.cost import images_seen
from clipbench.engine.device import make_deterministic
from clipbench.engine.passes import Diverged, Workplace, run_pass
from clipbench.errors import UserError
from clipbench.methods import method
from clipbench.plan import Plan, Planned
from clipbench.progress import Progress, duration
from clipbench.spec import Protocol
from clipbench.store import Claim, Store


@dataclass
class Summary:
    """What a command did: run ids by what became of them."""

    made: list[str] = field(default_factory=list)
    there: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class Options:
    """How to carry out: replicas in one pass at most (None: all seeds), whether to run again what is there."""

    replicas: int | None = None
    force: bool = False


def carry_out(plan: Plan, store: Store, place: Workplace, options: Options) -> Summary:
    """Run what is missing. Faults of one pass do not stop the others; they are in the summary.

    Raises ``UserError`` at once for faults that every pass would meet (no results folder, no device).
    """
    make_deterministic()
    began, summary = time.monotonic(), Summary()
    summary.there = [] if options.force else [p.run.id for p in plan.runs if store.has(p.run.id)]
    todo = [p for p in plan.runs if p.run.id not in summary.there]
    groups = plan.groups([p.run.id for p in todo], options.replicas, replicable)
    progress = Progress(sum(sum(images_seen(p.run.protocol)) for p in todo))
    try:
        for group in groups:
            _one(
                group,
                store,
                replace(place, advance=progress.advance, tell=progress.say),
                progress,
                summary,
                force=options.force,
            )
    finally:
        progress.close()
    summary.seconds = time.monotonic() - began
    return summary


def replicable(protocol: Protocol) -> bool:
    """Whether several seeds may share a pass: the method must allow it, and fp16's loss scale would couple them."""
    return method(protocol.method or "").replicable and protocol.precision != "fp16"


def _one(
    group: Sequence[Planned], store: Store, place: Workplace, progress: Progress, summary: Summary, *, force: bool
) -> None:
    """One pass under a claim; a pass that does not fit into the GPU's memory is halved."""
    ids = [p.run.id for p in group]
    name = label(group)
    with store.claim(ids) as claim:
        if claim is None:
            summary.elsewhere += ids
            progress.say(f"{name}: another process is at it, passed over")
            return
        if not force and all(store.has(run_id) for run_id in ids):
            summary.there += ids
            return
        progress.start(name)
        began = time.monotonic()
        try:
            outcome = run_pass(group, replace(place, advance=_both(place.advance, claim)))
        except torch.OutOfMemoryError:
            outcome = None
        except UserError as error:
            summary.failed |= dict.fromkeys(ids, str(error))
            progress.say(f"{name}: not run. {error}")
            return
        if outcome is not None:
            for run_id in ids if force else ():
                store.set_aside(run_id)
            store.publish(outcome.drafts)
            outcome.checkpoint.remove()
            _tell(outcome.diverged, store, summary, progress.say)
            summary.made += [d.record.id for d in outcome.drafts]
            scores = [d.record.metrics["accuracy"] for d in outcome.drafts]
            progress.say(f"{name}: {_scores(scores)}  {duration(time.monotonic() - began)}")
            return
    _halve(group, store, place, progress, summary, force=force)


def _halve(
    group: Sequence[Planned], store: Store, place: Workplace, progress: Progress, summary: Summary, *, force: bool
) -> None:
    torch.cuda.empty_cache()
    if len(group) == 1:
        message = "the GPU's memory does not hold one run. Use a smaller batch (--batch-size) or a larger GPU."
        summary.failed[group[0].run.id] = message
        progress.say(f"{label(group)}: not run. {message}")
        return
    half = len(group) // 2
    progress.say(f"{label(group)}: {len(group)} runs do not fit into the GPU's memory together, trying {half}")
    for part in (group[:half], group[half:]):
        _one(part, store, place, progress, summary, force=force)


def _both(advance: Callable[[int], None], claim: Claim) -> Callable[[int], None]:
    """Progress of a pass also keeps its claim alive."""

    def step(images: int) -> None:
        advance(images)
        claim.renew()

    return step


def label(group: Sequence[Planned]) -> str:
    """``lora-clip/table1 lora-r8 aid-20 seeds 1-5``."""
    first, seeds = group[0], [p.run.seed for p in group]
    run = seeds == list(range(seeds[0], seeds[0] + len(seeds)))
    shown = f"{seeds[0]}-{seeds[-1]}" if run and len(seeds) > 1 else ",".join(map(str, seeds))
    return f"{first.experiment.id} {first.cell.row.id} {first.cell.column.id} seed{'s' * (len(seeds) > 1)} {shown}"


def _scores(scores: Sequence[float]) -> str:
    return " ".join(f"{score:.2f}" for score in scores) + " %" if scores else "no record"


def _tell(diverged: Sequence[Diverged], store: Store, summary: Summary, say: Callable[[str], None]) -> None:
    """A run whose loss was no number makes no record; what was seen of it is kept under ``.failed``."""
    for lost in diverged:
        folder = store.root / ".failed"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{lost.planned.run.id}.json"
        seen = {
            "reason": lost.reason,
            "protocol": lost.planned.run.protocol.as_dict(),
            "seed": lost.planned.run.seed,
            "history": [asdict(line) for line in lost.history],
        }
        path.write_text(json.dumps(seen, indent=1), encoding="utf-8")
        summary.failed[lost.planned.run.id] = f"{lost.reason}; its history is in {path}"
        say(f"{label([lost.planned])}: FAILED, {lost.reason}. No record is made; its history is in {path}")
