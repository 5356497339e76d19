"""The device of a pass: choosing it, its arithmetic, its memory and energy, and what the record says of it."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from functools import cache
from importlib import import_module
from pathlib import Path

import torch

from clipbench import __version__
from clipbench.errors import UserError
from clipbench.results.record import Environment


def pick_device(name: str) -> torch.device:
    """``auto`` takes CUDA, then Apple's MPS, then the CPU. Raises ``UserError`` for a device that is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"no device is called {name!r}; say cpu, cuda, cuda:1, mps or auto.") from None
    if device.type not in ("cpu", "cuda", "mps"):
        raise UserError(f"the device {name!r} is not supported; say cpu, cuda, cuda:1, mps or auto.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError("this machine shows no Apple GPU (mps) to PyTorch. Use --device cpu.")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError("this machine shows no CUDA device to PyTorch. Use --device cpu, or --smoke for a quick look.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"there are {torch.cuda.device_count()} CUDA devices, counted from 0; {name} is not one of them."
        )
    return device


def make_deterministic() -> None:
    """Same seed, same device, same numbers: deterministic kernels, and float32 that is float32."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    # With those on, PyTorch writes NaN into all memory that it hands out, to find code that reads what nobody wrote:
    # thousands of kernels a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


class Meter:
    """Peak memory and energy between its making and the reading."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._energy = _energy(device)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def peak_memory(self) -> int:
        """Bytes: allocated on the GPU, or resident in this process (over its life)."""
        if self._device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self._device))
        return _peak_resident()

    def energy(self) -> float | None:
        """Joules drawn by the device (all its users), or None where it does not say."""
        now = _energy(self._device)
        return None if now is None or self._energy is None else (now - self._energy) / 1000.0


def _peak_resident() -> int:
    """Bytes that this process had in memory at most; Windows counts them too, and elsewhere."""
    if sys.platform == "win32":
        from psutil import Process

        return int(Process().memory_info().peak_wset)
    import resource

    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def _energy(device: torch.device) -> int | None:
    """Millijoules since the driver was loaded, where NVML reports them."""
    if device.type != "cuda":
        return None
    try:
        import pynvml  # type: ignore[import-untyped, import-not-found, unused-ignore]

        pynvml.nvmlInit()
        uuid = str(torch.cuda.get_device_properties(device).uuid)
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}".encode())
        return int(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle))
    except Exception:
        # No NVML, or no such call on this card, each with an exception of its own: the record then says None.
        return None


def environment(device: torch.device, products: str, *, compiled: bool) -> Environment:
    """What the record says of this machine, and of how it was used."""
    import open_clip

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return Environment(
        clipbench=__version__,
        commit=commit(),
        python=platform.python_version(),
        torch=torch.__version__,
        open_clip=open_clip.__version__,
        platform=platform.platform(),
        device=f"{device.type}: {name}",
        threads=torch.get_num_threads(),
        products=products,
        compiled=compiled,
    )


@cache
def commit() -> str:
    """Commit of the checkout that the code runs from, ``+`` where it has uncommitted changes; else the wheel's own."""
    folder = Path(__file__).resolve().parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=True)  # noqa: S603, S607
        return done.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")) != folder.parent.parent:
            return _built_from()
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ":/clipbench", ":/benchmarks")
        return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return _built_from()


def _built_from() -> str:
    """The commit that the build has written down; ``unknown`` where it was made from none."""
    try:
        made: str = import_module("clipbench.engine._commit").COMMIT
    except ImportError:
        return "unknown"
    return made


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
