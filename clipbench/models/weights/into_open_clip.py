"""A user's file of weights into a model of open_clip's: whoever wrote it, strictly, and with what is amiss in words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from clipbench.errors import MissingWeightsError, UserError
from clipbench.models.weights.files import check_file, check_numbers, fault, mismatch, read_tensors, unwrapped
from clipbench.models.weights.from_transformers import (
    ANCHORS,
    as_trained,
    is_transformers,
    renamed,
)
from clipbench.models.weights.openai import NUMBERS, check_activation, from_torchscript, is_torchscript

_POSITIONS = ("visual.positional_embedding", "visual.trunk.pos_embed")
_VOCABULARIES = ("token_embedding.weight", "text.token_embedding.weight")
_TEXT_POSITIONS = ("positional_embedding", "text.positional_embedding")


def fill(model: Any, path: Path, name: str, config: Mapping[str, Any]) -> str:
    """Load a safetensors file, a torch file read with ``weights_only``, or one of OpenAI's own archives.

    Keys may be open_clip's, with or without ``text.`` in front of the text tower's, or transformers' (``CLIPModel``,
    ``SiglipModel``), below the prefixes of wrappers. Returns what a record should say of the file, if anything. Raises
    ``MissingWeightsError`` for a file that does not fit.
    """
    check_file(path)
    try:
        tensors = _tensors(path, model)
        warning = check_activation(path, name, tensors, quick_gelu=bool(config.get("quick_gelu")), other=_other(name))
        check_numbers(tensors, path)
        body = _as_expected(model, tensors)
        if differs := mismatch(body, model.state_dict()):
            raise UserError(differs)
        _check_positions(body, model, name, path)
        model.load_state_dict(body, strict=True)
        as_trained(model, path)
    except MissingWeightsError:
        raise
    except Exception as error:
        raise MissingWeightsError(
            f"the weights file {path} does not hold a {name}: {fault(error)}. "
            f"Check that it is whole and that --backbone names its architecture."
        ) from error
    model.float()
    return warning


def _tensors(path: Path, model: Any) -> dict[str, Tensor]:
    if is_torchscript(path):
        return from_torchscript(path)
    tensors = unwrapped(read_tensors(path), [*model.state_dict(), "positional_embedding", *ANCHORS])
    if "prompt_no" not in tensors:
        return tensors
    # CLIPN's file: the parts of its second text tower bear "_no" behind their first name (clipbench.methods.clipn).
    return {key: value for key, value in tensors.items() if not key.partition(".")[0].endswith("_no")}


def _as_expected(model: Any, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the model's own names."""
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict

    due = model.state_dict()
    found = (
        renamed(tensors, due) if is_transformers(tensors) else {k: v for k, v in tensors.items() if k not in NUMBERS}
    )
    found = convert_state_dict(model, found)
    if "positional_embedding" in found and "positional_embedding" not in due:
        found = convert_to_custom_text_state_dict(found)
    elif "text.positional_embedding" in found and "text.positional_embedding" not in due:
        found = {key.removeprefix("text."): value for key, value in found.items()}
    scalars = {"logit_scale", "logit_bias"} & found.keys() & due.keys()
    return {key: value.reshape(due[key].shape) if key in scalars else value for key, value in found.items()}


def _check_positions(tensors: Mapping[str, Tensor], model: Any, name: str, path: Path) -> None:
    """Raise ``MissingWeightsError`` for weights of another vocabulary, resolution or text length.

    Positions would be interpolated.
    """
    due = model.state_dict()
    for key in _VOCABULARIES:
        if key in due and (theirs := tensors[key].shape[0]) != (ours := due[key].shape[0]):
            raise MissingWeightsError(
                f"the text tower in the weights file {path} has a vocabulary of {theirs:,} tokens, and that of {name} "
                f"{ours:,}: name the --backbone that it was trained as, whose tokeniser it needs."
            )
    for key in (*_POSITIONS, *_TEXT_POSITIONS):
        if key not in tensors or key not in due or tensors[key].shape == due[key].shape:
            continue
        theirs, ours = tensors[key].shape[-2], due[key].shape[-2]
        if theirs == ours:
            return
        if key in _TEXT_POSITIONS:
            raise MissingWeightsError(
                f"the text tower in the weights file {path} was made for {theirs} tokens, and that of {name} takes "
                f"{ours}: name the --backbone that it was trained as."
            )
        sides = _image_side(theirs, model), _image_side(ours, model)
        raise MissingWeightsError(
            f"the weights file {path} was trained on images of {sides[0]} px, and {name} takes {sides[1]} px. "
            f"Interpolated positions would be another model: name the --backbone of that size (open_clip has some by "
            f"the size at their end, such as ViT-L-14-336), or a config of your own with image_size = {sides[0]}."
        )


def _image_side(tokens: int, model: Any) -> int:
    """Pixels of a side, of images with so many position embeddings (with or without one for the class token)."""
    patch = getattr(model.visual, "patch_size", None) or model.visual.trunk.patch_embed.patch_size
    return int(int(tokens**0.5) * patch[0])


def _other(name: str) -> str | None:
    """The configuration of open_clip's that differs from ``name`` in its activation only."""
    import open_clip

    other = name.removesuffix("-quickgelu") if name.endswith("-quickgelu") else f"{name}-quickgelu"
    return other if other in open_clip.list_models() else None
