"""The plan's estimates of time and memory against runs: a process per case, random weights, painted images.

    clipbench doctor --speed && python benchmarks/speed/plan.py [--cases 6]

Each case runs one row of CLIP-DoRA's Table 1 on the CPU, cut to few steps, on a folder of class names in place of the
data. The estimate is `clipbench plan --json`'s of the same arguments before the run; measured are the seconds and the
peak memory of the run's record. The report replaces plan.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import open_clip
from PIL import Image
from tabulate import tabulate

CASES = (
    ("clip-lora-1shot", "ViT-B-32-quickgelu", 10, ["--set", "steps_per_shot=10"]),
    ("clip-lora-1shot", "ViT-B-16-quickgelu", 1000, ["--set", "steps_per_shot=1", "--limit", "1"]),
    ("zero-shot", "ViT-B-32-quickgelu", 100, []),
    ("clip-adapter-1shot", "ViT-B-32-quickgelu", 10, ["--epochs", "2"]),
    ("maple-1shot", "ViT-B-16-quickgelu", 10, ["--epochs", "2"]),
    ("coop-4-1shot", "ViT-B-16-quickgelu", 100, ["--epochs", "2"]),
)
"""Row, backbone, classes, and what cuts the training."""
MEMORY, TIME = 0.15, 1.5
"""Limits: share of the measured peak, and factor in time."""
_NUMBERS = ("peak, GB", "estimate, GB", "off by", "seconds", "estimate, s", "factor", "held")
_COLUMNS = ("row", "backbone", "classes", *_NUMBERS)


def main() -> None:
    """Measure the cases one after the other, and write the report after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=len(CASES), help="only the first of them")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    options = parser.parse_args()
    rows = []
    for row, backbone, classes, cut in CASES[: options.cases]:
        with tempfile.TemporaryDirectory() as folder:
            rows.append([row, backbone, classes, *_measured(Path(folder), row, backbone, classes, cut)])
        options.out.write_text(_report(rows), encoding="utf-8")


def _measured(folder: Path, row: str, backbone: str, classes: int, cut: list[str]) -> list[Any]:
    """The numbers of one case, behind its name."""
    names = list(dict.fromkeys(open_clip.IMAGENET_CLASSNAMES))
    for number, name in enumerate(names[:: max(len(names) // classes, 1)][:classes]):
        (folder / "data" / name.replace("/", " ")).mkdir(parents=True)
        for image in range(4):
            colour = (number % 256, number // 256 * 60, image * 60)
            Image.new("RGB", (64, 64), colour).save(folder / "data" / name.replace("/", " ") / f"{image}.png")
    chosen = ["clip-dora/table1", "--only", f"row={row}", "--dataset-dir", str(folder / "data"), "--seeds", "1"]
    chosen += ["--backbone", backbone, "--weights", "random", "--precision", "fp32", "--device", "cpu", *cut]
    chosen += ["--out", str(folder)]
    cost = json.loads(_clipbench("plan", *chosen, "--json"))["cost"]
    _clipbench("run", *chosen)
    found = json.loads(next(folder.glob("results/**/record.json")).read_text(encoding="utf-8"))["cost"]
    memory = cost["peak_memory_bytes"] / found["peak_memory_bytes"] - 1
    factor = cost["seconds"] / found["seconds"]
    held = [abs(memory) <= MEMORY, 1 / TIME <= factor <= TIME]
    words = ", ".join(word for word, holds in zip(("memory", "time"), held, strict=True) if holds) or "neither"
    gigabytes = [value["peak_memory_bytes"] / 1e9 for value in (found, cost)]
    return [*gigabytes, f"{memory:+.0%}", found["seconds"], cost["seconds"], factor, words]


def _clipbench(*arguments: str) -> str:
    command = [sys.executable, "-m", "clipbench", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise SystemExit(f"clipbench {' '.join(arguments)}:\n{done.stderr or done.stdout}")
    return done.stdout


def _report(rows: list[list[Any]]) -> str:
    table = tabulate(rows, _COLUMNS, tablefmt="github", floatfmt=".2f")
    about = f"The last column says what is within {MEMORY:.0%} (memory) and a factor of {TIME} (time)."
    return f"# What `clipbench plan` estimates, and what runs took\n\n{about}\n\n{table}\n"


if __name__ == "__main__":
    main()
