"""Weights of the user's own: a file of tensors read without pickle's dangers, and one sentence when it does not fit."""

from __future__ import annotations

import argparse
import pickle
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clipbench.data.download.transfer import looks_like_a_page
from clipbench.errors import MissingWeightsError, UserError

_CONTAINERS = ("state_dict", "model", "model_state_dict", "network", "module")
"""Keys under which training scripts put the tensors, beside their optimiser and arguments."""

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_COUNTERS = (
    "num_batches_tracked",
    "position_ids",
    "relative_position_index",
    "input_resolution",
    "context_length",
    "vocab_size",
)
"""Ends of the names of what may be whole numbers."""

_BEGINNINGS: Mapping[bytes, str] = {
    b"version https://git-lfs": "a git-lfs pointer, not the weights. Download the file that it points to",
    b"\x89HDF": "an HDF5 file, as Keras writes them. Pass the PyTorch or safetensors file of the model",
    b"GGUF": "a GGUF file of quantised weights. Pass the PyTorch or safetensors file of the model",
    b"\x1f\x8b": "a gzip archive. Unpack it first",
    b"7z\xbc\xaf": "a 7z archive. Unpack it first",
    b"Rar!": "a RAR archive. Unpack it first",
    b"{": "a JSON file, not the weights (an index of several files, perhaps). Pass the model in one safetensors file",
}


def load_file_into(module: nn.Module, path: Path, name: str) -> None:
    """Fill ``module`` strictly from a safetensors or torch file; a classification head (``head.*``) is dropped.

    Prefixes of wrappers that every key of the file carries are taken off. Raises ``MissingWeightsError`` with the first
    fault: no such file, no file of tensors, keys or shapes that are not those of ``name``.
    """
    check_file(path)
    try:
        tensors = unwrapped(read_tensors(path), list(module.state_dict()))
        check_numbers(tensors, path)
        body = {key: value for key, value in tensors.items() if not key.startswith("head.")}
        module.load_state_dict(body, strict=True)
        module.float()
    except MissingWeightsError:
        raise
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
    kinds = {
        "empty. Download it again": not head,
        "a web page, not the weights. Download it again": looks_like_a_page(head),
    }
    kinds |= {kind: head.startswith(begins) for begins, kind in _BEGINNINGS.items()}
    if kind := next((kind for kind, holds in kinds.items() if holds), None):
        raise MissingWeightsError(f"the weights file {path} is {kind}.")


def check_numbers(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raise ``MissingWeightsError`` that names a tensor which cannot be a weight.

    Whole, logical or complex numbers; NaN, or numbers that float32 does not hold: a training that diverged, or a
    damaged file.
    """
    for name, value in tensors.items():
        if value.dtype not in _FLOATS and not name.endswith(_COUNTERS):
            raise MissingWeightsError(
                f"the weights file {path} cannot be used: its tensor {name} holds "
                f"{str(value.dtype).removeprefix('torch.')} numbers, which are no weights. Quantised or packed ones "
                f"must be restored to floating point first."
            )
    bad = [name for name, value in tensors.items() if value.dtype in _FLOATS and not value.float().isfinite().all()]
    if bad:
        raise MissingWeightsError(
            f"the weights file {path} cannot be used: {len(bad)} of its {len(tensors)} tensors hold NaN or infinity, "
            f"{bad[0]} first. A training that diverged leaves such files, and so does a damaged disk."
        )


def check_features(features: Mapping[str, Tensor], path: Path) -> None:
    """Raise ``MissingWeightsError`` where a model's ``features`` of an input are no numbers, though its weights are."""
    if wrong := [kind for kind, value in features.items() if not value.isfinite().all()]:
        raise MissingWeightsError(
            f"with the weights file {path} the {' and '.join(wrong)} features of the model overflow: its numbers "
            f"are out of all proportion. It may be damaged, or meant for another architecture."
        )


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
    """The tensors of a safetensors or torch file, told by its first bytes. Raises what the libraries raise."""
    with path.open("rb") as file:
        head = file.read(9)
    if head[8:] == b"{":
        from safetensors.torch import load_file

        tensors: dict[str, Tensor] = load_file(path)
        return tensors
    # timm's training script stores its options as an argparse.Namespace, which holds plain values.
    with torch.serialization.safe_globals([argparse.Namespace]):
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    while isinstance(found, dict) and (inner := next((k for k in _CONTAINERS if isinstance(found.get(k), dict)), None)):
        found = found[inner]
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise UserError("it holds no dictionary of tensors")
    return {str(key): value for key, value in found.items()}


def unwrapped(tensors: dict[str, Tensor], expected: Sequence[str]) -> dict[str, Tensor]:
    """The tensors without the prefix that a wrapper put in front of all of them (``module.``, Lightning's ``model.``).

    It is what stands in front of the keys that are ``expected``; ``torch.compile``'s ``_orig_mod.`` goes wherever it
    is. Raises ``UserError`` that names what else the wrapper holds.
    """
    plain = {key.replace("_orig_mod.", ""): value for key, value in tensors.items()}
    if len(plain) != len(tensors) or any(key in plain for key in expected):
        return plain
    ends = tuple(f".{name}" for name in expected)
    prefixes = Counter(
        key.removesuffix(end[1:]) for key in plain if key.endswith(ends) for end in ends if key.endswith(end)
    )
    if not prefixes:
        return plain
    prefix = max(prefixes, key=lambda p: (prefixes[p], len(p)))
    strays = [key for key in plain if not key.startswith(prefix)]
    if strays:
        raise UserError(
            f"besides the model under {prefix!r} it holds {len(strays)} tensors such as {strays[0]}; save "
            f"the model alone"
        )
    return {key.removeprefix(prefix): value for key, value in plain.items()}
