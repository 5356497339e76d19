"""What ``clipbench run`` says of a user's own folder and methods: before the runs, and of what to do next."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from clipbench.data.images import ImageSet
from clipbench.data.splits import shortage, split
from clipbench.data.user import UserData, left_out
from clipbench.plan.select import Plan, source_of
from clipbench.registry import Protocol, find


def about_own(plan: Plan, own: Mapping[str, UserData]) -> list[str]:
    """Of each own folder, its classes and images as they are cut, what is not read, and which classes are short.

    Raises ``UserError`` where a folder is no data set.
    """
    protocols = [planned.run.protocol for planned in plan.runs]
    return [line for name, data in own.items() for line in _about(data, [p for p in protocols if p.dataset == name])]


def _about(data: UserData, protocols: Sequence[Protocol]) -> list[str]:
    images, folder = data.images, data.folder
    parts = [f"{folder.name}: {images.rebuilt}"] if data.has_parts else []
    lines = [f"{folder.name}: {len(images.classes)} classes; {sizes}" for sizes in _sizes(images, protocols)]
    if all(name.isdecimal() for name in images.prompt_names):
        lines.append(
            f"{folder.name}: its class names are numbers, and prompts with {images.prompt_names[0]!r} say little"
        )
    if passed_over := left_out(data):
        lines.append(f"not read in {folder.name}: {passed_over}")
    draws = sorted({(p.need("shots"), p.need("split_rule")) for p in protocols if p.shots})
    return [*parts, *lines, *(line for shots, rule in draws if (line := shortage(images, rule, shots)))]


def _sizes(images: ImageSet, protocols: Sequence[Protocol]) -> list[str]:
    """The images that shots are drawn from; where a table cuts by fraction, those of its own cut."""
    fractions = {p.train_fraction: p for p in protocols if p.split_rule == "stratified-fraction"}
    sizes = []
    if not fractions or any(p.split_rule != "stratified-fraction" for p in protocols):
        parts = " / ".join(str(images.parts.count(part)) for part in ("train", "val", "test"))
        sizes.append(f"{parts} train / val / test images")
    for protocol in fractions.values():
        cut = split(images, protocol, 0)
        sizes.append(f"{len(cut.train)} / {len(cut.test)} train / test images")
    return sizes


def about_unfit(names: Sequence[str], *, own_data: bool) -> list[str]:
    """Which experiments of the selection are passed over, in one line; none where all take what is added."""
    reason = "a folder of class folders" if own_data else "a method of your own"
    return [f"passed over, for they have no row for {reason}: {', '.join(names)}"] if names else []


def next_command(arguments: argparse.Namespace) -> str:
    """How to see the numbers again: beside the printed ones, or on the user's own data, of which nothing is printed."""
    words = [str(word) for word in arguments.tables]
    named = [] if arguments.dataset_dir else find(words)
    if named and all(table.panels for _, table in named):  # a figure prints no numbers; the table of its runs does
        words = list(dict.fromkeys(source_of(paper, table).id for paper, table in named))
    if arguments.dataset_dir is not None:
        words += ["--dataset-dir", str(arguments.dataset_dir), *(["--smoke"] if arguments.smoke else [])]
        words += ["--split-file", str(arguments.split_file)] if arguments.split_file else []
    words += [word for name in arguments.method for word in ("--method", name)]
    words += [] if arguments.out == Path() else ["--out", str(arguments.out)]
    if arguments.dataset_dir is not None:
        return f"The table again: {shlex.join(['clipbench', 'table', *words])}"
    return f"Beside the printed numbers: {shlex.join(['clipbench', 'compare', '--paper', *words])}"
