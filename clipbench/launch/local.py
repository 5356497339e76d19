"""Carry out jobs in this process, one after the other; what is there already is not run again."""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace

import torch

from clipbench.data.progress import Progress, duration
from clipbench.engine.context import Context
from clipbench.engine.device import make_deterministic
from clipbench.engine.heap import keep_freed_memory
from clipbench.engine.outcome import Diverged, Outcome
from clipbench.engine.run_job import run_job
from clipbench.engine.stop import listening
from clipbench.engine.validation import trains_alone
from clipbench.errors import MissingTowerError, MissingWeightsError, UserError
from clipbench.files import WriteError, write_bytes, write_json, write_text
from clipbench.launch.curves import Curves
from clipbench.launch.launcher import Options, Report, Reporter, Summary
from clipbench.methods import is_own, method
from clipbench.methods.fault import own_fault, refused_exits
from clipbench.models.compiled import require_compiler
from clipbench.plan.cost import images_seen
from clipbench.plan.present import Present
from clipbench.registry import Protocol
from clipbench.results.job import Job
from clipbench.results.locks import Claim
from clipbench.results.record import Epoch
from clipbench.results.store import Store

_SECONDS_BETWEEN_LINES = 60.0
"""How often a job says how its training goes."""
_SECONDS_BETWEEN_LOOKS = 5.0
"""How often a command that waits looks for the records of other processes."""


class Local:
    """The launcher of this process and its device."""

    def __init__(self, report: Report = Progress, skip: Sequence[str] = ()) -> None:
        """``skip`` are names of jobs, or of parts of jobs, that have ended a process like this one before."""
        self._report, self._skip = report, skip

    def launch(self, jobs: Sequence[Job], store: Store, context: Context, options: Options) -> Summary:
        """Carry out what is missing of the jobs. A signal that asks to stop takes effect where nothing is lost.

        Raises ``UserError`` at once for faults that every job would meet (a results folder that cannot be written),
        and ``StoppedError`` where somebody has asked to stop.
        """
        if options.compiled:
            require_compiler(context.device)
        make_deterministic()
        keep_freed_memory()
        began, summary = time.monotonic(), Summary()
        todo, present = [], Present(store, context.listed)
        for job in jobs:
            there = set() if options.force else {run.seed for run in job.runs if present.has(run)}
            summary.there += [run.id for run in job.runs if run.seed in there]
            if left := tuple(seed for seed in job.seeds if seed not in there):
                todo.append(replace(job, seeds=left))
        reporter = self._report(sum(sum(images_seen(job.protocol, context.listed)) * len(job.seeds) for job in todo))
        watched = replace(context, say=reporter.say, more=reporter.more, datasets=context.listed)
        watched = replace(watched, products=options.products, compiled=options.compiled)
        worker = _Worker(store, present, watched, reporter, summary, options, self._skip)
        try:
            with listening(context.stop):
                for job in todo:
                    for part in split_job(job, options.replicas):
                        worker.work(part)
                while options.wait and summary.elsewhere:
                    worker.wait(todo)
        finally:
            reporter.close()
        summary.seconds = time.monotonic() - began
        return summary


def split_job(job: Job, most: int | None) -> list[Job]:
    """The job in parts of at most ``most`` seeds, or of one where its seeds cannot train in one pass."""
    try:
        size = min(most or len(job.seeds), len(job.seeds)) if shares_a_pass(job.protocol) else 1
    except UserError:
        size = len(job.seeds)  # a method that cannot be imported fails once, for all of its runs
    return [replace(job, seeds=job.seeds[start : start + size]) for start in range(0, len(job.seeds), size)]


def shares_a_pass(protocol: Protocol) -> bool:
    """Whether several seeds may share a pass.

    The method must allow it; a gradient norm or a validation set would couple them.
    """
    kind = type(method(protocol.need("method")))
    return not trains_alone(protocol) and kind.seed_axis


@dataclass
class _Worker:
    """Carries out job after job, and notes in the summary what became of each run."""

    store: Store
    present: Present
    context: Context
    reporter: Reporter
    summary: Summary
    options: Options
    skip: Sequence[str]
    _said: float = field(default_factory=time.monotonic)

    def work(self, job: Job) -> None:
        """One job under a claim; a job that does not fit into the GPU's memory is halved."""
        self.context.stop.check()
        if job.name in self.skip:
            return
        ids = [run.id for run in job.runs]
        missing = self.summary.missing_weights
        if reason := missing.get(_weights(job)) or missing.get(_tower(job)):
            self.summary.failed |= dict.fromkeys(ids, reason)
            return
        with self.store.claim(ids) as claim:
            if claim is None:
                self.summary.elsewhere += ids
                return
            if not self.options.force and all(self.present.has(run) for run in job.runs):
                self.summary.there += ids
                return
            with self.context.stop.delay(delayed=False):
                fits = self._attempt(job, claim)
        if not fits:
            self._halve(job)

    def wait(self, jobs: Sequence[Job]) -> None:
        """Look again, after a while, at the runs that other processes work on; take over what they have left."""
        self.reporter.start(f"waiting for {len(self.summary.elsewhere)} runs of other processes")
        time.sleep(_SECONDS_BETWEEN_LOOKS)
        left, self.summary.elsewhere = set(self.summary.elsewhere), []
        for job in jobs:
            if seeds := tuple(run.seed for run in job.runs if run.id in left):
                self.work(replace(job, seeds=seeds))

    def _attempt(self, job: Job, claim: Claim) -> bool:
        """Train and publish; False where the GPU's memory does not hold the job."""
        self.reporter.start(job.name)
        for differs in dict.fromkeys(self.present.outdated[i.id] for i in job.runs if i.id in self.present.outdated):
            self.reporter.say(
                f"{job.name}: there are records of other data than those that are here now ({differs}); run again, and "
                f"the old records are kept in {self.store.root} under the name .replaced-*"
            )
        began, curves, made = time.monotonic(), Curves(job, self.store.root, self.options.log), False
        try:
            with refused_exits() if is_own(job.protocol.method) else nullcontext():
                outcome = run_job(job, self._watched(job, claim, curves))
            made = True
        except torch.OutOfMemoryError:
            return False
        except UserError as error:
            if isinstance(error, MissingWeightsError):
                name = _tower(job) if isinstance(error, MissingTowerError) else _weights(job)
                self.summary.missing_weights[name] = str(error)
            self._fail(job, str(error), "not run")
            return True
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a method of the user's may raise SystemExit, GeneratorExit or one of its own
            self._fail(job, self._fault(job, error), "FAILED")
            return True
        finally:
            curves.close(finished=made)
        self._publish(job, outcome)
        scores = [next(iter(d.record.metrics.values())) for d in outcome.drafts]
        self.reporter.say(f"{job.name}: {_scores(scores)}  {duration(time.monotonic() - began)}")
        return True

    def _fault(self, job: Job, error: BaseException) -> str:
        """One sentence on what nobody foresaw; a fault of ours leaves its traceback for a bug report."""
        name = str(job.protocol.method).partition("@")[0]
        if is_own(name):
            return f"the method {name} failed: {own_fault(name, error)}."
        path = self.store.root / ".failed" / f"{job.runs[0].id}.txt"
        said = " ".join(str(error).split())[:300]
        what = f"{type(error).__name__}: {said}. This is a fault of clipbench; please report it"
        try:
            return f"{what} with {write_text(path, ''.join(traceback.format_exception(error)))}."
        except WriteError as unwritten:
            return f"{what}. {unwritten}"

    def _fail(self, job: Job, reason: str, what: str) -> None:
        self.summary.failed |= dict.fromkeys((run.id for run in job.runs), reason)
        self.reporter.say(f"{job.name}: {what}, the reason stands below")

    def _publish(self, job: Job, outcome: Outcome) -> None:
        """Put the records in place; of a run whose loss was no number, keep what was seen."""
        outdated = any(draft.record.id in self.present.outdated for draft in outcome.drafts)
        self.store.publish(outcome.drafts, replacing=self.options.force or outdated)
        outcome.checkpoint.remove()
        ids = [d.record.id for d in outcome.drafts]
        self.summary.made += ids
        self.reporter.made(ids)
        for lost in outcome.diverged:
            where = _keep_diverged(lost, self.store)
            self.summary.failed[lost.run.id] = f"{lost.reason}; {where}"
            name = replace(job, seeds=(lost.run.seed,)).name
            self.reporter.say(f"{name}: FAILED, {lost.reason}. No record is made; {where}")

    def _halve(self, job: Job) -> None:
        torch.cuda.empty_cache()
        if len(job.seeds) == 1:
            message = "the GPU's memory does not hold one run. Use a smaller batch (--batch-size) or a larger GPU."
            self.summary.failed[job.runs[0].id] = message
            return
        half = len(job.seeds) // 2
        self.reporter.say(f"{job.name}: {len(job.seeds)} runs do not fit into the GPU's memory together, trying {half}")
        for seeds in (job.seeds[:half], job.seeds[half:]):
            self.work(replace(job, seeds=seeds))

    def _watched(self, job: Job, claim: Claim, curves: Curves) -> Context:
        """The context of one job: its progress keeps the claim alive, its curves go to disk."""
        began = time.monotonic()

        def advance(images: int) -> None:
            self.reporter.advance(images)
            claim.renew()

        def line(epochs: Sequence[Epoch]) -> None:
            curves.line(epochs)
            if time.monotonic() - self._said > _SECONDS_BETWEEN_LINES:
                self._said = time.monotonic()
                self.reporter.say(f"{job.name}: {_line(epochs)}, {duration(time.monotonic() - began)} so far")

        return replace(self.context, advance=advance, line=line, losses=curves.losses)


def _weights(job: Job) -> str:
    return f"{job.protocol.backbone} {job.protocol.weights}"


def _tower(job: Job) -> str:
    return f"{_weights(job)}, with what {job.protocol.method} needs"


def _line(epochs: Sequence[Epoch]) -> str:
    """``epoch 3, step 120: loss 0.412, accuracy 71.30, rate 0.0002``, means over the runs."""
    said = [f"epoch {epochs[0].epoch}, step {epochs[0].step}:"]
    for name, label in (("train_loss", "loss"), ("accuracy", "accuracy"), ("val_score", "validation")):
        values = [value for e in epochs if (value := getattr(e, name)) is not None]
        if values:
            said.append(f"{label} {sum(values) / len(values):.4g},")
    seconds = sum(e.train_seconds for e in epochs) / len(epochs)
    return " ".join(said) + f" rate {epochs[0].lr:.3g}, {seconds:.1f} s"


def _scores(scores: Sequence[float]) -> str:
    return " ".join(f"{score:.2f}" for score in scores) + " %" if scores else "no record"


def _keep_diverged(lost: Diverged, store: Store) -> str:
    """Keep under ``.failed`` what was seen of a run that makes no record; says where, or why that cannot be."""
    seen = {
        "reason": lost.reason,
        "protocol": lost.run.protocol.as_dict(),
        "seed": lost.run.seed,
        "history": [asdict(line) for line in lost.history],
    }
    path = store.root / ".failed" / f"{lost.run.id}.json"
    try:
        write_json(path, seen)
        for name, content in lost.files.items():
            write_bytes(path.with_name(f"{path.stem}-{name}"), content)
    except WriteError as error:
        return f"its history could not be kept: {error}"
    return f"its history is in {path}"
