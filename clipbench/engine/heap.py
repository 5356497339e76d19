"""The C library's heap on a CPU: memory that a training step frees is kept for the next step."""

from __future__ import annotations

import ctypes
import os
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Names in glibc's ``malloc.h``."""
_LARGE = 2**30
_CHOSEN_BY_THE_USER = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES", "LD_PRELOAD")


def keep_freed_memory() -> bool:
    """Let glibc keep large blocks that are freed; whether it does.

    By itself it maps every block above 32 MiB anew and unmaps it afterwards, and the kernel clears each page again: the
    activations of three seeds of a ViT-B/32 cost a quarter more time so. PyTorch caches memory on GPUs, not on a CPU.
    Another C library, and whoever has tuned the heap or loaded another allocator, is left alone.
    """
    if sys.platform != "linux" or any(name in os.environ for name in _CHOSEN_BY_THE_USER):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGE) and mallopt(_TRIM_THRESHOLD, 2 * _LARGE - 1))


def give_back_freed_memory() -> None:
    """Give back what is free: blocks of another size, as a test has them, would stand beside it."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL("libc.so.6"), "malloc_trim", None)
        if trim is not None:
            trim(0)
