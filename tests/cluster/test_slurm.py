"""Jobs through a real Slurm of one node: tests/cluster/start_slurm.sh starts it; without one these are skipped."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from clipbench.cli.main import main
from clipbench.errors import UserError
from clipbench.launch.slurm import Element, slurm_options, states_of, submissions
from clipbench.results.store import Store

ONE = ["run", "table1", "--smoke", "--only", "dataset=ucm,row=lora-r4", "--seeds", "1", "--set", "limit=2"]


def _answers() -> bool:
    if shutil.which("sinfo") is None:
        return False
    pytest.importorskip("submitit")
    return subprocess.run(["sinfo", "-h"], capture_output=True, check=False).returncode == 0


cluster = pytest.mark.skipif(not _answers(), reason="no Slurm here; tests/cluster/start_slurm.sh starts one")


def _until(found: Callable[[], object], seconds: float = 180.0) -> None:
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.2)


@cluster
def test_a_requeued_element_gives_what_an_unbroken_run_gives(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``scontrol requeue`` in the middle of training, then ``scancel`` and a second submission: nothing is lost."""
    out, whole = tmp_path / "out", tmp_path / "whole"
    many = [*ONE, "--epochs", "80"]
    submit = [*many, "--launcher", "slurm", "--slurm", "time=5,cpus=1", "--out", str(out)]
    assert main(submit) == 4
    ((_, elements),) = submissions(out / "results")
    curves = out / "results" / ".curves"
    _until(lambda: curves.is_dir() and any(curves.iterdir()))
    assert main(["status", "--out", str(out)]) == 4
    assert "0 of 1 runs are done" in capsys.readouterr().out
    subprocess.run(["scontrol", "requeue", elements[0]], check=True)
    _until(lambda: not states_of(elements) or Store(out / "results").scan()[0])
    subprocess.run(["scancel", elements[0]], check=False)
    _until(lambda: not states_of(elements))
    assert main([*submit, "--wait"]) == 0
    assert main(["status", "--out", str(out)]) == 0
    assert main([*many, "--out", str(whole)]) == 0
    (cut,), (plain,) = Store(out / "results").scan()[0], Store(whole / "results").scan()[0]
    assert cut.metrics == plain.metrics
    assert not list((out / "results" / ".claims").iterdir())


@cluster
def test_what_slurm_refuses_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused = [*ONE, "--epochs", "1", "--launcher", "slurm", "--slurm", "partition=nowhere", "--out", str(tmp_path)]
    assert main(refused) == 2
    said = capsys.readouterr().err
    assert "Slurm refuses the jobs" in said
    assert "nowhere" in said or "partition" in said
    assert "Traceback" not in said


def test_options_come_from_a_file_and_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "clipbench.toml"
    file.write_text('[slurm]\npartition = "gpu"\ntime = 240\n')
    assert slurm_options(["time=30", "gpus=1"], file) == {
        "slurm_partition": "gpu",
        "timeout_min": 30,
        "gpus_per_node": 1,
    }


@pytest.mark.parametrize("words", [["partition"], ["colour=red"], ["time=soon"]])
def test_options_that_cannot_be(words: list[str], tmp_path: Path) -> None:
    with pytest.raises(UserError):
        slurm_options(words, tmp_path / "none.toml")


def test_without_slurm_the_sentence_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    pytest.importorskip("submitit")
    assert main([*ONE, "--epochs", "1", "--launcher", "slurm", "--out", str(tmp_path)]) == 2
    assert "no sbatch on this machine" in capsys.readouterr().err


def test_a_worker_that_breaks_is_a_failed_element(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def wait(self) -> int:
            return -9

    monkeypatch.setattr("clipbench.launch.slurm.subprocess.Popen", lambda *_: Broken())
    with pytest.raises(RuntimeError, match="-9"):
        Element("jobs.json", 0, 1)()
