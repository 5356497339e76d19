"""Weights of the user's own: a file of tensors read without pickle's dangers, and one sentence when it does not fit."""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clipbench.errors import MissingWeightsError, UserError

_CONTAINERS = ("state_dict", "model")
"""Keys under which training scripts put the tensors, beside their optimiser and arguments."""


def load_file_into(module: nn.Module, path: Path, name: str, prefixes: Sequence[str] = ("module.",)) -> None:
    """Fill ``module`` strictly from a safetensors or torch file; a classification head (``head.*``) is dropped.

    ``prefixes`` are wrappers' prefixes that every key of the file may carry. Raises ``MissingWeightsError`` with the
    first fault: no such file, no file of tensors, keys or shapes that are not those of ``name``.
    """
    if not path.is_file():
        raise MissingWeightsError(f"the weights file {path} does not exist.")
    try:
        tensors = _without_prefix(_read(path), prefixes)
        body = {key: value.float() for key, value in tensors.items() if not key.startswith("head.")}
        module.load_state_dict(body, strict=True)
    except Exception as error:
        raise MissingWeightsError(
            f"the weights file {path} does not hold a {name}: {fault(error)}. "
            f"Check that it is whole and that --backbone names its architecture."
        ) from error


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


def _read(path: Path) -> dict[str, Tensor]:
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
