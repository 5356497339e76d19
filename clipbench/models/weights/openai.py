"""Telling OpenAI's CLIP weights in a file, which need QuickGELU: with plain GELU they load, and every feature is wrong.

The tensors do not say which activation they were trained with. What does: OpenAI's own files by their sha256 (it
stands in the addresses that they are served from), their form (a TorchScript archive, three numbers among the tensors),
and the ``open_clip_config.json`` that lies beside the files of the hub. Tensors that somebody saved anew carry none of
this.
"""

from __future__ import annotations

import json
import logging
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clipbench.errors import MissingWeightsError
from clipbench.models.weights.catalogue import openai_digests
from clipbench.models.weights.from_transformers import is_transformers, stated_config
from clipbench.models.weights.sources import file_digest

NUMBERS = ("input_resolution", "context_length", "vocab_size")
"""What only OpenAI's own state dictionaries hold beside the tensors."""


def is_torchscript(path: Path) -> bool:
    """Whether the file is a TorchScript archive: a zip that holds code."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name or name.endswith("/constants.pkl") for name in archive.namelist())


def from_torchscript(path: Path) -> dict[str, Tensor]:
    """The tensors of one of OpenAI's archives. Loading such a file may run its code, so no other is opened.

    Raises ``MissingWeightsError`` for an archive that is not known by its sha256.
    """
    if openai_name(path) is None:
        raise MissingWeightsError(
            f"the weights file {path} is a TorchScript archive, which holds code, and none of OpenAI's by its sha256. "
            f"It may be cut or changed. Fetch it again, or pass its tensors as a safetensors file."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PyTorch deprecates a format that OpenAI's files keep
        state: dict[str, Tensor] = torch.jit.load(str(path), map_location="cpu").state_dict()  # type: ignore[no-untyped-call]
    return {name: tensor for name, tensor in state.items() if name not in NUMBERS}


def openai_name(path: Path) -> str | None:
    """Which of OpenAI's own files this is, by its sha256."""
    found = openai_digests().get(file_digest(path))
    return found.name if found else None


def check_activation(
    path: Path, name: str, tensors: Mapping[str, Tensor], *, quick_gelu: bool, other: str | None
) -> str:
    """Refuse a file whose activation is known and is not that of the architecture ``name``; warn where it may be.

    Returns the warning, for the record; empty where there is none.

    ``other`` is the configuration that differs in its activation only, if there is one. Raises ``MissingWeightsError``.
    """
    stated = _stated(path, tensors)
    if stated is None:
        if not other or quick_gelu:
            return ""
        warning = (
            f"{path.name} does not say which activation its weights were trained with. If they come from OpenAI's, as "
            f"fine-tuned ones often do, {name} is wrong for them: use --backbone {other}."
        )
        logging.getLogger("clipbench").warning(warning)
        return warning
    needs, why = stated
    if needs != quick_gelu:
        trained, has = ("QuickGELU", "plain GELU") if needs else ("plain GELU", "QuickGELU")
        advice = f"Use --backbone {other}." if other else f'Set "quick_gelu": {str(needs).lower()} in its config.'
        raise MissingWeightsError(
            f"the weights file {path} was trained with {trained} ({why}), but {name} has {has}: its features would be "
            f"wrong. {advice}"
        )
    return ""


def _stated(path: Path, tensors: Mapping[str, Tensor]) -> tuple[bool, str] | None:
    """Whether the weights need QuickGELU, and what says so; None where nothing does."""
    if named := openai_name(path):
        return True, f"it is the original file of {named}"
    if any(number in tensors for number in NUMBERS):
        return True, f"it holds {NUMBERS[0]}, as only OpenAI's own files do"
    if is_transformers(tensors):
        return _stated_by_transformers(path)
    config = path.parent / "open_clip_config.json"
    try:
        found: Any = json.loads(config.read_text(encoding="utf-8"))["model_cfg"]
        return bool(found.get("quick_gelu", False)), f"{config.name} beside it says so"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _stated_by_transformers(path: Path) -> tuple[bool, str] | None:
    """By the ``config.json`` of a ``CLIPModel``, whose default is QuickGELU; a SigLIP's activation is set from it."""
    config = stated_config(path.parent)
    if config.get("model_type") != "clip":
        return None
    towers = [config.get(f"{tower}_config") or {} for tower in ("vision", "text")]
    return any(
        t.get("hidden_act", "quick_gelu") == "quick_gelu" for t in towers
    ), "transformers' config.json beside it says so"
