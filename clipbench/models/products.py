"""Float32 products of large matrices on a CPU, by oneDNN where it is faster than the library that PyTorch calls.

PyTorch gives them to Intel's MKL, which can be slow on other makers' processors. Its convolutions it gives to oneDNN,
and a convolution with a kernel of 1 x 1 over memory in channels-last order is such a product, without a copy of its
inputs or its result. Which of the two is faster is measured once per processor, version of PyTorch and number of
threads, and kept in the cache folder, so that all runs of a machine compute alike.
"""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode_stack

from clipbench.data.digests import cache_dir
from clipbench.files import partial_name, remove

AUTO, ONEDNN, PYTORCH = "auto", "onednn", "pytorch"
SMALLEST = 256
"""Rows, inputs and outputs from which a product may go to oneDNN; its copy of the weights costs too much below."""
_DILATION = 2
"""Changes nothing for a kernel of 1 x 1, but for PyTorch's choice: on one thread it gives the undilated ones to MKL."""
_SIZE = (512, 768, 1536)
"""Rows, inputs and outputs of the product that is timed: a ViT-B's width, and tokens of ten images of a ViT-B/32."""
_ROUNDS = 6
_MARGIN = 1.3
"""How many times as fast oneDNN must be: a machine's noise should not decide, and calls cost some time of their own."""


class OneDnnProducts(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within it oneDNN takes the large float32 products, in forward and backward passes alike."""

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """See ``TorchDispatchMode``; all but ``a @ b`` and ``bias + a @ b`` is left as it is."""
        found: Tensor | None = None
        if func is torch.ops.aten.mm.default:
            found = onednn_product(args[0], args[1])
        elif func is torch.ops.aten.addmm.default and not kwargs and args[0].dim() == 1:
            found = onednn_product(args[1], args[2], args[0])
        elif func is torch.ops.aten.bmm.default and args[1].stride(0) == 0:
            found = _with_one_matrix(args[0], args[1][0])
        return func(*args, **(kwargs or {})) if found is None else found


def onednn_product(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor | None:
    """``a [N, I] @ b [I, O] + bias [O]``; None where it is small, not in float32, or would need copies."""
    (rows, inputs), outputs = a.shape, b.shape[1]
    if min(rows, inputs, outputs) < SMALLEST or a.dtype != torch.float32 or a.device.type != "cpu":
        return None
    if not a.is_contiguous():
        return None
    pixels = a.view(1, rows, 1, inputs).permute(0, 3, 1, 2)
    if b.mT.is_contiguous():
        out = conv2d(pixels, b.mT[:, :, None, None], bias, dilation=_DILATION)
    elif b.is_contiguous():
        out = conv_transpose2d(pixels, b[:, :, None, None], bias, dilation=_DILATION)
    else:
        return None
    return out.permute(0, 2, 3, 1).reshape(rows, outputs)


def _with_one_matrix(a: Tensor, b: Tensor) -> Tensor | None:
    """``a [L, N, I] @ b [I, O]``: what ``nn.MultiheadAttention`` makes of states ``[N, L, I]`` and frozen weights."""
    swapped = a.transpose(0, 1).is_contiguous()
    rows = a.transpose(0, 1) if swapped else a
    if not rows.is_contiguous():
        return None
    out = onednn_product(rows.flatten(0, 1), b)
    if out is None:
        return None
    out = out.view(*rows.shape[:2], -1)
    return out.transpose(0, 1).contiguous() if swapped else out


@contextmanager
def products(by: str) -> Iterator[None]:
    """Let oneDNN take the large float32 products of the body; anything but ``onednn`` leaves them to PyTorch."""
    if by != ONEDNN:
        yield
        return
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # an operator that holds its products within itself
    try:
        with OneDnnProducts():  # type: ignore[no-untyped-call]
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def products_in_use() -> str:
    """Who takes the large float32 products now."""
    inside = any(isinstance(mode, OneDnnProducts) for mode in _get_current_dispatch_mode_stack())
    return ONEDNN if inside else PYTORCH


def choose_products(asked: str, device: torch.device, model: nn.Module) -> str:
    """Who is to take the large float32 products of a model; ``auto`` asks what is faster on this machine.

    Empty for other devices than a CPU. A model without large matrices is never measured for.
    """
    if device.type != "cpu":
        return ""
    large = any(p.dim() == 2 and min(p.shape) >= SMALLEST for p in model.parameters())
    if asked == AUTO:
        return fastest(torch.get_num_threads()) if large else PYTORCH
    return asked


@cache
def fastest(threads: int) -> str:
    """The faster one with that many threads, as it was found by the first process that asked on such a machine."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return PYTORCH
    machine = f"{_processor()}, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}, {threads} threads"
    path = cache_dir() / "products" / f"{hashlib.sha256(machine.encode()).hexdigest()[:24]}.json"
    if (known := _read(path)) is not None:
        return known
    times = measured()
    found = {"machine": machine, "times_as_fast": round(times, 3), "products": ONEDNN if times >= _MARGIN else PYTORCH}
    mine = path.with_name(partial_name(path.name))
    with suppress(OSError):  # a folder that takes no files costs the next process a measurement
        mine.parent.mkdir(parents=True, exist_ok=True)
        mine.write_text(json.dumps(found), encoding="utf-8")
        with suppress(FileExistsError):
            path.hardlink_to(mine)  # the first of several processes decides for all
    remove(mine)
    return _read(path) or str(found["products"])


def _read(path: Path) -> str | None:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))["products"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return known if known in (ONEDNN, PYTORCH) else None


def _processor() -> str:
    """The processor by Linux's numbers too: a name such as "AMD EPYC" stands for many."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")[0].splitlines()
    except OSError:
        return f"{platform.processor()} {platform.machine()}"
    return " ".join(line.partition(":")[2].strip() for line in lines if line.startswith(("vendor", "cpu fam", "model")))


@torch.no_grad()
def measured() -> float:
    """How many times as fast oneDNN is in a layer's product and its gradient: in the best round, or the median one."""
    generator = torch.Generator().manual_seed(0)
    x, weight, grad = (torch.randn(size, generator=generator) for size in (_SIZE[:2], _SIZE[:0:-1], _SIZE[::2]))
    bias = torch.zeros(len(weight))
    ways: dict[str, Callable[[], object]] = {
        PYTORCH: lambda: (torch.addmm(bias, x, weight.mT), torch.mm(grad, weight)),
        ONEDNN: lambda: (onednn_product(x, weight.mT, bias), onednn_product(grad, weight)),
    }
    seconds: dict[str, list[float]] = {by: [] for by in ways}
    for _ in range(_ROUNDS):
        for by, multiply in ways.items():
            began = time.perf_counter()
            multiply()
            seconds[by].append(time.perf_counter() - began)
    return min(of(seconds[PYTORCH]) / of(seconds[ONEDNN]) for of in (min, median))
