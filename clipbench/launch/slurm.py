"""Slurm: the jobs as an array of workers under the locks of the results folder, through submitit.

Every element works through the jobs from its own place on, and takes what nobody holds: an element that fails, waits in
the queue or is preempted costs no other a thing. Before a time limit, and when it is preempted, an element stops at the
end of an epoch with a checkpoint and is queued again.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import tomllib
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clipbench.engine.context import Context
from clipbench.errors import UserError
from clipbench.files import write_json
from clipbench.launch.launcher import Options, Summary
from clipbench.launch.work import Work
from clipbench.plan.cost import images_seen
from clipbench.plan.present import Present
from clipbench.results.job import Job
from clipbench.results.store import Store

FOLDER = ".slurm"
"""Below the results folder: what was submitted, and the elements' logs."""
_SAVE_SECONDS = 120
"""How long before its time limit an element is asked to stop."""
_KEYS: Mapping[str, tuple[str, type]] = {
    "partition": ("slurm_partition", str),
    "account": ("slurm_account", str),
    "qos": ("slurm_qos", str),
    "time": ("timeout_min", int),
    "memory": ("mem_gb", int),
    "gpus": ("gpus_per_node", int),
    "cpus": ("cpus_per_task", int),
    "constraint": ("slurm_constraint", str),
    "parallel": ("slurm_array_parallelism", int),
}
"""Options in the user's words, and submitit's: minutes, GB."""


def slurm_options(words: Sequence[str], file: Path = Path("clipbench.toml")) -> dict[str, Any]:
    """``partition=gpu,time=240`` over the ``[slurm]`` table of ``clipbench.toml``, in submitit's words.

    Raises ``UserError`` for an unknown key or a value of another type.
    """
    given: dict[str, Any] = {}
    if file.is_file():
        try:
            given |= tomllib.loads(file.read_text(encoding="utf-8")).get("slurm", {})
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UserError(f"{file} is no TOML file: {error}.") from None
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise UserError(f"--slurm takes key=value pairs, not {word!r}; keys are {', '.join(_KEYS)}.")
        given[key] = value
    return {_KEYS[key][0]: _typed(key, value) for key, value in given.items() if _known(key)}


def _known(key: str) -> bool:
    if key not in _KEYS:
        raise UserError(f"Slurm's options know no {key!r}; keys are {', '.join(_KEYS)} (minutes, GB).")
    return True


def _typed(key: str, value: Any) -> Any:
    kind = _KEYS[key][1]
    try:
        return kind(value)
    except (TypeError, ValueError):
        raise UserError(f"Slurm's {key} = {value!r}: a whole number is due.") from None


@dataclass
class Element:
    """One element of the array: a worker process that begins with its share of the jobs."""

    work: str
    index: int
    count: int
    process: Any = None

    def __call__(self) -> int:
        """Work; the worker's exit code. Raises ``RuntimeError`` where it ended by a fault."""
        command = [sys.executable, "-m", "clipbench", "work", self.work, "--part", f"{self.index}/{self.count}"]
        self.process = subprocess.Popen(command)  # noqa: S603 - this very program
        code = self.process.wait()
        if code < 0 or code not in (0, 1, 2, 4, 75):
            raise RuntimeError(f"the worker ended with code {code}")
        return int(code)

    def checkpoint(self) -> Any:
        """What submitit calls before the end of the time, or on preemption: save, and be queued again."""
        from submitit.helpers import DelayedSubmission

        if self.process is not None:
            with suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGTERM)
            self.process.wait()
        return DelayedSubmission(Element(self.work, self.index, self.count))


class Slurm:
    """The launcher of a cluster: it submits and returns at once, or waits with ``options.wait``."""

    def __init__(self, parameters: Mapping[str, Any], elements: int | None = None) -> None:
        self._parameters, self._elements = dict(parameters), elements

    def launch(self, jobs: Sequence[Job], store: Store, context: Context, options: Options) -> Summary:
        """Submit what is missing. Raises ``UserError`` without submitit or Slurm, and for what Slurm refuses."""
        executor_of = _submitit()
        began, summary, todo, present = time.monotonic(), Summary(), list[Job](), Present(store, context.listed)
        for job in jobs:
            left = [run for run in job.runs if options.force or not present.has(run)]
            summary.there += [run.id for run in job.runs if run not in left]
            if left:
                todo.append(replace(job, seeds=tuple(run.seed for run in left)))
        if not todo:
            return summary
        todo.sort(key=lambda job: -sum(images_seen(job.protocol, context.listed)) * len(job.seeds))
        folder = store.root.absolute() / FOLDER / uuid.uuid4().hex[:8]
        where = store.root, context.data_root, context.sources, context.user_data
        path = Work(todo, *where, replace(options, wait=False)).write(folder / "jobs.json")
        count = min(len(todo), self._elements or len(todo))
        submitted = _submit(executor_of, folder, self._parameters, [Element(str(path), i, count) for i in range(count)])
        write_json(folder / "submitted.json", {"elements": submitted, "jobs": len(todo)})
        summary.elsewhere = [run.id for job in todo for run in job.runs]
        if options.wait:
            self._wait(submitted, store, summary)
        summary.seconds = time.monotonic() - began
        return summary

    @staticmethod
    def _wait(submitted: Sequence[str], store: Store, summary: Summary) -> None:
        """Until no element is queued or runs."""
        while states_of(submitted):
            time.sleep(5.0)
        done = [run_id for run_id in summary.elsewhere if store.has(run_id)]
        summary.made += done
        left = [run_id for run_id in summary.elsewhere if run_id not in done]
        summary.elsewhere = []
        summary.failed |= dict.fromkeys(left, "no element of the array left a record; see `clipbench status`")


def states_of(elements: Sequence[str]) -> dict[str, str]:
    """``{"12_3": "RUNNING"}`` of the elements that Slurm still knows as queued or running."""
    if not elements:
        return {}
    arrays = ",".join(dict.fromkeys(element.partition("_")[0] for element in elements))
    try:
        found = subprocess.run(  # noqa: S603 - arguments are job numbers
            ["squeue", "--noheader", "--array", "--format=%i %T", f"--jobs={arrays}"],  # noqa: S607
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"Slurm does not answer: squeue: {error}.") from None
    lines = (line.split() for line in found.stdout.splitlines())
    ended = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "COMPLETING")
    return {line[0]: line[1] for line in lines if len(line) == 2 and line[0] in elements and line[1] not in ended}


def submissions(root: Path) -> list[tuple[Path, list[str]]]:
    """What was submitted for a results folder, oldest first: the folder of its logs, and the array's elements."""
    found = []
    for file in sorted(root.glob(f"{FOLDER}/*/submitted.json"), key=lambda f: f.stat().st_mtime):
        with suppress(OSError, ValueError, KeyError, TypeError):
            found.append((file.parent, list(json.loads(file.read_text(encoding="utf-8"))["elements"])))
    return found


def _submitit() -> Any:
    import shutil

    try:
        import submitit
    except ImportError:
        raise UserError("--launcher slurm needs submitit: pip install 'clipbench[slurm]'.") from None
    if shutil.which("sbatch") is None:
        raise UserError("--launcher slurm: there is no sbatch on this machine. Run it on a login node of the cluster.")
    return submitit.AutoExecutor


def _submit(executor_of: Any, folder: Path, parameters: Mapping[str, Any], elements: Sequence[Element]) -> list[str]:
    try:
        executor = executor_of(
            folder=str(folder / "%A"), cluster="slurm", slurm_max_num_timeout=100, slurm_python=sys.executable
        )
        executor.update_parameters(
            slurm_job_name="clipbench", slurm_signal_delay_s=_SAVE_SECONDS, **{"timeout_min": 60, **parameters}
        )
        with executor.batch():
            jobs = [executor.submit(element) for element in elements]
    except Exception as error:
        # submitit wraps what sbatch says in exceptions of its own; the user wants the sentence.
        said = " ".join(str(error).split())
        raise UserError(f"Slurm refuses the jobs: {said[:600]}") from None
    return [str(job.job_id) for job in jobs]
