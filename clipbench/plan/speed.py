"""How fast a device multiplies matrices: measured here once and kept, or what such devices do; and the estimate's unit.

``clipbench doctor --speed`` measures; the file in the cache folder holds one entry per device and precision.
"""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipbench.data.cache import cache_dir
from clipbench.files import beside

if TYPE_CHECKING:
    import torch

NOMINAL: Mapping[tuple[str, str], float] = {
    ("cpu", "fp32"): 1e11,
    ("cpu", "bf16"): 1e11,
    ("cuda", "fp32"): 1.5e13,
    ("cuda", "bf16"): 1.5e14,
    ("cuda", "fp16"): 1.5e14,
    ("mps", "fp32"): 5e12,
    ("mps", "bf16"): 5e12,
    ("mps", "fp16"): 5e12,
}
"""Operations a second where nothing was measured: two cores of a server, about half of an A100's peak, an Apple M2."""

_SIZES = ((788, 768, 3072), (788, 768, 768), (3152, 1024, 4096))
"""Rows, inputs and outputs of products of a ViT-B block (4 images of 197 tokens) and of a ViT-L block (16 images)."""
_FIRST = (50, 768, 768)
"""A small product that comes first: it starts the library, and tells a device that emulates the type."""
_SECONDS = 10.0


@dataclass(frozen=True)
class Rates:
    """Operations a second of a kind of device by precision, and whether they were measured here."""

    device: str
    measured: Mapping[str, float]

    def of(self, precision: str) -> float:
        """The measured rate, or else the nominal one."""
        arithmetic = precision.removesuffix("-weights")
        return self.measured.get(arithmetic) or NOMINAL.get((self.device, arithmetic), 1e11)


def rates(device: str) -> Rates:
    """What is known of a kind of device (``cpu``, ``cuda``, ``mps``); a file that is no such table counts as none."""
    found: Any = None
    try:
        found = json.loads(_file().read_text(encoding="utf-8"))[device]
        return Rates(device, {str(name): float(rate) for name, rate in found.items() if float(rate) > 0})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Rates(device, {})


def calibrate(device: torch.device, seconds: float = _SECONDS) -> Rates:
    """Time products of the sizes of ViT blocks, in float32 and bfloat16, and keep the rates in the cache folder.

    Raises ``UserError`` where the folder cannot be written.
    """
    import torch

    from clipbench.models.products import PYTORCH, fastest, products

    kinds = {"fp32": torch.float32, "bf16": torch.bfloat16}
    if device.type == "cuda":
        kinds["fp16"] = torch.float16
    share = seconds / len(kinds)
    with products(fastest(torch.get_num_threads()) if device.type == "cpu" else PYTORCH):
        found = {name: _rate(device, dtype, share) for name, dtype in kinds.items()}
    path = _file()
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        kept = {}
    kept = (kept if isinstance(kept, dict) else {}) | {device.type: found}
    with beside(path) as partial:
        partial.write_text(json.dumps(kept, indent=1), encoding="utf-8")
    return Rates(device.type, found)


def _rate(device: torch.device, dtype: torch.dtype, seconds: float) -> float:
    """Operations a second over all sizes in turn; a product that would not end in time (emulated bf16) is left out."""
    import torch

    def timed(rows: int, inputs: int, outputs: int) -> tuple[float, float]:
        a, b = torch.randn(rows, inputs).to(device, dtype), torch.randn(inputs, outputs).to(device, dtype)
        start = time.perf_counter()
        (a @ b).flatten()[0].item()  # waits for a GPU
        return 2.0 * rows * inputs * outputs, time.perf_counter() - start

    began = time.perf_counter()
    first, took = timed(*_FIRST)
    rate, done, spent = first / took, 0.0, 0.0
    for size in itertools.cycle(_SIZES):
        if time.perf_counter() - began + 2.0 * math.prod(size) / rate > seconds:
            return rate
        operations, took = timed(*size)
        done, spent = done + operations, spent + took
        rate = done / spent
    raise AssertionError("a cycle does not end")


def _file() -> Path:
    return cache_dir() / "speed.json"
