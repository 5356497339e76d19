"""Windows, faked: nothing that only POSIX has is imported or called there, and memory and stops go by its means."""

from __future__ import annotations

import ast
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

import clipbench
from clipbench.engine.device import Meter
from clipbench.launch import devices

PACKAGE = Path(clipbench.__file__).parent
POSIX_CALLS = {"kill", "killpg", "fork", "getuid", "geteuid", "uname", "sched_getaffinity", "statvfs", "getloadavg"}

IMPORT_ALL = """
import builtins, importlib, pkgutil
import clipbench

ordinary = builtins.__import__

def on_windows(name, scope=None, *more, **named):
    here = (scope or {}).get("__name__", "").startswith("clipbench")
    if here and name.partition(".")[0] in {"resource", "fcntl", "pwd", "grp", "termios", "tty", "pty", "posix"}:
        raise ModuleNotFoundError(f"No module named {name!r}, which {scope['__name__']} imports")
    return ordinary(name, scope, *more, **named)

builtins.__import__ = on_windows
for module in pkgutil.walk_packages(clipbench.__path__, "clipbench."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""


def test_no_module_needs_what_only_posix_has() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]


def test_no_call_of_what_windows_lacks_or_takes_otherwise() -> None:
    """``os.kill(pid, 0)`` asks whether a process runs, and ends it on Windows."""
    found = [
        f"{path.relative_to(PACKAGE)}:{node.lineno} os.{node.attr}"
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        if node.value.id == "os" and node.attr in POSIX_CALLS
    ]
    assert found == []


def test_peak_memory_comes_from_windows_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, "resource", None)
    process = SimpleNamespace(memory_info=lambda: SimpleNamespace(peak_wset=123_456))
    monkeypatch.setattr(psutil, "Process", lambda: process)
    assert Meter(torch.device("cpu")).peak_memory() == 123_456


def test_workers_are_asked_to_stop_by_a_signal_that_windows_has(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [devices.stop_signal(code) for code in (130, 75)] == [signal.SIGINT, signal.SIGTERM]
    monkeypatch.setattr(signal, "CTRL_BREAK_EVENT", 1, raising=False)
    assert devices.stop_signal(130) == 1
