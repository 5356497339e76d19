"""Jobs as a file, workers on several devices, results put together, and stopping where nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clipbench.cli.main import main
from clipbench.data.progress import Progress, Running
from clipbench.engine.stop import Stop, StoppedError, listening
from clipbench.errors import UserError
from clipbench.launch import devices
from clipbench.launch.devices import parse_devices
from clipbench.launch.events import event_of
from clipbench.launch.launcher import Options
from clipbench.launch.work import Work
from clipbench.plan.jobs import jobs_of
from clipbench.plan.select import Plan
from clipbench.registry import Overrides
from clipbench.results.job import Job
from clipbench.results.merge import merge
from clipbench.results.store import Store
from tests.engine.passes_for_tests import planned

RUN = ["run", "table1", "--smoke", "--only", "dataset=ucm,row=lora-r4", "--set", "limit=2", "--epochs", "1"]


def jobs(*seeds: int) -> list[Job]:
    return jobs_of(Plan(Overrides("smoke"), planned(seeds=seeds), ()))


def test_a_job_survives_a_file(tmp_path: Path) -> None:
    work = Work(jobs(1, 2), tmp_path / "results", tmp_path, options=Options(replicas=1, wait=True))
    read = Work.read(work.write(tmp_path / "jobs.json"))
    assert read == work
    assert [run.id for run in read.jobs[0].runs] == [run.id for run in work.jobs[0].runs]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"jobs": [{}]}', "[" * 100_000])
def test_a_file_that_holds_no_jobs(content: str, tmp_path: Path) -> None:
    path = tmp_path / "jobs.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"no jobs? of clipbench"):
        Work.read(path)


def test_two_workers_share_the_jobs_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main([*RUN, "--seeds", "1,2", "--out", str(out), "--write-jobs", str(tmp_path / "jobs.json")]) == 0
    assert main(["work", str(tmp_path / "jobs.json"), "--device", "cpu"]) == 0
    assert "2 runs made" in capsys.readouterr().out
    assert main([*RUN, "--seeds", "1,2,3", "--replicas", "1", "--devices", "cpu:2", "--out", str(out)]) == 0
    assert "1 runs made" in capsys.readouterr().out.replace("1 run made", "1 runs made")
    records, faults = Store(out / "results").scan()
    assert sorted(r.seed for r in records) == [1, 2, 3]
    assert not faults
    other = tmp_path / "other"
    found = merge(other, [out / "results"])
    assert len(found.taken) == 3
    assert len(merge(other, [out / "results"]).alike) == 3
    record = other / records[0].id / "record.json"
    record.write_text(record.read_text().replace('"seed"', '"sead"', 1))
    assert len(merge(tmp_path / "third", [other]).faults) == 1


def test_a_worker_that_dies_is_tried_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A worker that ends by a signal in its first job: another one, then the job is given up with the reason."""
    broken = tmp_path / "broken.py"
    told = json.dumps({"start": jobs(1)[0].name})
    broken.write_text(f"import os, signal\nprint({told!r}, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)\n")
    team = devices._Team("x", Progress(1), 1)
    start = subprocess.Popen

    def popen(command: list[str], **more: object) -> object:
        if "--skip" in command:
            return start([sys.executable, "-c", 'print(\'{"summary": {"there": []}}\')'], **more)  # type: ignore[call-overload]
        return start([sys.executable, str(broken)], **more)  # type: ignore[call-overload]

    monkeypatch.setattr(devices.subprocess, "Popen", popen)
    team.run([devices.Slot("cpu", 1)])
    team.close()
    summary = team.summary(jobs(1))
    assert list(summary.failed) == [jobs(1)[0].runs[0].id]
    assert "SIGKILL, twice" in next(iter(summary.failed.values()))
    assert "tried once more" in capsys.readouterr().err


CRASHES = """
import os
from clipbench.methods.base import Method

class Aborts(Method):
    def logits(self, features): os.abort()
"""


def test_a_method_that_ends_its_process_ends_no_other_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``os.abort`` with several seeds, which do not share a pass: the row beside it is made, and the command ends."""
    (tmp_path / "crashes.py").write_text(CRASHES)
    monkeypatch.chdir(tmp_path)
    only = ["--only", "dataset=ucm,row=lora-r4|aborts-*", "--seeds", "1,2", "--limit", "2", "--epochs", "1"]
    words = ["run", "table1", "--smoke", *only, "--method", "crashes.py:Aborts", "--out", "out"]
    assert main([*words, "--json"]) == 1
    said = capsys.readouterr().out
    summary = json.loads(said[said.index("{") :])
    assert len(summary["made"]) == 2
    assert len(Store(tmp_path / "out" / "results").scan()[0]) == 2
    (why,) = set(summary["failed"].values())
    assert len(summary["failed"]) == 2
    assert "ended with signal SIGABRT, twice: Fatal Python error: Aborted, File" in why
    assert f'{tmp_path / "crashes.py"}", line 6 in logits' in why


@pytest.mark.parametrize("text", ["cpu:0", "cpu:x", "cuda:0,cuda:0", ",", "gpu7"])
def test_devices_that_cannot_be(text: str) -> None:
    with pytest.raises(UserError):
        parse_devices(text)


def test_cores_are_shared() -> None:
    slots = parse_devices("cpu:2")
    assert [slot.device for slot in slots] == ["cpu", "cpu"]
    assert slots[0].threads == max((os.cpu_count() or 1) // 2, 1)


def test_a_stop_waits_while_there_is_something_to_save() -> None:
    stop = Stop()
    with listening(stop), stop.delay():
        signal.raise_signal(signal.SIGTERM)
        assert stop.requested == "SIGTERM"
        with pytest.raises(StoppedError) as error:
            signal.raise_signal(signal.SIGTERM)
    assert error.value.code == 75
    with listening(Stop()), pytest.raises(StoppedError) as error:
        signal.raise_signal(signal.SIGINT)
    assert error.value.code == 130


def test_a_terminated_run_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    """SIGTERM in training: code 75, a checkpoint, no claim; the same command then gives what an unbroken one gives."""
    many = [*RUN, "--seeds", "1", "--out"]
    many[many.index("--epochs") + 1] = "24"
    process = subprocess.Popen(
        [sys.executable, "-m", "clipbench", *many, str(tmp_path / "cut")], stderr=subprocess.PIPE
    )
    curves = tmp_path / "cut" / "results" / ".curves"
    for _ in range(1200):
        if curves.is_dir() and any(curves.iterdir()):
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert process.returncode == 75
    results = tmp_path / "cut" / "results"
    assert list((results / ".checkpoints").iterdir())
    assert not list((results / ".claims").iterdir())
    assert main([*many, str(tmp_path / "cut")]) == main([*many, str(tmp_path / "whole")]) == 0
    cut, whole = (Store(tmp_path / name / "results").scan()[0][0] for name in ("cut", "whole"))
    assert cut.metrics == whole.metrics
    assert [line.train_loss for line in cut.history] == [line.train_loss for line in whole.history]


def test_pauses_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("clipbench.data.progress.time.monotonic", lambda: now[0])
    running = Running()
    running.stop()
    for step in (1.0, 1.0, 3600.0, 1.0):
        now[0] += step
        running._note()
    assert running.seconds() == pytest.approx(13.0)


def test_a_part_that_the_weights_lack_stops_its_method_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """CLIPN's second tower is not in the weights that CLIP-LoRA after it runs with."""
    only = "column=pacs,test_domain=photo,row=clipn|clip-lora"
    words = ["--set", "clipn_tower=weights-file", "--limit", "1", "--epochs", "1", "--seeds", "1"]
    assert main(["run", "domains", "--smoke", "--only", only, *words, "--out", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert "CLIPN needs weights of its own" in said.out + said.err
    records, _ = Store(tmp_path / "results").scan()
    assert [record.origin.row for record in records] == ["clip-lora"]


@pytest.mark.parametrize("line", ["0.25", "[1, 2]", "null", "{}", '{"loss": 1.5}', "epoch 3", "[" * 100_000, ""])
def test_what_a_method_prints_is_no_event(line: str) -> None:
    assert event_of(line) is None
    assert event_of('{"advance": 3}') == {"advance": 3}
