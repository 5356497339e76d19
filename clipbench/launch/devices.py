"""Several devices of one machine: a worker process for each, under the locks of the results folder.

Every worker has all jobs, the longest first, and takes the next one that nobody holds. A worker that dies lets go of
what it held; another is started in its place, once for each job that killed one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import IO, Any

from clipbench.data.progress import Progress
from clipbench.engine.context import Context
from clipbench.engine.stop import PREEMPTED, StoppedError, listening
from clipbench.errors import UserError
from clipbench.launch.events import event_of
from clipbench.launch.launcher import Options, Summary
from clipbench.launch.work import Work
from clipbench.plan.cost import images_seen
from clipbench.results.job import Job
from clipbench.results.store import Store

_TAIL = 400
"""Lines of a worker's standard error that are kept: all of what Python says where it is killed."""


@dataclass(frozen=True)
class Slot:
    """Where one worker runs: its device, and how many threads it may use (None: as many as it likes)."""

    device: str
    threads: int | None = None


def parse_devices(text: str) -> list[Slot]:
    """``cuda:0,cuda:1``, ``all`` (every CUDA device) or ``cpu:2`` (two workers that share the cores).

    Raises ``UserError`` for a device that is not there or named twice.
    """
    from clipbench.engine.device import pick_device

    kind, _, count = text.partition(":")
    if kind == "cpu" and "," not in text:
        if not (count or "1").isdecimal() or int(count or 1) < 1:
            raise UserError(f"--devices {text}: cpu:2 means two workers; {count!r} is no number of workers.")
        workers = int(count or 1)
        return [Slot("cpu", max((os.cpu_count() or 1) // workers, 1))] * workers
    if text == "all":
        import torch

        names = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
        if not names:
            raise UserError("--devices all: this machine shows no CUDA device to PyTorch. Use --devices cpu:2.")
    else:
        names = [name.strip() for name in text.split(",") if name.strip()]
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice or not names:
        raise UserError(f"--devices {text}: name each device once (cuda:0,cuda:1), or all, or cpu:2.")
    return [Slot(str(pick_device(name))) for name in names]


class Devices:
    """The launcher of several devices."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._slots = slots

    def launch(self, jobs: Sequence[Job], store: Store, context: Context, options: Options) -> Summary:
        """Carry out what is missing of the jobs. Raises ``StoppedError`` where somebody has asked to stop."""
        began = time.monotonic()
        cost = {job.name: sum(images_seen(job.protocol, context.listed)) * len(job.seeds) for job in jobs}
        ordered = sorted(jobs, key=lambda job: -cost[job.name])
        work = Work(
            ordered, store.root, context.data_root, context.sources, context.user_data, replace(options, wait=False)
        )
        path = work.write(store.root / ".work" / f"{uuid.uuid4().hex}.json")
        team = _Team(str(path), Progress(0), len(jobs), wait=options.wait)
        try:
            with listening(context.stop):
                team.run(self._slots)
        except StoppedError as error:
            team.stop(error)
            raise
        finally:
            team.close()
            path.unlink(missing_ok=True)
        summary = team.summary(jobs)
        summary.seconds = time.monotonic() - began
        return summary


@dataclass
class _Member:
    """One worker: its process, the job that it is at, and the end of what it wrote to standard error."""

    slot: Slot
    process: subprocess.Popen[str]
    at: str = ""
    summary: dict[str, Any] | None = None
    errors: list[str] = field(default_factory=list)


class _Team:
    """Workers on one file of jobs, their progress in one place."""

    def __init__(self, work: str, progress: Progress, jobs: int, *, wait: bool = False) -> None:
        self._wait = ["--wait"] if wait else []
        self._work, self._progress, self._jobs = work, progress, jobs
        self._members: list[_Member] = []
        self._deaths: Counter[str] = Counter()
        self._lost: dict[str, str] = {}
        self._made: list[str] = []
        self._lock, self._stopping = threading.Lock(), False
        self._largest = 0

    def run(self, slots: Sequence[Slot]) -> None:
        """Until every worker has come to the end of the jobs."""
        threads = [threading.Thread(target=self._keep_going, args=(slot,), daemon=True) for slot in slots]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            time.sleep(0.1)  # a join would keep signals from their handler

    def stop(self, error: StoppedError) -> None:
        """Pass the request on, and wait until the workers have saved what they have."""
        asked = stop_signal(error.code)
        with self._lock:
            members, self._stopping = list(self._members), True
        for member in members:
            with suppress(ProcessLookupError):
                member.process.send_signal(asked)
        for member in members:
            with suppress(subprocess.TimeoutExpired):
                member.process.wait(timeout=600)

    def close(self) -> None:
        """No worker outlives its command."""
        for member in self._members:
            if member.process.poll() is None:
                member.process.kill()
        self._progress.close()

    def summary(self, jobs: Sequence[Job]) -> Summary:
        """What became of each run, by all workers."""
        total = Summary(made=list(self._made))
        for member in self._members:
            found = member.summary or {}
            total.failed |= found.get("failed", {})
            total.missing_weights |= found.get("missing_weights", {})
        there = [set(m.summary["there"]) for m in self._members if m.summary is not None]
        left = {run for m in self._members for run in (m.summary or {}).get("elsewhere", [])}
        accounted = {*total.made, *total.failed, *left}.union(*there)
        for name, why in self._lost.items():
            # A worker may have died in a part of a job; what no worker speaks of has gone with it.
            lost = [run.id for job in jobs if name.startswith(f"{job.label} seed") for run in job.runs]
            total.failed |= {run: why for run in lost if run not in accounted}
        known = {*total.made, *total.failed}
        # What every worker found in its place was there; what none of them ended up with is in other hands.
        first = there[0] if there else set()
        total.there = [run.id for job in jobs for run in job.runs if run.id in first and run.id not in known]
        total.elsewhere = sorted(left - known - {run for found in there for run in found})
        return total

    def _keep_going(self, slot: Slot) -> None:
        """A worker on a device, and another in its place as long as one may hope that it gets further."""
        while True:
            member = self._started(slot)
            self._follow(member)
            code = member.process.wait()
            if member.summary is not None or code in (130, 75) or self._stopping:
                return
            what = member.at or "starting"
            with self._lock:
                self._deaths[what] += 1
                again = self._deaths[what] < 2
            why = f"its worker on {slot.device} ended with {_ending(code)}"
            last = _last_words(member.errors)
            said = f": {last}" if last else ""
            self._progress.say(f"{what}: {why}{said}; {'tried once more' if again else 'given up'}")
            if not again:
                self._lost[what] = f"{why}, twice{said}"
                if what == "starting":
                    return

    def _started(self, slot: Slot) -> _Member:
        skip = [word for name in self._lost for word in ("--skip", name)]
        words = ["work", self._work, "--device", slot.device, "--events", *self._wait, *skip]
        command = [sys.executable, "-m", "clipbench", *words]
        threads = {} if slot.threads is None else {"OMP_NUM_THREADS": str(slot.threads)}
        process = subprocess.Popen(  # noqa: S603 - this very program
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **threads},
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        member = _Member(slot, process)
        with self._lock:
            self._members.append(member)
        threading.Thread(target=self._drain, args=(process.stderr, member.errors), daemon=True).start()
        return member

    def _follow(self, member: _Member) -> None:
        assert member.process.stdout is not None  # noqa: S101
        for line in member.process.stdout:
            if (event := event_of(line)) is None:
                if line.strip():
                    self._progress.say(line.rstrip())
                continue
            with self._lock:
                self._take(member, event)

    def _drain(self, stream: IO[str] | None, lines: list[str]) -> None:
        """Pass on what a worker warns of, and keep the end of it; where it is killed, that is its last words alone."""
        for line in stream or ():
            lines.append(line.rstrip())
            del lines[:-_TAIL]
            if not any(kept.startswith("Fatal Python error") for kept in lines):
                self._progress.say(line.rstrip())

    def _take(self, member: _Member, event: dict[str, Any]) -> None:
        if "total" in event and event["total"] > self._largest:
            self._largest = event["total"]
            self._progress.expect(self._largest)
        if "more" in event:
            self._largest += event["more"]
            self._progress.expect(self._largest)
        if "start" in event:
            member.at = event["start"]
            self._progress.start(" | ".join(m.at for m in self._members if m.process.poll() is None))
        self._progress.advance(event.get("advance", 0))
        self._made += event.get("made", [])
        if "say" in event:
            self._progress.say(f"[{member.slot.device}] {event['say']}")
        if "summary" in event:
            member.summary = event["summary"]


def stop_signal(code: int) -> int:
    """What asks a worker to stop, where this process ends with ``code``. Windows knows but one signal for a group."""
    if (windows := getattr(signal, "CTRL_BREAK_EVENT", None)) is not None:
        return int(windows)
    return signal.SIGTERM if code == PREEMPTED else signal.SIGINT


def _last_words(lines: Sequence[str]) -> str:
    """The end of a dead worker's standard error; of what Python says where it is killed, what and where."""
    fatal = next((i for i, line in enumerate(lines) if line.startswith("Fatal Python error")), None)
    if fatal is None:
        return " / ".join(lines[-3:])
    thread = next((i for i, line in enumerate(lines) if line.startswith("Current thread")), fatal)
    where = [line.strip() for line in lines[thread:] if line.startswith("  File ")]
    return ", ".join([lines[fatal], *where[:1]])


def _ending(code: int) -> str:
    if code >= 0:
        return f"code {code}"
    with suppress(ValueError):
        return f"signal {signal.Signals(-code).name}"
    return f"signal {-code}"
