"""Weights of the user's own: a file of tensors read without pickle's dangers, and one sentence when it does not fit."""

from __future__ import annotations

import argparse
import logging
import pickle
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clipbench.data.download.transfer import looks_like_a_page
from clipbench.data.images import first_few
from clipbench.errors import MissingWeightsError, UserError
from clipbench.models.weights.sources import is_shard, joined

_CONTAINERS = ("state_dict", "model", "model_state_dict", "network", "module")
"""Keys under which training scripts put the tensors, beside their optimiser and arguments."""
_WRAPPERS = ("_orig_mod.", "_checkpoint_wrapped_module.", "_fsdp_wrapped_module.")
"""What ``torch.compile``, activation checkpointing and FSDP put into names, wherever they wrap a module."""
_PARTS_OF_A_MODEL: Mapping[str, str] = {
    "lora_": "a low-rank adapter; --weights takes a whole model, so merge it into the one that it was trained for",
    "prompt_learner.": "learned prompts of CoOp's kind; --weights takes the model that they were learned for",
}
"""Parts of names that tell what a file holds in the place of a model."""

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
    if is_shard(path):
        raise MissingWeightsError(
            f"the weights file {path} is one of several that hold a model together. {joined(path)}"
        )
    kinds = {
        "empty. Download it again": not head,
        "a web page, not the weights. Download it again": looks_like_a_page(head),
    }
    kinds |= {kind: head.startswith(begins) for begins, kind in _BEGINNINGS.items()}
    kinds["a tar archive. Unpack it first"] = head[257:].startswith(b"ustar")
    if head.startswith(b"PK"):
        kinds[_kind_of_zip(path)] = True
    if kind := next((kind for kind, holds in kinds.items() if holds), ""):
        raise MissingWeightsError(f"the weights file {path} is {kind}.")


def _kind_of_zip(path: Path) -> str:
    """What a zip archive is, if not PyTorch's (which holds a ``data.pkl``, or code); empty for those and for no zip."""
    if not zipfile.is_zipfile(path):
        return ""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.endswith(("data.pkl", "constants.pkl")) for name in names):
        return ""
    if names and all(name.endswith(".npy") for name in names):
        return "an archive of NumPy arrays. Pass the PyTorch or safetensors file of the model"
    return f"a zip archive of other files ({first_few(names, 2)}). Unpack it first"


def mismatch(tensors: Mapping[str, Tensor], due: Mapping[str, Tensor]) -> str:
    """How the names of a file's tensors differ from those of a model, as a clause; empty where they do not."""
    missing = [key for key in due if key not in tensors and not key.endswith(_COUNTERS)]
    others = [key for key in tensors if key not in due and not key.endswith(_COUNTERS)]
    if not missing and not others:
        return ""
    if missing and (part := next((w for k, w in _PARTS_OF_A_MODEL.items() if any(k in name for name in others)), "")):
        return f"it holds {part}"
    lacks = f"{len(missing)} of the model's {len(due)} tensors are missing ({first_few(missing, 2)})" if missing else ""
    more = f"{len(others)} are none of the model's ({first_few(others, 2)})" if others else ""
    return ", and ".join(filter(None, (lacks, more)))


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
    raised = (pickle.UnpicklingError, LookupError, EOFError, UnicodeError, TypeError, AttributeError)
    if isinstance(error, raised) or "weights_only" in str(error):
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
    # timm's training script stores its options as an argparse.Namespace, which holds plain values. The file is opened
    # here, for by its path PyTorch would judge it by its suffix.
    with torch.serialization.safe_globals([argparse.Namespace]), path.open("rb") as file:
        return _tensors_in(torch.load(file, map_location="cpu", weights_only=True))


def _tensors_in(found: Any) -> dict[str, Tensor]:
    """The model's tensors in what a training script has saved; numbers and texts beside them are left out.

    Raises ``UserError`` that says what is there in their place.
    """
    while isinstance(found, dict) and not any(isinstance(value, Tensor) for value in found.values()):
        inner = [key for key in _CONTAINERS if isinstance(found.get(key), dict)]
        several = [key for key, value in found.items() if _holds_tensors(value)]
        models = inner or several
        if len(models) > 1 and not inner:
            raise UserError(
                f"it holds several models, under {', '.join(map(repr, models))}; save the one that is meant"
            )
        if not models:
            keys = first_few([repr(key) for key in found])
            raise UserError(f"it holds no dictionary of tensors{f', but {keys}' if keys else ''}")
        if len(several) > 1:
            logging.getLogger("clipbench").warning(
                "the weights file holds several models (%s); %r is taken", ", ".join(map(str, several)), models[0]
            )
        found = found[models[0]]
    if not isinstance(found, dict) or any(isinstance(value, dict | list | tuple) for value in found.values()):
        raise UserError(f"it holds no dictionary of tensors, but a {type(found).__name__}")
    return {str(key): value for key, value in found.items() if isinstance(value, Tensor)}


def _holds_tensors(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(isinstance(inner, Tensor) for inner in value.values())


def unwrapped(tensors: dict[str, Tensor], expected: Sequence[str]) -> dict[str, Tensor]:
    """The tensors without the prefix that a wrapper put in front of all of them (``module.``, Lightning's ``model.``).

    It is what stands in front of the keys that are ``expected``; ``torch.compile``'s ``_orig_mod.`` and the like go
    wherever they are. Raises ``UserError`` that names what else the wrapper holds.
    """
    plain = {_without_wrappers(key): value for key, value in tensors.items()}
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


def _without_wrappers(key: str) -> str:
    for wrapper in _WRAPPERS:
        key = key.replace(wrapper, "")
    return key
