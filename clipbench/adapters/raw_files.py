"""The files of adapters as they are on disk: tables in JSON, tensors by name."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, cast

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from clipbench.adapters.errors import AdapterError


def read_json(path: Path) -> dict[str, Any]:
    """The table in a JSON file.

    Raises:
        AdapterError: It is not there, or is damaged.
    """
    try:
        sidecar = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise AdapterError(f"load: there is no {path}. An adapter is a pair of files; copy both.") from error
    except (ValueError, RecursionError) as error:
        raise AdapterError(f"load: {path} is not JSON: {error}. Save the adapter again.") from error
    except OSError as error:
        raise AdapterError(f"load: {path} cannot be read: {error.strerror}.") from error
    if not isinstance(sidecar, dict):
        raise AdapterError(f"load: {path} does not describe an adapter: it is no table.")
    return sidecar


def read_tensors(path: Path, digest: str | None) -> dict[str, Tensor]:
    """The tensors of a safetensors file, by name; its bytes must have the SHA-256 `digest` if that is known.

    Raises:
        AdapterError: It is not there, or is damaged.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise AdapterError(f"load: there is no {path}. An adapter is a pair of files; copy both.") from error
    except OSError as error:
        raise AdapterError(f"load: {path} cannot be read: {error.strerror}.") from error
    if digest is not None and hashlib.sha256(data).hexdigest() != digest:
        raise AdapterError(
            f"load: {path} is damaged, or the JSON beside it belongs to another file. Save the adapter again."
        )
    try:
        return cast(dict[str, Tensor], safetensors.torch.load(data))
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise AdapterError(f"load: {path} is not a safetensors file: {error}.") from error


def read_pickled(path: Path) -> dict[str, Tensor]:
    """The tensors of a file of ``torch.save``, by name; nothing in it is executed.

    Raises:
        AdapterError: It is damaged, or holds something else.
    """
    try:
        tensors = torch.load(path, "cpu", weights_only=True)
    except Exception as error:
        raise AdapterError(
            f"load: {path} is damaged, or holds something other than tensors. Save the adapter again as safetensors."
        ) from error
    if not isinstance(tensors, dict) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise AdapterError(f"load: {path} does not hold tensors by name. Save the adapter again.")
    return tensors
