"""The data sets' own label files, read into (image, label, class name), with CoOp's fixes of the class names.

Each reader takes the data set's folder and raises ``NotHereError`` where its files are not in it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, TypeAlias

from clipbench.data.layouts.listing import first_file, lines_of, text_of
from clipbench.errors import UserError

Item: TypeAlias = tuple[str, int, str]
"""An image, relative to the folder of images; its label; its class name."""


class NotHereError(Exception):
    """The files that a rule needs are not in this folder."""


def flowers(folder: Path) -> list[Item]:
    """``imagelabels.mat`` numbers the images' classes from 1, ``cat_to_name.json`` names them."""
    labels = _matlab(_file(folder, "imagelabels.mat"))["labels"][0]
    names = json.loads(text_of(_file(folder, "cat_to_name.json")))
    return [(f"image_{i:05d}.jpg", int(n) - 1, str(names[str(int(n))])) for i, n in enumerate(labels, start=1)]


def pets(folder: Path) -> tuple[list[Item], list[Item]]:
    """Lines ``Abyssinian_100 1 1 1``: image and label from 1; the breed is the image's name without its number."""

    def items(name: str) -> list[Item]:
        rows = [line.split() for line in _rows(_file(folder, f"annotations/{name}"))]
        return [(f"{row[0]}.jpg", int(row[1]) - 1, row[0].rpartition("_")[0].lower()) for row in rows]

    return items("trainval.txt"), items("test.txt")


def cars(folder: Path) -> tuple[list[Item], list[Item]]:
    """MATLAB records of file name and class from 1; the year at a name's end moves to its front."""
    names = [str(name[0]) for name in _matlab(_file(folder, "devkit/cars_meta.mat"))["class_names"][0]]

    def items(part: str, file: str) -> list[Item]:
        rows = [
            (str(row["fname"][0]), int(row["class"][0, 0]) - 1)
            for row in _matlab(_file(folder, file))["annotations"][0]
        ]
        return [(f"{part}/{name}", label, year_first(names[label])) for name, label in rows]

    return items("cars_train", "devkit/cars_train_annos.mat"), items("cars_test", "cars_test_annos_withlabels.mat")


def sun(folder: Path) -> tuple[list[Item], list[Item]]:
    """Lines ``/a/abbey/sun_aaa.jpg``; a class is numbered by its line in ``ClassName.txt``."""
    labels = {name.lstrip("/"): label for label, name in enumerate(_rows(_file(folder, "ClassName.txt")))}

    def items(name: str) -> list[Item]:
        files = [line.lstrip("/") for line in _rows(_file(folder, name))]
        return [(file, labels[file.rpartition("/")[0]], place_name(file.rpartition("/")[0])) for file in files]

    return items("Training_01.txt"), items("Testing_01.txt")


def ucf(folder: Path) -> tuple[list[Item], list[Item]]:
    """Lines ``ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1``; the image is the clip's middle frame."""
    rows = [line.split() for line in _rows(_file(folder, "ucfTrainTestlist/classInd.txt"))]
    labels = {name: int(number) - 1 for number, name in rows}

    def items(name: str) -> list[Item]:
        clips = [line.split()[0].split("/") for line in _rows(_file(folder, f"ucfTrainTestlist/{name}"))]
        return [(f"{action(a)}/{Path(clip).stem}.jpg", labels[a], action(a)) for a, clip in clips]

    return items("trainlist01.txt"), items("testlist01.txt")


def year_first(name: str) -> str:
    """``Audi TTS Coupe 2012`` becomes ``2012 Audi TTS Coupe``."""
    words, _, year = name.rpartition(" ")
    return f"{year} {words}"


def place_name(folder: str) -> str:
    """``a/apartment_building/outdoor`` becomes ``outdoor apartment_building``."""
    return " ".join(reversed(folder.split("/")[1:]))


def action(name: str) -> str:
    """``ApplyEyeMakeup`` becomes ``Apply_Eye_Makeup``."""
    return "_".join(re.findall("[A-Z][^A-Z]*", name))


def _file(folder: Path, name: str) -> Path:
    """The file, in the folder itself or (``devkit/x`` may lie as ``x``) without its own folder."""
    path = first_file([folder, folder.parent], [name, Path(name).name])
    if path is None:
        raise NotHereError
    return path


def _rows(path: Path) -> list[str]:
    """The file's lines, without empty ones and comments."""
    return [line for line in lines_of(path) if line and not line.startswith("#")]


def _matlab(path: Path) -> dict[str, Any]:
    from scipy.io import loadmat  # half a second, and needed by two rules only

    try:
        content: dict[str, Any] = loadmat(path)
    except Exception as error:  # of a file that is none: IndexError, zlib.error, whatever SciPy meets first
        raise UserError(f"{path} cannot be read as a MATLAB file ({error}). Download it again.") from error
    return content
