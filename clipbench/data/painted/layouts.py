"""The genuine layouts on disk: what each data set's folder holds, by the layout of its catalogue entry."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import PurePosixPath as Path
from typing import Any, TypeAlias

from PIL import Image

from clipbench.data.painted.lesions import Case, prompts
from clipbench.data.painted.subset import Subset

Files: TypeAlias = Iterator[tuple[Path, Image.Image | str]]
"""Paths below the data set's folder, each with the picture or the text that it holds."""


def files_of(subset: Subset) -> Files:
    """Everything that belongs into a subset's folder; pictures are painted as they are asked for."""
    inside = Path(*Path(subset.entry.folders[0]).parts[1:])
    for path, content in _WRITERS[subset.entry.layout](subset):
        yield inside / path, content


def _picture(subset: Subset, name: str, index: int, domain: str = "") -> Image.Image:
    return Image.fromarray(subset.paint(name, index, domain))


def _suffix(subset: Subset) -> str:
    return "." + subset.entry.format[:3]


def _class_folders(subset: Subset) -> Files:
    for name in subset.classes:
        for index in range(subset.images_per_class):
            yield Path(name, f"{name.lower()}_{index + 1:03d}{_suffix(subset)}"), _picture(subset, name, index)


def _coop_split(subset: Subset) -> Files:
    reading = subset.entry.layout_options
    folders = {name: folder for folder, name in reading.get("names", {}).items()}
    split: dict[str, list[tuple[str, int, str]]] = {part: [] for part in subset.split}
    for label, name in enumerate(subset.classes):
        for part, numbers in subset.members(name).items():
            for index in numbers:
                file = f"{folders.get(name, name)}/image_{index + 1:04d}.jpg"
                split[part].append((file, label, name))
                yield Path(reading["images"][0], file), _picture(subset, name, index)
    yield Path(reading["split_file"]), json.dumps(split)


def _fgvc_lists(subset: Subset) -> Files:
    lines: dict[str, list[str]] = {part: [] for part in subset.split}
    for label, name in enumerate(subset.classes):
        for part, numbers in subset.members(name).items():
            for index in numbers:
                # Neither class nor part shows in the number: multiples of a prime, modulo another.
                digits = f"{(label * 1000 + index + 1) * 7919 % 1_000_003:07d}"
                lines[part].append(f"{digits} {name}")
                yield Path("images", f"{digits}.jpg"), _picture(subset, name, index)
    yield Path("variants.txt"), _text(subset.classes)
    for part, listed in lines.items():
        yield Path(f"images_variant_{part}.txt"), _text(listed)


def _imagenet_folders(subset: Subset) -> Files:
    ids = {name: f"n{label + 1:08d}" for label, name in enumerate(subset.classes)}
    yield Path("classnames.txt"), "".join(f"{wnid} {name}\r\n" for name, wnid in ids.items())
    for label, (name, wnid) in enumerate(ids.items()):
        members = subset.members(name)
        for index in members["train"]:
            yield Path("train", wnid, f"{wnid}_{index + 1}.JPEG"), _picture(subset, name, index)
        for index in members["test"]:
            file = f"ILSVRC2012_val_{label * 1000 + index + 1:08d}.JPEG"
            yield Path("val", wnid, file), _picture(subset, name, index)


def _kfold_lists(subset: Subset) -> Files:
    lists = {"train": ("train", "test"), "val": ("crossval", "test")}  # the official test lists hold everything
    for domain in subset.domains:
        lines: dict[str, list[str]] = {"train": [], "crossval": [], "test": []}
        for part, label, name, index in _in_domain(subset, domain):
            file = f"{domain}/{name}/pic_{index + 1:03d}{'.png' if domain == 'sketch' else '.jpg'}"
            for kind in lists[part]:
                lines[kind].append(f"{file} {label + 1}")
            yield Path("images", file), _picture(subset, name, index, domain)
        for kind, listed in lines.items():
            yield Path("splits", f"{domain}_{kind}_kfold.txt"), _text(listed)


def _domain_folders(subset: Subset) -> Files:
    for domain in subset.domains:
        for part, _, name, index in _in_domain(subset, domain):
            yield Path(domain, part, name, f"{index + 1:05d}.jpg"), _picture(subset, name, index, domain)


def _domainnet_lists(subset: Subset) -> Files:
    for domain in subset.domains:
        lines: dict[str, list[str]] = {part: [] for part in subset.split}
        for part, label, name, index in _in_domain(subset, domain):
            file = f"{domain}/{name}/{domain}_{label + 1:03d}_{index + 1:06d}.jpg"
            lines[part].append(f"{file} {label}")
            yield Path(file), _picture(subset, name, index, domain)
        for part, listed in lines.items():
            yield Path("splits_mini", f"{domain}_{part}.txt"), _text(listed)


def _in_domain(subset: Subset, domain: str) -> Iterator[tuple[str, int, str, int]]:
    """Part, label, class and number of every image of a domain."""
    for label, name in enumerate(subset.classes):
        for part, numbers in subset.members(name, domain).items():
            for index in numbers:
                yield part, label, name, index


def _masked(subset: Subset) -> Files:
    annotations: dict[str, list[Mapping[str, Any]]] = {part: [] for part in subset.split}
    write = _as_unpacked if "rename" in subset.entry.layout_options else _side_by_side
    for kind_name, kind in subset.kinds.items():
        for part, numbers in subset.members(kind_name).items():
            for index in numbers:
                name = subset.file_name.format(index + 1, kind_name)
                lesion = subset.case(kind_name, index)
                files = {"img_name": name + _suffix(subset), "mask_name": name + subset.mask_suffix}
                annotations[part].append({**files, "cat": 0, "prompts": prompts(lesion, kind)})
                yield from write(subset, name, lesion)
    for part, items in annotations.items():
        yield Path("anns", f"{part}.json"), json.dumps(items)


def _side_by_side(subset: Subset, name: str, lesion: Case) -> Files:
    """Medvlsm's folders."""
    yield Path("images", name + _suffix(subset)), Image.fromarray(lesion.picture)
    yield Path("masks", name + subset.mask_suffix), Image.fromarray(lesion.mask)


def _as_unpacked(subset: Subset, name: str, lesion: Case) -> Files:
    """BUSI's archive: `3_benign` is `benign/benign (3)`, with a mask for each lesion or an empty one beside it."""
    pattern, replacement = subset.entry.layout_options["rename"]
    stem = re.sub(pattern, replacement, name)
    folder = Path("Dataset_BUSI_with_GT", stem.split(" ")[0])
    yield folder / f"{stem}{_suffix(subset)}", Image.fromarray(lesion.picture)
    for number, mask in enumerate(lesion.masks or [lesion.mask]):
        yield folder / f"{stem}_mask{f'_{number}' if number else ''}{subset.mask_suffix}", Image.fromarray(mask)


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


_WRITERS: Mapping[str, Callable[[Subset], Files]] = {
    "class-folders": _class_folders,
    "coop-split": _coop_split,
    "fgvc-lists": _fgvc_lists,
    "imagenet-folders": _imagenet_folders,
    "kfold-lists": _kfold_lists,
    "domain-folders": _domain_folders,
    "domainnet-lists": _domainnet_lists,
    "masked": _masked,
}
