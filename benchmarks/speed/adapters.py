"""How much time and memory adapters cost: ratios, all measured in one run.

    python benchmarks/speed/adapters.py [--device cuda] [--dtype bfloat16] [--threads 1] [--rank 2 8] [--batch 8 1]

The unit is forward + backward of the four projections of one ViT-B/16 attention (width 768, 197 tokens), with a
gradient for the input and for the adapters. All variants run once per round, in an order that turns, and a ratio is the
median over rounds of the ratios within a round: a busy machine slows both sides alike. The report replaces --out
(adapters.md beside this file) and states what it was measured on.
"""

from __future__ import annotations

import argparse
import copy
import platform
import statistics
import sys
import time
import weakref
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import peft
import torch
from tabulate import tabulate
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from clipbench.adapters import KINDS, AdapterConfig, adapt

WIDTH, TOKENS = 768, 197


class Fused(nn.Module):
    """The four projections as open_clip and timm keep them: q, k and v in one matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, N, D]` to `[B, N, D]`; a sum stands for attention, which is the same in all variants."""
        q, k, v = self.qkv(x).chunk(3, -1)
        return self.proj(q + k + v)  # type: ignore[no-any-return]


class Separate(nn.Module):
    """The same four projections apart from each other, as peft needs them."""

    def __init__(self, fused: Fused) -> None:
        super().__init__()
        for i, name in enumerate("qkv"):
            layer = nn.Linear(WIDTH, WIDTH)
            layer.weight.data.copy_(fused.qkv.weight[i * WIDTH : (i + 1) * WIDTH])
            layer.bias.data.copy_(fused.qkv.bias[i * WIDTH : (i + 1) * WIDTH])
            setattr(self, name, layer)
        self.o = copy.deepcopy(fused.proj)

    def forward(self, x: Tensor) -> Tensor:
        """As `Fused.forward`."""
        return self.o(self.q(x) + self.k(x) + self.v(x))  # type: ignore[no-any-return]


class DenseLoRA(nn.Module):
    """The form of CLIP-LoRA's code while it drops: ``x W^T + s x (B A)^T``, through a full d x d product."""

    def __init__(self, layer: nn.Linear, blocks: int, rank: int) -> None:
        super().__init__()
        self.layer = layer
        self.A = nn.Parameter(torch.randn(blocks, rank, WIDTH) / WIDTH**0.5)
        self.B = nn.Parameter(torch.zeros(blocks, WIDTH, rank))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, N, D]` to `[B, N, blocks D]`."""
        return self.layer(x) + 2.0 * (x @ (self.B @ self.A).flatten(0, 1).mT)  # type: ignore[no-any-return]


def _ours(base: Fused, **options: Any) -> nn.Module:
    holder = nn.ModuleDict({"blocks": nn.ModuleList([nn.ModuleDict({"attn": copy.deepcopy(base)})])})
    adapt(holder, AdapterConfig(alpha=2.0 * options["rank"], **options))
    return holder.get_submodule("blocks.0.attn").train()


def _peft(base: Fused, **options: Any) -> nn.Module:
    rank = options.pop("rank")
    config = peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=["q", "k", "v", "o"], **options)
    return peft.get_peft_model(Separate(base), config).train()  # type: ignore[no-any-return]


def _dense(base: Fused, rank: int) -> nn.Module:
    model = copy.deepcopy(base)
    model.qkv, model.proj = DenseLoRA(model.qkv, 3, rank), DenseLoRA(model.proj, 1, rank)  # type: ignore[assignment]
    return model


def variants(rank: int) -> dict[str, nn.Module]:
    """All that is compared, with the same frozen weights."""
    torch.manual_seed(0)
    base = Fused().requires_grad_(False)
    return {
        "frozen": base,
        "LoRA, ours": _ours(base, kind="lora", rank=rank),
        "LoRA, peft": _peft(base, rank=rank),
        "LoRA, dense x (BA)^T": _dense(base, rank),
        "DoRA, ours": _ours(base, kind="dora", rank=rank),
        "DoRA, peft": _peft(base, rank=rank, use_dora=True),
        "LoRA, ours, dropout 0.25": _ours(base, kind="lora", rank=rank, dropout=0.25),
        "LoRA, peft, dropout 0.25": _peft(base, rank=rank, lora_dropout=0.25),
        "DoRA, ours, dropout 0.25": _ours(base, kind="dora", rank=rank, dropout=0.25),
        "DoRA, peft, dropout 0.25": _peft(base, rank=rank, lora_dropout=0.25, use_dora=True),
    }


def kinds() -> dict[str, nn.Module]:
    """Every kind at the rank and scale of its source, and peft's where it has the kind."""
    torch.manual_seed(0)
    base = Fused().requires_grad_(False)
    found: dict[str, nn.Module] = {"frozen": base}
    for kind in KINDS:
        holder = nn.ModuleDict({"blocks": nn.ModuleList([nn.ModuleDict({"attn": copy.deepcopy(base)})])})
        adapt(holder, AdapterConfig(kind))
        found[f"{kind}, rank {KINDS[kind].defaults.rank}"] = holder.get_submodule("blocks.0.attn").train()
    names = ["q", "k", "v", "o"]
    theirs: dict[str, peft.PeftConfig] = {
        "lora, rank 8, peft": peft.LoraConfig(r=8, lora_alpha=16, target_modules=names),
        "dora, rank 8, peft": peft.LoraConfig(r=8, lora_alpha=16, target_modules=names, use_dora=True),
        "vera, rank 256, peft": peft.VeraConfig(r=256, target_modules=names),
        "adalora, rank 3, peft": peft.AdaLoraConfig(
            init_r=3, target_r=2, total_step=10, tinit=1, tfinal=1, target_modules=names
        ),
    }
    return found | {n: peft.get_peft_model(Separate(base), config).train() for n, config in theirs.items()}


def kinds_section(options: argparse.Namespace, batch: int) -> str:
    """The Markdown of all kinds: parameters, time and memory."""
    dtype = None if options.dtype == "float32" else getattr(torch, options.dtype)
    models = {name: model.to(options.device) for name, model in kinds().items()}
    x = torch.randn(batch, TOKENS, WIDTH, device=options.device, requires_grad=True)
    grad = torch.randn(batch, TOKENS, WIDTH, device=options.device)

    def step(model: nn.Module) -> None:
        _step(model, x, grad, dtype)

    memory = {name: temporary_mebibytes(model, step)[1] for name, model in models.items()}
    seconds = measure(models, step, options.rounds, options.device)
    rows = []
    for name, model in models.items():
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        held = sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers())) / 2**20
        times = statistics.median(seconds[name])
        rows.append([name, trained, 1e3 * times, ratio(seconds, name, "frozen"), memory[name], held])
    head = ["kind", "trained", "ms (median)", "x frozen", "peak of temporaries, MiB", "weights and adapters, MiB"]
    table = tabulate(rows, head, tablefmt="github", floatfmt=(".0f", ".0f", ".2f", ".3f", ".1f", ".2f"))
    return f"## Every kind at its source's rank, batch {batch}\n\n{table}\n"


def extra_flops(rank: int) -> float:
    """What LoRA's products must add to the frozen forward and backward-to-input, as a share of those.

    Per projection and row: 4 d^2 frozen, and 12 d r for x A, h B and the gradients of A, B and the input. So 3 r / d.
    """
    return 3 * rank / WIDTH


class _Memory(TorchDispatchMode):
    """Peak of the bytes alive at once, and size of the largest result of d x d or more without a token axis."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.known = {p.untyped_storage().data_ptr() for p in model.parameters()}
        self.largest = self.alive = self.peak = 0
        self.seen: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, Tensor) and tensor.untyped_storage().data_ptr() not in self.known:
                self._count(tensor.untyped_storage())
                dense = tensor.numel() >= WIDTH**2 and not any(size % TOKENS == 0 for size in tensor.shape)
                self.largest = max(self.largest, dense * tensor.numel() * tensor.element_size())
        return out

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage not in self.seen:
            self.seen.add(storage)
            self._change(storage.nbytes())
            weakref.finalize(storage, self._change, -storage.nbytes())

    def _change(self, size: int) -> None:
        self.alive += size
        self.peak = max(self.peak, self.alive)


def _step(model: nn.Module, x: Tensor, grad: Tensor, dtype: torch.dtype | None) -> None:
    with torch.autocast(x.device.type, dtype, enabled=dtype is not None):
        y = model(x)
    y.backward(grad.to(y.dtype))
    x.grad = None
    for parameter in model.parameters():
        parameter.grad = None


def measure(
    models: dict[str, nn.Module], step: Callable[[nn.Module], None], rounds: int, device: str
) -> dict[str, list[float]]:
    """Seconds of every variant in every round; the order turns by one from round to round."""
    seconds: dict[str, list[float]] = {name: [] for name in models}
    names = list(models)
    for turn in range(rounds + 2):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            start = time.perf_counter()
            step(models[name])
            if device == "cuda":
                torch.cuda.synchronize()
            if turn >= 2:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(seconds: dict[str, list[float]], a: str, b: str) -> float:
    """Median over rounds of a / b."""
    return statistics.median(x / y for x, y in zip(seconds[a], seconds[b], strict=True))


def temporary_mebibytes(model: nn.Module, step: Callable[[nn.Module], None]) -> tuple[float, float]:
    """Of one step: the largest d x d temporary (0 if there is none), and the peak of all temporaries together."""
    with _Memory(model) as memory:
        step(model)
    return memory.largest / 2**20, memory.peak / 2**20


def missed(seconds: dict[str, list[float]], rank: int) -> list[str]:
    """The targets that are not met; the page of results does without them."""
    targets = (
        ("LoRA, ours", "frozen", 1.15 + extra_flops(rank)),
        ("LoRA, ours", "LoRA, peft", 1.0),
        ("LoRA, ours", "LoRA, dense x (BA)^T", 1.0),
        ("DoRA, ours", "LoRA, ours", 1.15),
        ("DoRA, ours", "DoRA, peft", 1.0),
        ("LoRA, ours, dropout 0.25", "LoRA, peft, dropout 0.25", 1.0),
        ("DoRA, ours, dropout 0.25", "DoRA, peft, dropout 0.25", 1.0),
    )
    found = [(a, b, ratio(seconds, a, b), limit) for a, b, limit in targets]
    return [f"{a} / {b}: {r:.3f}, not {limit:.3f}" for a, b, r, limit in found if r > limit]


def _processor(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def section(options: argparse.Namespace, rank: int, batch: int) -> tuple[str, list[str]]:
    """The Markdown of one rank and batch size, and the targets missed."""
    dtype = None if options.dtype == "float32" else getattr(torch, options.dtype)
    models = {name: model.to(options.device) for name, model in variants(rank).items()}
    x = torch.randn(batch, TOKENS, WIDTH, device=options.device, requires_grad=True)
    grad = torch.randn(batch, TOKENS, WIDTH, device=options.device)

    def step(model: nn.Module) -> None:
        _step(model, x, grad, dtype)

    memory = {name: temporary_mebibytes(model, step) for name, model in models.items()}
    seconds = measure(models, step, options.rounds, options.device)
    rows = [
        [name, 1e3 * statistics.median(times), ratio(seconds, name, "frozen"), *memory[name]]
        for name, times in seconds.items()
    ]
    head = ["variant", "ms (median)", "x frozen", "largest d x d temporary, MiB", "peak of temporaries, MiB"]
    table = tabulate(rows, head, tablefmt="github", floatfmt=(".0f", ".2f", ".3f", ".2f", ".1f"))
    name = f"rank {rank}, batch {batch}"
    return f"## {name.capitalize()}\n\n{table}\n", [f"{name}: {target}" for target in missed(seconds, rank)]


def main(arguments: list[str]) -> None:
    """Measure, print, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; 1 is least disturbed by other work")
    parser.add_argument("--rank", type=int, nargs="+", default=[2, 8])
    parser.add_argument("--batch", type=int, nargs="+", default=[8, 1])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument(
        "--dtype", default="float32", choices=["float32", "bfloat16", "float16"], help="autocast to this"
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    title = (
        "# Speed of the adapters\n\nForward + backward of the q, k, v and o projections of ViT-B/16 "
        f"(batch x {TOKENS} tokens of width {WIDTH}, {options.dtype}); medians of {options.rounds} interleaved "
        f"rounds. Written by `python benchmarks/speed/adapters.py {' '.join(arguments)}` on "
        f"{datetime.now(UTC):%Y-%m-%d}: {_processor(options.device)}, {options.threads} thread(s), torch "
        f"{torch.__version__}, peft {peft.__version__}.\n"
    )
    sections = [section(options, r, b) for r in options.rank for b in options.batch]
    report = "\n".join([title, kinds_section(options, options.batch[0]), *(text for text, _ in sections)])
    print(report)
    options.out.write_text(report)
    if lacking := [target for _, targets in sections for target in targets]:
        sys.exit("Targets that were missed:\n" + "\n".join(lacking))


if __name__ == "__main__":
    main(sys.argv[1:])
