"""Few-shot training steps: clipbench against the plain form of CLIP-LoRA's loop (plain_clip_lora.py), in one run.

    python benchmarks/speed/few_shot.py [--classes 10 100 1000] [--shapes ViT-B-32 ViT-B-16] [--rounds 3]
        [--threads 1] [--device cuda] [--dtype float16]

A step is forward, backward and AdamW on 32 images of 224 px and all prompts: LoRA of rank 2 on q, k and v of both
towers, dropout 0.25, random weights. Each side is a process of its own, which takes its steps in turn with the other; a
ratio is the median over rounds of the ratios within a round. On one CPU thread, CPU time is what counts. Peak memory is
that of the process (on a GPU: of the tensors). The report replaces --out (few_shot.md beside this file).
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, cast

import open_clip
import torch
from plain_clip_lora import DROPOUT, RANK, PlainClipLora
from plain_methods import WORK, PlainMethod
from tabulate import tabulate
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from clipbench.engine.device import make_deterministic
from clipbench.engine.heap import keep_freed_memory
from clipbench.methods import method
from clipbench.methods.base import Setting, Support
from clipbench.models.image_text import load_image_text
from clipbench.models.products import ONEDNN, PYTORCH, fastest, measured, products
from clipbench.registry import Cell, Overrides, Protocol, load_papers, resolve

BATCH = 32
"""Images per step."""
_READY = "ready"
LORA = "clip-lora"
TARGETS = {("ViT-B-32", 10): 1.5, ("ViT-B-32", 100): 2.5, ("ViT-B-32", 1000): 5.0}
TARGETS |= {("ViT-B-16", 10): 1.2, ("ViT-B-16", 100): 1.6, ("ViT-B-16", 1000): 3.5}


def names(count: int) -> list[str]:
    """Class names of ImageNet, evenly out of the thousand, so that prompts are as long as real ones."""
    return list(open_clip.IMAGENET_CLASSNAMES)[:: 1000 // count][:count]


# The two sides, each in a process of its own


class Side:
    """One model and its optimiser; ``step`` is one training step on images of ``replicas`` seeds."""

    def __init__(self, options: argparse.Namespace, classes: int, replicas: int) -> None:
        self.device, self.replicas, self.method = torch.device(options.device), replicas, options.method
        self.classes = min(classes, options.whole) if options.work == "plain" else classes
        self.rest = classes / self.classes - 1.0
        self.dtype = None if options.dtype == "float32" else getattr(torch, options.dtype)
        self.model, self.losses = self.build(f"{options.shape}-quickgelu")
        self.model.to(self.device).train()
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(trained, lr=2e-4, weight_decay=0.01)

    def build(self, shape: str) -> tuple[nn.Module, Callable[[Tensor, Tensor], Tensor]]:
        """The model, and its losses from images and labels ``[R, B]``."""
        raise NotImplementedError

    def step(self) -> dict[str, float]:
        """Seconds of one step."""
        batch = min(BATCH, protocol_of(self.method, "ViT-B-32").need("batch_size"))
        images = torch.randn(self.replicas * batch, 3, 224, 224, device=self.device)
        labels = torch.randint(self.classes, (self.replicas, batch), device=self.device)
        began = self.now()
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None):
            losses = self.losses(images, labels)
        self.optimiser.zero_grad(set_to_none=True)
        for number, loss in enumerate(losses):
            torch.autograd.backward(loss, retain_graph=number + 1 < len(losses))
        self.optimiser.step()
        return {"seconds": self.now() - began}

    def now(self) -> float:
        """The time once the device is done; of one CPU thread the time that it was given, whatever else runs."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return (
            time.process_time() if self.device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter()
        )

    def peak(self) -> float:
        """Peak memory so far, GiB."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated() / 2**30
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def protocol_of(row: str, shape: str) -> Protocol:
    """The protocol of a row of CLIP-DoRA's Table 1 at four shots on ImageNet, with random weights, in float32."""
    (paper,) = [p for p in load_papers() if p.id == "clip-dora"]
    table = paper.tables["table1"]
    cell = Cell(table.row(f"{row}-4shot"), table.column("imagenet"))
    fields = {"backbone": shape, "weights": "random", "precision": "fp32"}
    return resolve(paper, table, cell, Overrides(fields=fields)).protocol


class Ours(Side):
    """clipbench's method as the task sets it up; support images are random features."""

    def build(self, shape: str) -> tuple[nn.Module, Callable[[Tensor, Tensor], Tensor]]:
        """See the class."""
        protocol, classes = protocol_of(self.method, shape), names(self.classes)
        model = load_image_text(shape, "random")
        template = "a photo of a {}." if protocol.template == "dataset" else protocol.need("template")
        seeds = tuple(range(self.replicas))

        def support(part: str, view: str, repeats: int) -> Support:  # noqa: ARG001
            count = 4 * self.classes
            labels = torch.arange(count).remainder(self.classes).repeat(repeats).expand(self.replicas, -1)
            return Support(labels, torch.randn(self.replicas, repeats * count, model.width))

        made = method(protocol.need("method"))
        made.setup(Setting(model, classes, template, protocol, seeds, self.device, None, 100, 10, _support=support))
        made.new_stage(made.stages - 1)
        made.start_epoch(0, seeds)
        both = nn.ModuleList([model.module, made])
        return both, lambda images, labels: self._summed(made.losses(made.image_features(images), labels))

    def _summed(self, losses: Tensor) -> Tensor:
        """``[K]`` of ``[K, R]`` or ``[R]``."""
        return losses.view(-1, self.replicas).sum(dim=1)


class Plain(Side):
    """The plain form; of more than `--whole` prompts it takes so many per step, the rest of the text tower apart."""

    def build(self, shape: str) -> tuple[nn.Module, Callable[[Tensor, Tensor], Tensor]]:
        """See the class."""
        clip = open_clip.create_model(shape, pretrained=None)
        if self.method != LORA:
            made = PlainMethod(clip, names(self.classes), WORK[self.method])
            return made, lambda images, labels: made.losses(images, labels[0])
        plain = PlainClipLora(clip, names(self.classes))
        return plain, lambda images, labels: cross_entropy(plain(images).float(), labels[0])[None]

    def step(self) -> dict[str, float]:
        """One step, and the prompts beyond `--whole` in as many rounds of the text tower, timed once."""
        found = super().step()
        if not self.rest or self.method != LORA:
            return found
        began = self.now()
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None):
            features = self.model.text()  # type: ignore[operator]
        features.backward(torch.randn_like(features))
        return {"seconds": found["seconds"] + self.rest * (self.now() - began)}


def work(options: argparse.Namespace) -> None:
    """A side's process: one step for every line that comes in."""
    logging.disable(logging.WARNING)  # random weights are meant here
    torch.set_num_threads(options.threads)
    make_deterministic()
    keep_freed_memory()  # for both sides: what is compared is arithmetic
    kind = {"ours": Ours, "plain": Plain}[options.work]
    side = kind(options, options.classes[0], options.replicas)
    with products(options.products):
        side.step()  # the first one also asks the system for its memory
        print(_READY, flush=True)
        for _ in sys.stdin:
            print(json.dumps(side.step() | {"peak": side.peak()}), flush=True)


# The comparison


class Worker:
    """A side's process, seen from outside."""

    def __init__(
        self,
        options: argparse.Namespace,
        side: str,
        shape: str,
        classes: int,
        replicas: int = 1,
        method: str = LORA,
        by: str = PYTORCH,
    ) -> None:
        words = ["--work", side, "--shapes", shape, "--classes", classes, "--replicas", replicas, "--method", method]
        words += [
            "--threads",
            options.threads,
            "--device",
            options.device,
            "--dtype",
            options.dtype,
            "--whole",
            options.whole,
            "--products",
            by,
        ]
        command = [sys.executable, __file__, *map(str, words)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603
        self.seconds, self.peak = list[float](), 0.0

    def ready(self) -> None:
        """Wait until the model stands: one side's start would slow the other's first step."""
        if cast("IO[str]", self.process.stdout).readline().strip() != _READY:
            raise SystemExit("a side's process ended early; its message stands above")

    def step(self) -> None:
        """Take one step and note what it cost."""
        talk, answers = cast("IO[str]", self.process.stdin), cast("IO[str]", self.process.stdout)
        talk.write("\n")
        talk.flush()
        line = answers.readline()
        if not line:
            raise SystemExit("a side's process ended early; its message stands above")
        found = json.loads(line)
        self.seconds.append(found["seconds"])
        self.peak = found["peak"]

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


def pair(first: Worker, second: Worker, rounds: int) -> float:
    """Both sides in turn; the median over rounds of second / first."""
    for worker in (first, second):
        worker.ready()
    for turn in range(rounds):
        for worker in (first, second) if turn % 2 == 0 else (second, first):
            worker.step()
    for worker in (first, second):
        worker.close()
    return statistics.median(b / a for a, b in zip(first.seconds, second.seconds, strict=True))


def compared(options: argparse.Namespace, shape: str, classes: int) -> list[str]:
    """One line: both sides, their ratio, and memory."""
    ours, plain = Worker(options, "ours", shape, classes), Worker(options, "plain", shape, classes)
    ratio = pair(ours, plain, options.rounds)
    whole = "" if classes <= options.whole else f" ({options.whole} prompts)"
    line = [
        shape,
        str(classes),
        *(f"{statistics.median(w.seconds):.2f}" for w in (ours, plain)),
        f"{ratio:.2f} x",
    ]
    print(line, file=sys.stderr, flush=True)
    return [*line, f"{ours.peak:.2f}", f"{plain.peak:.2f}{whole}"]


def replicas(options: argparse.Namespace, shape: str, classes: int, count: int) -> list[str]:
    """Several seeds in one pass against as many runs one after the other."""
    together, alone = Worker(options, "ours", shape, classes, count), Worker(options, "ours", shape, classes)
    ratio = count * pair(together, alone, options.rounds)
    line = [shape, str(classes), *(f"{statistics.median(w.seconds):.2f}" for w in (together, alone))]
    return [*line, f"{1 / ratio:.2f}", f"{together.peak:.2f}", f"{alone.peak:.2f}"]


def of_methods(options: argparse.Namespace) -> list[list[str]]:
    """A line for each published method: a training step of ours against its plain form."""
    rows, shape, classes = [], options.shapes[0], options.method_classes
    for name in options.methods if classes else ():
        ours, plain = (Worker(options, side, shape, classes, method=name) for side in ("ours", "plain"))
        ratio = pair(ours, plain, options.rounds)
        seconds = [f"{statistics.median(w.seconds):.2f}" for w in (ours, plain)]
        rows.append([name, *seconds, f"{ratio:.2f} x", f"{ours.peak:.2f}", f"{plain.peak:.2f}"])
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def of_products(options: argparse.Namespace) -> str:
    """A step whose large float32 products oneDNN takes, against the same step with PyTorch's, as Markdown."""
    rows, classes = [], options.product_classes
    for shape in options.shapes if classes else ():
        sides = [Worker(options, "ours", shape, classes, by=by) for by in (ONEDNN, PYTORCH)]
        ratio = pair(sides[0], sides[1], options.rounds)
        rows.append([shape, str(classes), *(f"{statistics.median(w.seconds):.2f}" for w in sides), f"{ratio:.2f} x"])
        print(rows[-1], file=sys.stderr, flush=True)
    if not rows:
        return ""
    torch.set_num_threads(options.threads)
    head = ["shape", "classes", "oneDNN, s", "PyTorch's library, s", "PyTorch's / oneDNN"]
    table = tabulate(rows, head, tablefmt="github", disable_numparse=True)
    about = (
        f"The same step with its large float32 products by oneDNN (`--products onednn`) and by the library that "
        f"PyTorch calls; medians of {options.rounds} rounds in turn, {options.threads} thread(s), "
        f"{processor(options.device)} with {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}, "
        f"{datetime.now(UTC):%Y-%m-%d}, load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores. The "
        f"measurement that `--products auto` goes by found oneDNN {measured():.2f} times as fast just now, and keeps "
        f"to `{fastest(options.threads)}` on this machine."
    )
    return f"\n## Large products by oneDNN\n\n{about}\n\n{table}\n"


def processor(device: str) -> str:
    """What it was measured on."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def missed(rows: list[list[str]]) -> list[str]:
    """The targets that are not met; the page of results does without them."""
    found = [(row[0], row[1], float(row[4].split()[0])) for row in rows]
    due = [(shape, classes, ratio, TARGETS.get((shape, int(classes)), 0.0)) for shape, classes, ratio in found]
    return [f"{shape}, {classes} classes: {r:.2f} x, not {least} x" for shape, classes, r, least in due if r < least]


def report(options: argparse.Namespace, arguments: list[str]) -> tuple[str, list[str]]:
    """Measure everything: the Markdown, and the targets missed."""
    rows = [compared(options, shape, classes) for shape in options.shapes for classes in options.classes]
    head = ["shape", "classes", "clipbench, s", "plain, s", "plain / clipbench", "peak GiB", "plain: peak GiB"]
    table = tabulate(rows, head, tablefmt="github", disable_numparse=True)
    seeds = [replicas(options, options.shapes[0], options.classes[0], options.seeds)] if options.seeds > 1 else []
    head = [
        "shape",
        "classes",
        "all seeds in one pass, s",
        "1 seed, s",
        "one pass / one run each",
        "peak GiB",
        "1 seed: GiB",
    ]
    passes = tabulate(seeds, head, tablefmt="github", disable_numparse=True)
    about = (
        f"Seconds of one training step ({BATCH} images of 224 px per seed, LoRA r = {RANK} on q, k, v of both towers, "
        f"dropout {DROPOUT}, random weights, {options.dtype}); medians of {options.rounds} rounds in turn. Written by "
        f"`python benchmarks/speed/few_shot.py {' '.join(arguments)}` on {datetime.now(UTC):%Y-%m-%d}: "
        f"{processor(options.device)}, {options.threads} thread(s), torch {torch.__version__}. With one thread "
        f"the seconds are CPU time, which other work on the machine disturbs least; otherwise they are wall time."
    )
    most = options.whole
    beyond = (
        f"The plain form keeps the activations of 77 tokens per prompt, which for a thousand prompts do not fit into "
        f"the memory of most machines. With more than {most} classes its step is measured with {most} prompts, and its "
        f"text tower's forward and backward pass over {most} prompts is added for each further {most}: the arithmetic "
        f"of the whole step, without what running out of memory would cost. clipbench runs the whole step, so that the "
        f"two memories can be compared up to {most} classes only: the plain form's grows by each further prompt. On a "
        f"CPU both sides keep what they free (clipbench.engine.heap): faster, and a few percent more memory."
    )
    lacking = missed(rows)
    rows = of_methods(options)
    head = ["row of Table 1", "clipbench, s", "plain, s", "plain / clipbench", "peak GiB", "plain: peak GiB"]
    every = tabulate(rows, head, tablefmt="github", disable_numparse=True)
    said = (
        f"{options.shapes[0]}, {options.method_classes} classes of ImageNet, the method's batch but at most {BATCH} "
        f"images, plain form as in plain_methods.py. Tip-Adapter-F and TaskRes train on features of fresh crops: a "
        f"step is one pass of the frozen image tower on either side; seeds that train together share the text features."
    )
    methods = f"\n## A step of each published method\n\n{said}\n\n{every}\n" if rows else ""
    several = f"\n## Several seeds in one pass\n\n{passes}\n" if seeds else ""
    by_onednn = of_products(options)
    return f"# Speed of few-shot training\n\n{about}\n\n{table}\n\n{beyond}\n{several}{methods}{by_onednn}", lacking


def main(arguments: list[str]) -> None:
    """Measure, print, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, nargs="*", default=[10, 100, 1000])
    parser.add_argument("--shapes", nargs="+", default=["ViT-B-32", "ViT-B-16"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--whole", type=int, default=100, help="prompts that the plain form's memory is to hold")
    parser.add_argument("--seeds", type=int, default=3, help="seeds in one pass; 1 leaves that part out")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; 1 is least disturbed by other work")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"], help="autocast to it")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    parser.add_argument("--work", choices=["ours", "plain"], help=argparse.SUPPRESS)
    parser.add_argument("--method-classes", type=int, default=100, help="classes of each method's row; 0 leaves it out")
    parser.add_argument("--methods", nargs="+", default=list(WORK), choices=list(WORK), help="rows of them")
    parser.add_argument("--product-classes", type=int, default=10, help="classes of the rows on oneDNN; 0: none")
    parser.add_argument("--products", default=PYTORCH, help=argparse.SUPPRESS)
    parser.add_argument("--method", default=LORA, help=argparse.SUPPRESS)
    parser.add_argument("--replicas", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.work:
        options.shape = options.shapes[0]
        work(options)
        return
    text, lacking = report(options, arguments)
    print(text)
    options.out.write_text(text)
    if lacking:
        sys.exit("Targets that were missed:\n" + "\n".join(lacking))


if __name__ == "__main__":
    main(sys.argv[1:])
