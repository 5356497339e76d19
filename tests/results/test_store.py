"""Records on disk: whole or absent, with many writers, full disks and kills; claims that two never hold."""

from __future__ import annotations

import errno
import hashlib
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clipbench.errors import UserError
from clipbench.results import locks
from clipbench.results import store as module
from clipbench.results.locks import LEASE_SECONDS
from clipbench.results.record import Record
from clipbench.results.store import Draft, Store
from tests.factory import record

SPAWN = multiprocessing.get_context("spawn")
FILES = {"predictions.npz": b"\x00\x01two"}


def drafts(*seeds: int) -> list[Draft]:
    return [Draft(record(seed=seed), FILES) for seed in seeds]


def ids(*seeds: int) -> list[str]:
    return [record(seed=seed).id for seed in seeds]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def names(store: Store, start: str) -> list[str]:
    return [p.name for p in store.root.iterdir() if p.name.startswith(start)]


# Publishing and reading


def test_a_record_comes_back_as_it_was(store: Store) -> None:
    store.publish(drafts(1, 2))
    found, faults = store.scan()
    assert not faults
    due = [replace(record(seed=seed), files=found[0].files) for seed in (1, 2)]
    assert found == due
    assert list(found[0].files) == ["predictions.npz"]
    assert found[0].files["predictions.npz"] == hashlib.sha256(FILES["predictions.npz"]).hexdigest()
    assert store.get(ids(1)[0]) == found[0]
    assert store.path(ids(1)[0], "predictions.npz").read_bytes() == FILES["predictions.npz"]
    assert sorted(p.name for p in store.root.iterdir()) == sorted(ids(1, 2))


def test_other_spaces_and_another_order_are_no_damage(store: Store) -> None:
    store.publish(drafts(1))
    path = store.root / ids(1)[0] / "record.json"
    path.write_text(json.dumps(dict(reversed(json.loads(path.read_text()).items()))))
    assert store.has(ids(1)[0])


def test_records_are_sorted_by_the_time_they_were_finished(store: Store) -> None:
    store.publish(drafts(5, 3, 4))
    assert [r.seed for r in store.scan()[0]] == [3, 4, 5]


def test_an_absent_folder_is_empty_and_is_not_made(store: Store) -> None:
    assert store.scan() == ([], [])
    assert not store.has("0123456789abcdef")
    assert not store.root.exists()


def test_nothing_to_publish_leaves_nothing(store: Store) -> None:
    store.publish([])
    assert not store.root.exists()


# What is not to be trusted


def change(path: Path, **values: Any) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | values))


def unsealed(path: Path) -> None:
    """As somebody leaves it who edits a record by hand, and knows that the digest would not fit."""
    content = json.loads(path.read_text())
    del content["sha256"]
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda d: (d / "record.json").write_bytes((d / "record.json").read_bytes()[:200]), "cannot be used"),
        (lambda d: (d / "record.json").write_text("[]"), "cannot be used"),
        (lambda d: (d / "record.json").write_text("null"), "cannot be used"),
        (lambda d: (d / "record.json").write_bytes(b"\xff\xfe"), "cannot be used"),
        (lambda d: (d / "record.json").unlink(), "holds no record.json"),
        (lambda d: (d / "predictions.npz").unlink(), "predictions.npz is missing"),
        (lambda d: (d / "predictions.npz").write_bytes(b"\x00\x01twO"), "not the one that was written"),
        (lambda d: change(d / "record.json", seed=9), "not to its id"),
        (lambda d: change(d / "record.json", metrics={}), "empty"),
        (lambda d: change(d / "record.json", history=[]), "empty"),
        (lambda d: change(d / "record.json", finished=None), "finished is None"),
        (lambda d: change(d / "record.json", finished="yesterday"), "yesterday"),
        (lambda d: change(d / "record.json", environment=None), "environment is None"),
        (lambda d: change(d / "record.json", origin={}), "keys of Origin"),
        (lambda d: change(d / "record.json", history=[{}]), "keys of Epoch"),
        (lambda d: change(d / "record.json", files={"../../etc/passwd": "0"}), "outside of its folder"),
        (lambda d: change(d / "record.json", metrics={"accuracy": 10**400}), "cannot be used"),
        (lambda d: change(d / "record.json", seed=True), "seed is True"),
        (lambda d: (d / "record.json").write_text("[" * 100_000), "cannot be used"),
        (lambda d: (d / "record.json").write_text('{"a":' * 100_000), "cannot be used"),
        (lambda d: ((d / "record.json").unlink(), os.mkfifo(d / "record.json")), "no plain file"),
        (lambda d: ((d / "record.json").unlink(), (d / "record.json").mkdir()), "no plain file"),
        (lambda d: unsealed(d / "record.json"), "sha256 is missing"),
        (lambda d: change(d / "record.json", schema=99), "schema 99"),
        (lambda d: change(d / "record.json", surplus=1), "surplus"),
        (lambda d: change(d / "record.json", files=[]), "cannot be used"),
        (lambda d: change(d / "record.json", protocol={"lr": "fast"}), "lr = 'fast'"),
        (lambda d: change(d / "record.json", metrics={"accuracy": "high"}), "accuracy"),
        (lambda d: change(d / "record.json", metrics={"accuracy": float("nan")}), "accuracy"),
        (lambda d: change(d / "record.json", metrics={"accuracy": 99.99}), "not the one that was written"),
        (lambda d: change(d / "record.json", finished="2030-01-01T00:00:00+00:00"), "not the one that was written"),
    ],
)
def test_a_damaged_record_is_reported_never_used_and_stays(store: Store, damage: Any, said: str) -> None:
    store.publish(drafts(1, 2))
    folder = store.root / ids(1)[0]
    damage(folder)
    before = sorted(p.name for p in folder.iterdir())
    found, (fault,) = store.scan()
    assert [r.seed for r in found] == [2]
    assert fault.path == folder
    assert said in fault.reason
    assert not store.has(ids(1)[0])
    assert sorted(p.name for p in folder.iterdir()) == before


def test_a_record_under_another_runs_name_is_reported(store: Store) -> None:
    store.publish(drafts(1))
    (store.root / ids(1)[0]).rename(store.root / ids(2)[0])
    found, (fault,) = store.scan()
    assert not found
    assert f"the record of {ids(1)[0]}" in fault.reason
    assert not store.has(ids(2)[0])


def test_a_foreign_folder_is_reported_and_stray_files_and_hidden_folders_are_passed_over(store: Store) -> None:
    (store.root / "holiday pictures").mkdir(parents=True)
    (store.root / ".DS_Store").mkdir()
    (store.root / "notes.txt").write_text("mine")
    found, (fault,) = store.scan()
    assert not found
    assert (fault.path.name, fault.reason) == ("holiday pictures", "it holds no record.json")


def test_a_run_made_again_replaces_what_is_torn_and_keeps_it_aside(store: Store) -> None:
    store.publish(drafts(1))
    torn = store.root / ids(1)[0]
    (torn / "record.json").write_text("{")
    store.publish(drafts(1))
    assert store.has(ids(1)[0])
    (kept,) = names(store, ".torn-")
    assert (store.root / kept / "record.json").read_text() == "{"


def test_a_file_in_a_records_place_makes_way_and_is_kept(store: Store) -> None:
    store.root.mkdir(parents=True)
    (store.root / ids(1)[0]).write_text("what is this")
    store.publish(drafts(1))
    assert store.has(ids(1)[0])
    (kept,) = names(store, ".torn-")
    assert (store.root / kept).read_text() == "what is this"


def test_a_second_record_of_one_run_is_kept_aside_and_the_first_stays(store: Store) -> None:
    store.publish(drafts(1))
    store.publish([Draft(record(seed=1, score=12.0), {})])
    assert store.get(ids(1)[0]).metrics["accuracy"] == 90.0  # type: ignore[union-attr]
    assert len(names(store, ".duplicate-")) == 1


def test_a_record_that_is_made_again_by_force_takes_the_place_of_the_old_one_which_is_kept(store: Store) -> None:
    store.publish(drafts(1))
    store.publish([Draft(record(seed=1, score=12.0), {}), *drafts(2)], replacing=True)
    assert {r.seed: r.metrics["accuracy"] for r in store.scan()[0]} == {1: 12.0, 2: 90.0}
    (kept,) = names(store, ".replaced-")
    assert json.loads((store.root / kept / "record.json").read_text())["metrics"]["accuracy"] == 90.0


def test_force_on_a_full_disk_leaves_the_old_records_in_their_place(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.publish(drafts(1, 2))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module, "_durable", full)
        with pytest.raises(UserError, match="the disk is full"):
            store.publish(drafts(1, 2), replacing=True)
    assert sorted(p.name for p in store.root.iterdir()) == sorted(ids(1, 2))
    assert [r.seed for r in store.scan()[0]] == [1, 2]


def test_force_that_was_killed_before_the_old_record_made_way_is_finished_later(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.publish(drafts(1))
    with monkeypatch.context() as patch:
        patch.setattr(Store, "_promote", lambda *_: None)
        store.publish([Draft(record(seed=1, score=12.0), {})], replacing=True)
    assert store.get(ids(1)[0]).metrics["accuracy"] == 90.0  # type: ignore[union-attr]
    assert Store(store.root).get(ids(1)[0]).metrics["accuracy"] == 12.0  # type: ignore[union-attr]
    assert len(names(store, ".replaced-")) == 1


# Kills, full disks, folders that may not be written


def test_a_kill_between_the_two_renames_loses_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Store, "_promote", lambda *_: None)
        store.publish(drafts(1, 2))
    assert store.scan() == ([], [])
    assert len(names(store, ".ready-")) == 1
    again = Store(store.root)
    assert [r.seed for r in again.scan()[0]] == [1, 2]
    assert sorted(p.name for p in store.root.iterdir()) == sorted(ids(1, 2))


def test_half_promoted_records_are_finished(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Store, "_promote", lambda *_: None)
        store.publish(drafts(1, 2, 3))
    (ready,) = store.root.glob(".ready-*")
    (ready / ids(2)[0]).rename(store.root / ids(2)[0])
    assert [r.seed for r in Store(store.root).scan()[0]] == [1, 2, 3]


@pytest.mark.parametrize("step", ["write", "fsync"])
def test_a_full_disk_leaves_nothing_half_there(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, step: str
) -> None:
    store.publish(drafts(1))
    monkeypatch.setattr(module.tempfile, "tempdir", str(tmp_path))
    durable, calls = module._durable, []

    def full(path: Path, content: bytes) -> None:
        calls.append(path)
        if len(calls) == 4 and step == "write":
            path.write_bytes(content[:10])
            raise OSError(errno.ENOSPC, "No space left on device")
        durable(path, content)

    def no_sync(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "_durable", full) if step == "write" else monkeypatch.setattr(
        module.os, "fsync", no_sync
    )
    with pytest.raises(UserError, match="the disk is full"):
        store.publish(drafts(2, 3))
    assert [p.name for p in store.root.iterdir()] == ids(1)


def test_records_of_a_full_disk_are_saved_elsewhere_and_can_be_moved_in(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module.tempfile, "tempdir", str(tmp_path))
    durable = module._durable

    def full(path: Path, content: bytes) -> None:
        if path.is_relative_to(store.root):
            raise OSError(errno.ENOSPC, "No space left on device")
        durable(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(module, "_durable", full)
        with pytest.raises(UserError, match="clipbench-rescued-"):
            store.publish(drafts(1, 2))
    (rescued,) = tmp_path.glob("clipbench-rescued-*")
    for folder in rescued.iterdir():
        folder.rename(store.root / folder.name)
    assert [r.seed for r in store.scan()[0]] == [1, 2]


def test_a_full_disk_at_the_claim_is_a_plain_message(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module.json, "dump", full)
        with pytest.raises(UserError, match="the disk is full"), store.claim(ids(1)):
            pass
    with store.claim(ids(1)) as claim:  # the torn claim was taken back
        assert claim is not None


def _writer(root: str, worker: int, count: int) -> None:
    store = Store(Path(root))
    for i in range(count):
        own, shared = 100 * worker + i, 1000 + i
        store.publish([Draft(record(seed=own), FILES), Draft(record(seed=shared), FILES)])
        Store(Path(root)).scan()


def _started(target: Any, *arguments: Any) -> Any:
    process = SPAWN.Process(target=target, args=arguments)
    process.start()
    return process


def test_many_writers_lose_nothing_and_write_everything_once(store: Store) -> None:
    workers = [_started(_writer, str(store.root), worker, 6) for worker in range(1, 5)]
    for worker in workers:
        worker.join(60)
    assert [w.exitcode for w in workers] == [0] * 4
    found, faults = store.scan()
    assert not faults
    assert sorted(r.seed for r in found) == sorted(
        [100 * w + i for w in range(1, 5) for i in range(6)] + list(range(1000, 1006))
    )
    assert len(names(store, ".duplicate-")) == 3 * 6
    assert not names(store, ".ready-")
    assert not names(store, ".partial-")
    assert not names(store, ".settling-")


# Claims


def test_a_claim_is_held_until_its_end(store: Store) -> None:
    with store.claim(ids(1, 2)) as first:
        assert first is not None
        with store.claim(ids(2, 3)) as second:
            assert second is None
        with store.claim(ids(3)) as third:  # the failed attempt let go of 3
            assert third is not None
    with store.claim(ids(1, 2, 3)) as after:
        assert after is not None
    assert not list((store.root / ".claims").iterdir())


@pytest.mark.parametrize("content", [f'{{"host": "HOST", "pid": {10**30}}}', '{"host": "HOST", "pid": 3000000000}', ""])
def test_an_odd_claim_is_what_a_kill_left(store: Store, content: str) -> None:
    """A process number that is none; a pipe, which no command waits for."""
    path = store.root / ".claims" / ids(1)[0]
    path.parent.mkdir(parents=True)
    if content:
        path.write_text(content.replace("HOST", socket.gethostname()))
    else:
        os.mkfifo(path)
    os.utime(path, (1, 1))
    with Store(store.root).claim(ids(1)) as claim:
        assert claim is not None


def test_a_claim_ends_with_an_exception(store: Store) -> None:
    with pytest.raises(KeyboardInterrupt), store.claim(ids(1)):
        raise KeyboardInterrupt
    assert not list((store.root / ".claims").iterdir())


HOLD = """
import sys, time
from pathlib import Path
from clipbench.results.store import Store
with Store(Path(sys.argv[1])).claim(sys.argv[2:]) as claim:
    print("held" if claim else "refused", flush=True)
    time.sleep(60)
"""


def holder(store: Store, *run_ids: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", HOLD, str(store.root), *run_ids]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "held"
    return process


def test_a_living_owner_keeps_its_claim_and_a_killed_one_loses_it(store: Store) -> None:
    process = holder(store, *ids(1))
    try:
        path = store.root / ".claims" / ids(1)[0]
        long_ago = time.time() - 10 * LEASE_SECONDS
        os.utime(path, (long_ago, long_ago))
        with store.claim(ids(1)) as claim:
            assert claim is None
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    with store.claim(ids(1)) as claim:
        assert claim is not None


def test_a_process_number_given_out_again_is_not_the_owner(store: Store) -> None:
    folder = store.root / ".claims"
    folder.mkdir(parents=True)
    with store.claim(ids(1)) as claim:
        assert claim is not None
        owner = json.loads((folder / ids(1)[0]).read_text())
    if owner["started"] is None:
        pytest.skip("this system does not tell when a process began")
    (folder / ids(1)[0]).write_text(json.dumps(owner | {"started": 1}))
    with store.claim(ids(1)) as claim:
        assert claim is not None


@pytest.mark.parametrize(("age", "taken"), [(LEASE_SECONDS - 60, False), (LEASE_SECONDS + 60, True)])
def test_the_claim_of_another_machine_is_taken_over_when_it_is_old(store: Store, age: float, taken: bool) -> None:
    path = store.root / ".claims" / ids(1)[0]
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"host": "another", "pid": os.getpid()}))
    os.utime(path, (time.time() - age, time.time() - age))
    with store.claim(ids(1)) as claim:
        assert (claim is not None) == taken


@pytest.mark.parametrize("content", ["", "{", "[]", '{"host": 1}'])
def test_a_torn_claim_is_taken_over_when_it_is_old(store: Store, content: str) -> None:
    path = store.root / ".claims" / ids(1)[0]
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with store.claim(ids(1)) as claim:
        assert claim is None
    os.utime(path, (time.time() - 2 * LEASE_SECONDS,) * 2)
    with store.claim(ids(1)) as claim:
        assert claim is not None


def test_opening_the_folder_removes_the_claims_of_the_dead_only(store: Store) -> None:
    """A kill between the record and the end of its claim: nobody would ever take that run again."""
    folder = store.root / ".claims"
    dead, torn = (folder / run_id for run_id in ids(1, 2))
    with store.claim(ids(3)) as living:
        assert living is not None
        (held,) = folder.iterdir()
        dead.write_text(held.read_text().replace(f'"pid": {os.getpid()}', '"pid": 4194305'))
        torn.write_text("")
        lock = folder / f".clearing-{ids(4)[0]}"
        lock.mkdir()
        Store(store.root)
        assert set(folder.iterdir()) == {held, torn, lock}
        for path in (torn, lock):
            os.utime(path, (0, 0))
        Store(store.root)
        assert set(folder.iterdir()) == {held}


def test_a_claim_that_was_taken_over_is_not_let_go_of(store: Store) -> None:
    """The slow owner neither falls over at its next sign of life, nor renews or removes the claim of its successor."""
    path = store.root / ".claims" / ids(1)[0]
    with store.claim(ids(1)) as claim:
        assert claim is not None
        path.write_text(json.dumps({"host": "another", "pid": 1}))
        os.utime(path, (1000.0, 1000.0))
        claim.renew()
        assert path.stat().st_mtime == 1000.0
    assert path.exists()
    path.unlink()
    with store.claim(ids(1)) as claim:
        assert claim is not None
        path.unlink()
        claim.renew()


def test_a_claim_is_renewed_while_the_work_goes_on(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "RENEW_SECONDS", 0.02)
    path = store.root / ".claims" / ids(1)[0]
    with store.claim(ids(1)) as claim:
        assert claim is not None
        os.utime(path, (1000.0, 1000.0))
        until = time.monotonic() + 10
        while path.stat().st_mtime == 1000.0 and time.monotonic() < until:
            time.sleep(0.01)
        assert path.stat().st_mtime > time.time() - 60


@pytest.mark.parametrize(
    ("change", "taken"),
    [
        ({}, False),
        ({"boot": "another start of this machine"}, True),
        ({"namespace": "pid:[1]"}, False),  # another container: its processes cannot be seen from here
        ({"host": "another"}, False),
        ({"host": "another", "job": "17", "restart": 0}, True),  # the same batch job, requeued as its restart 1
        ({"host": "another", "job": "18", "restart": 0}, False),
        ({"host": "another", "job": "17", "restart": 1}, False),  # another task of the same job
    ],
)
def test_who_is_known_to_be_gone(
    store: Store, monkeypatch: pytest.MonkeyPatch, change: dict[str, object], taken: bool
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    path = store.root / ".claims" / ids(1)[0]
    with store.claim(ids(1)):
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
        with store.claim(ids(1)) as other:
            assert (other is not None) == taken


def test_the_clock_of_this_machine_does_not_count(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node whose clock is an hour ahead takes nothing away: the file system's clock says how old a claim is."""
    path = store.root / ".claims" / ids(1)[0]
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"host": "another", "pid": 1}))
    now = time.time()
    monkeypatch.setattr(locks.time, "time", lambda: now + 3600.0)
    with store.claim(ids(1)) as claim:
        assert claim is None


def _compete(root: str, rounds: int, start: float, log: str) -> None:
    """Take the abandoned claim of every round, and write down that one had it while having it."""
    store = Store(Path(root))
    for number in range(rounds):
        time.sleep(max(0.0, start + 0.15 * number - time.time()))
        with store.claim([f"run{number:02d}"]) as claim:
            if claim is not None:
                for word, pause in (("in", 0.1), ("out", 0.0)):
                    with Path(log).open("a") as file:
                        file.write(f"{number} {word}\n")
                    time.sleep(pause)


def test_of_several_processes_that_find_a_dead_claim_one_takes_it(store: Store, tmp_path: Path) -> None:
    folder = store.root / ".claims"
    folder.mkdir(parents=True)
    host = locks.socket.gethostname()
    for number in range(20):
        (folder / f"run{number:02d}").write_text(json.dumps({"host": host, "pid": 2**22 + 5, "started": "1"}))
    start = time.time() + 3.0
    workers = [_started(_compete, str(store.root), 20, start, str(tmp_path / "log")) for _ in range(4)]
    for worker in workers:
        worker.join(60)
    assert [w.exitcode for w in workers] == [0] * 4
    lines = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    for number in range(20):  # however late a process comes on a busy machine, never do two hold a claim at once
        words = [word for name, word in lines if name == str(number)]
        assert words
        assert words == ["in", "out"] * (len(words) // 2)


def test_a_claim_removed_between_look_and_leap_is_not_the_successors(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both see a dead owner; the other is faster; its fresh claim must survive our clearing."""
    path = store.root / ".claims" / ids(1)[0]
    path.parent.mkdir(parents=True)
    dead = json.dumps({"host": locks.socket.gethostname(), "pid": 2**22 + 5, "started": "1"})
    path.write_text(dead)
    abandoned, asked = locks._abandoned, []

    def slow(claim: Path) -> bool:
        verdict = abandoned(claim)
        if not asked:
            asked.append(claim)
            successor = {"host": "another", "pid": 1}
            path.write_text(json.dumps(successor))
        return verdict

    monkeypatch.setattr(locks, "_abandoned", slow)
    with store.claim(ids(1)) as claim:
        assert claim is None
    assert json.loads(path.read_text())["host"] == "another"


def test_a_record_needs_its_hash(store: Store) -> None:
    made = record(seed=1)
    with pytest.raises(ValueError, match="not to its id"):
        Record.from_json(made.to_json() | {"id": "0" * 16})
