"""Weights of the user's own: a file of tensors read without pickle's dangers, and one sentence when it does not fit."""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clipbench.data.download.transfer import looks_like_a_page
from clipbench.errors import MissingWeightsError, UserError

_CONTAINERS = ("state_dict", "model")
"""Keys under which training scripts put the tensors, beside their optimiser and arguments."""

_POINTER = b"version https://git-lfs"


def load_file_into(module: nn.Module, path: Path, name: str, prefixes: Sequence[str] = ("module.",)) -> None:
    """Fill ``module`` strictly from a safetensors or torch file; a classification head (``head.*``) is dropped.

    ``prefixes`` are wrappers' prefixes that every key of the file may carry. Raises ``MissingWeightsError`` with the
    first fault: no such file, no file of tensors, keys or shapes that are not those of ``name``.
    """
    check_file(path)
    try:
        tensors = _without_prefix(read_tensors(path), prefixes)
        check_finite(tensors)
        body = {key: value.float() for key, value in tensors.items() if not key.startswith("head.")}
        module.load_state_dict(body, strict=True)
    except Exception as error:
        raise MissingWeightsError(
            f"the weights file {path} does not hold a {name}: {fault(error)}. "
            f"Check that it is whole and that --backbone names its architecture."
        ) from error


def check_file(path: Path) -> None:
    """Refuse what is no file of weights at the first look. Raises ``MissingWeightsError`` that says what it is."""
    if not path.is_file():
        raise MissingWeightsError(f"the weights file {path} does not exist.")
    with path.open("rb") as file:
        head = file.read(1024)
    kinds = {"empty": not head, "a web page": looks_like_a_page(head), "a git-lfs pointer": head.startswith(_POINTER)}
    if kind := next((kind for kind, holds in kinds.items() if holds), None):
        raise MissingWeightsError(f"the weights file {path} is {kind}, not the weights. Download it again.")


def check_finite(tensors: Mapping[str, Tensor]) -> None:
    """Raises ``UserError`` that names a tensor with NaN or infinity: a training that diverged, or a damaged file."""
    bad = [name for name, value in tensors.items() if value.is_floating_point() and not value.isfinite().all()]
    if bad:
        raise UserError(f"{len(bad)} of its {len(tensors)} tensors hold NaN or infinity, {bad[0]} first")


def fault(error: BaseException) -> str:
    """What is wrong with a file. PyTorch's own words for a pickle advise to load it unsafely; they are not repeated."""
    if isinstance(error, pickle.UnpicklingError):
        return "it is neither safetensors nor a torch file that holds tensors only"
    lines = [line.strip() for line in str(error).strip().splitlines()]
    # PyTorch names the module first and the keys on the next line; the keys are what helps.
    told = " ".join(lines[:2]) if lines and lines[0].endswith(":") else first_line(error)
    return told[:300].rstrip(".")


def first_line(error: BaseException) -> str:
    """The first line of a message, at most 300 characters."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors or torch file, as they are. Raises what the libraries raise."""
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        tensors: dict[str, Tensor] = load_file(path)
        return tensors
    # timm's training script stores its options as an argparse.Namespace, which holds plain values.
    with torch.serialization.safe_globals([argparse.Namespace]):
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    for key in _CONTAINERS:
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise UserError("it holds no dictionary of tensors")
    return found


def _without_prefix(tensors: dict[str, Tensor], prefixes: Sequence[str]) -> dict[str, Tensor]:
    for prefix in prefixes:
        if tensors and all(key.startswith(prefix) for key in tensors):
            tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    return tensors
