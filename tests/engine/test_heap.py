"""The heap that keeps what is freed: in a process of its own, as it cannot be undone."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import resource
import torch
from clipbench.engine.heap import keep_freed_memory

print(keep_freed_memory())
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(12):  # the first few find their place
    torch.ones(16, 2**20)  # 64 MiB: 16,384 pages
before = faults()
for _ in range(10):
    torch.ones(16, 2**20)
print(faults() - before)
"""


def _run(**environment: str) -> list[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=clean | environment, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's heap")
def test_pages_are_not_faulted_in_again() -> None:
    kept, faults = _run()
    if kept == "False":
        pytest.skip("another C library or allocator")
    assert int(faults) < 20_000  # of 163,840


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's heap")
def test_who_has_tuned_the_heap_is_left_alone() -> None:
    kept, faults = _run(MALLOC_TRIM_THRESHOLD_="131072")
    assert kept == "False"
    assert int(faults) > 100_000
