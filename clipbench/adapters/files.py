"""Adapters on disk: a safetensors file with the numbers of one replica, and a JSON file that says what they are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, cast

import safetensors.torch
import torch
from torch import Tensor, nn

from clipbench.adapters import peft_format, peft_writing
from clipbench.adapters.base_model import describe_adapted, describe_base, trained_beside
from clipbench.adapters.config import AdapterConfig
from clipbench.adapters.errors import AdapterError
from clipbench.adapters.inject import activate, adapt, deactivate
from clipbench.adapters.merging import choose_replica, require_unmerged
from clipbench.adapters.places import find_places
from clipbench.adapters.raw_files import read_json, read_pickled, read_tensors
from clipbench.adapters.sets import remove
from clipbench.adapters.state import State, find_sets, find_state, get_state, unwrap
from clipbench.files import write_bytes

FORMAT = "clipbench-adapter/1"
_MUST_AGREE = ("kind", "rank", "alpha", "scaling", "norm_axis", "init", "rank_pattern", "alpha_pattern")
_ADVICE = "Make room or change its permissions, or save under another path."
_TRAINED = "trained."


@dataclass(frozen=True)
class Stored:
    """What a file holds.

    Attributes:
        config: Of one replica.
        tensors: Name of a matrix and of a parameter or buffer of its adapter, joined by a dot, to its value.
        trained: What was trained beside the adapters, by its name in the model.
        base: The model that they were trained on; None where the file does not say.
    """

    config: AdapterConfig
    tensors: dict[str, Tensor]
    trained: dict[str, Tensor] = field(default_factory=dict)
    base: dict[str, str] | None = None


def save(
    model: nn.Module,
    path: str | Path,
    replica: int | None = None,
    format: Literal["clipbench", "peft"] = "clipbench",  # noqa: A002
) -> Path:
    """Write one replica of the active adapters, and whatever was trained beside them, such as a head.

    By default to ``<path>.safetensors`` and ``<path>.json``. Both are written beside their place and renamed into it.
    The JSON holds the digest of the other, so that a pair torn by a crash is told by `load`. With ``format="peft"`` to
    a folder that ``peft.PeftModel.from_pretrained`` takes; fused projections become the separate ones of Hugging
    Face's CLIP, and a kind that peft does not have becomes the LoRA that it amounts to.

    Args:
        model: An adapted model, merged or not.
        path: With or without the suffix; the folder must exist.
        replica: Which replica; may be left out when there is only one.
        format: ``clipbench`` or ``peft``.

    Returns:
        The path of the safetensors file.

    Raises:
        AdapterError: No adapters, no such replica, or nothing that peft could load.
        UserError: The files cannot be written there.
    """
    state = get_state(model)
    chosen = choose_replica(state.config.replicas, replica, "save")
    trained = {n: _plain(t) for n, t in trained_beside(model, state, chosen).items()}
    if format == "peft":
        config, tensors = peft_writing.written(unwrap(model), state, chosen, trained)
        folder = Path(path)
        json_path, tensor_path = folder / peft_format.CONFIG, folder / peft_format.TENSORS
        write_bytes(tensor_path, safetensors.torch.save(tensors, {"format": "pt"}), _ADVICE)
        write_bytes(json_path, json.dumps(config, indent=2).encode(), _ADVICE)
        return tensor_path
    if format != "clipbench":
        raise AdapterError(f"save: format = {format!r} is not one of 'clipbench', 'peft'.")
    tensors = {f"{n}.{key}": _plain(t) for n, b in state.branches().items() for key, t in b.stored(chosen).items()}
    data = safetensors.torch.save(_once(tensors) | {_TRAINED + n: t for n, t in trained.items()}, {"format": FORMAT})
    tensor_path, json_path = _paths(path, "save")
    if not tensor_path.parent.is_dir():
        raise AdapterError(f"save: the folder {tensor_path.parent} does not exist. Create it first.")
    write_bytes(tensor_path, data, _ADVICE)
    write_bytes(json_path, json.dumps(_describe(state, chosen, trained, data), indent=2).encode(), _ADVICE)
    return tensor_path


def load(model: nn.Module, path: str | Path, replica: int | None = None) -> nn.Module:
    """Read adapters that `save` or peft wrote into `model`, in place.

    A plain model is adapted first, as the file says. A model with adapters must have the same ones. What was trained
    beside them is put into the model's parameters of the same names, which must be there.

    Args:
        model: The same base model that the adapters were trained on.
        path: With or without the suffix; or a folder that peft saved (LoRA, DoRA, VeRA, AdaLoRA), whose separate
            projections are mapped onto fused ones where the model has those.
        replica: Which replica of an adapted model to overwrite; may be left out when there is only one.

    Returns:
        The same object.

    Raises:
        AdapterError: Files are missing or damaged, were made for another base model, rank or shape, or hold numbers
            that are not finite; or the model is merged. A plain model is plain again then.
    """
    plain = find_state(model) is None
    if not plain:
        require_unmerged(model, "load")
    stored, source = _read(unwrap(model), path)
    _require_sound(stored, source)
    _require_base(model, stored, source)
    places = _require_trained(model, stored, source)
    if plain:
        adapt(model, stored.config)
    else:
        _require_same(get_state(model), stored.config, source)
    try:
        _copy(model, stored, choose_replica(get_state(model).config.replicas, replica, "load"), source)
    except AdapterError:
        if plain:
            remove(model)
        raise
    _copy_trained(places, stored)
    return model


def _read(root: nn.Module, path: str | Path) -> tuple[Stored, Path]:
    folder = _peft_folder(Path(path))
    if folder is not None:
        return _read_peft(root, folder), folder
    tensor_path, json_path = _paths(path, "load")
    sidecar = read_json(json_path)
    base, names = sidecar.get("base"), sidecar.get("trained", [])
    described = isinstance(base, dict) and all(isinstance(base.get(key), str) for key in ("class", "blocks", "weights"))
    described &= isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not described or sidecar.get("format") != FORMAT or not isinstance(sidecar.get("tensors_sha256"), str):
        raise AdapterError(f"load: {json_path} does not describe an adapter in the form {FORMAT!r}.")
    try:
        config = AdapterConfig.from_dict(cast(dict[str, Any], sidecar.get("config")))
    except AdapterError as error:
        raise AdapterError(f"load: {json_path} does not describe an adapter: {error}") from error
    found = read_tensors(tensor_path, sidecar["tensors_sha256"])
    trained = {name: found.pop(_TRAINED + name) for name in names if _TRAINED + name in found}
    return Stored(config, _everywhere(found), trained, cast(dict[str, str], base)), tensor_path


def _peft_folder(path: Path) -> Path | None:
    """The folder of peft that is meant, by its name or that of a file in it; None for a file of ours."""
    inside = (peft_format.CONFIG, peft_format.TENSORS, peft_format.PICKLED)
    folder = path.parent if path.name in inside else path
    if (folder / peft_format.CONFIG).is_file():
        return folder
    if path.is_dir() and not _paths(path, "load")[1].is_file():
        held = ", ".join(sorted(entry.name for entry in path.iterdir())[:8]) or "nothing"
        raise AdapterError(
            f"load: the folder {path} has no {peft_format.CONFIG}, so it is none that peft saved; it holds {held}. "
            "Give the folder with that file, or the name of a file that clipbench saved."
        )
    return None


def _read_peft(root: nn.Module, folder: Path) -> Stored:
    """Layers are looked up in the model without its adapters."""
    sidecar = read_json(folder / peft_format.CONFIG)
    path, pickled = folder / peft_format.TENSORS, folder / peft_format.PICKLED
    tensors = read_pickled(pickled) if pickled.is_file() and not path.is_file() else read_tensors(path, None)
    sets = find_sets(root)
    if sets is not None:
        deactivate(root)
    try:
        return Stored(*peft_format.read(root, sidecar, tensors, folder))
    finally:
        if sets is not None:
            activate(root, sets.active)


def _paths(path: str | Path, action: str) -> tuple[Path, Path]:
    base = Path(path)
    if base.suffix in {".safetensors", ".json"}:
        base = base.with_suffix("")
    if not base.name:
        raise AdapterError(f"{action}: {str(path)!r} names no file.")
    return base.with_name(base.name + ".safetensors"), base.with_name(base.name + ".json")


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous().clone()


def _once(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """What all matrices share (VeRA) stands in the file once, under ``shared.``."""
    return {name if ".shared." not in name else "shared." + name.rpartition(".")[2]: t for name, t in tensors.items()}


def _everywhere(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    shared = {name: tensors.pop(name) for name in [n for n in tensors if n.startswith("shared.")]}
    if not shared:
        return tensors
    matrices = {name.rpartition(".")[0] for name in tensors}
    return tensors | {f"{matrix}.{name}": tensor for matrix in matrices for name, tensor in shared.items()}


def _describe(state: State, replica: int, trained: Mapping[str, Tensor], data: bytes) -> dict[str, Any]:
    seeds = state.config.init_seeds
    config = replace(state.config, replicas=1, init_seeds=None if seeds is None else (seeds[replica],))
    return {
        "format": FORMAT,
        "config": config.to_dict(),
        "base": describe_adapted(state),
        "trained": list(trained),
        "tensors_sha256": hashlib.sha256(data).hexdigest(),
        "versions": {"torch": torch.__version__, "clipbench": _version()},
    }


def _version() -> str:
    try:
        return metadata.version("clipbench")
    except metadata.PackageNotFoundError:
        return "source tree"


def _require_sound(stored: Stored, path: Path) -> None:
    for name, tensor in (stored.tensors | stored.trained).items():
        if name in stored.tensors and not (tensor.is_floating_point() or tensor.dtype == torch.bool):
            raise AdapterError(f"load: {name} in {path} is of type {tensor.dtype}, not floating point.")
        if tensor.is_complex() or (tensor.is_floating_point() and not tensor.double().isfinite().all()):
            raise AdapterError(f"load: {name} in {path} holds NaN or infinite numbers: the training had diverged.")
    sizes = {size for tensor in stored.tensors.values() for size in tensor.shape}
    config = stored.config
    beyond = [rank for rank in (config.rank, *(rank for _, rank in config.rank_pattern)) if rank not in sizes]
    if config.replicas != 1 or (beyond and len(beyond) == 1 + len(config.rank_pattern)):
        raise AdapterError(f"load: {path} does not fit its JSON: no number in it has rank {config.rank}.")


def _require_same(state: State, want: AdapterConfig, path: Path) -> None:
    have = state.config
    differ = [name for name in _MUST_AGREE if getattr(have, name) != getattr(want, name)]
    sizes = {name: want.size_of(name, name.rpartition(".")[0]) for name in state.branches()}
    same = have.kind == want.kind and have.norm_axis == want.norm_axis and have.init == want.init
    if same and all((b.rank, b.scale) == sizes[n] for n, b in state.branches().items()):
        return  # written otherwise, meant alike
    pairs = "; ".join(f"{n} is {getattr(want, n)!r} in the file, {getattr(have, n)!r} in the model" for n in differ)
    raise AdapterError(f"load: {path} does not fit this model's adapters: {pairs}. Load it into a plain model instead.")


def _require_base(model: nn.Module, stored: Stored, path: Path) -> None:
    base, state = stored.base, find_state(model)
    if base is None:
        return
    root = unwrap(model)
    found = describe_base(root, find_places(root, stored.config)) if state is None else describe_adapted(state)
    if found["weights"] != base["weights"]:
        raise AdapterError(
            f"load: {path} was trained on another base model: a {base['class']} whose adapted weights have the digest "
            f"{base['weights'][:12]}, while those of this {found['class']} have {found['weights'][:12]}. Load the base "
            "model, pretrained tag and precision that it was trained on."
        )
    if found["blocks"] != base["blocks"]:
        raise AdapterError(
            f"load: {path} was trained on the same weights but on blocks of other module types, such as GELU for "
            "QuickGELU. Build the base model from the configuration it was trained on (open_clip: the -quickgelu name)."
        )


def _require_trained(model: nn.Module, stored: Stored, path: Path) -> dict[str, Tensor]:
    """The model's parameters and buffers that were trained beside the adapters."""
    root = unwrap(model)
    have = dict(root.named_parameters()) | dict(root.named_buffers())
    for name, tensor in stored.trained.items():
        if name not in have or have[name].shape != tensor.shape:
            found = f"is {tuple(have[name].shape)} here" if name in have else "is not in this model"
            raise AdapterError(
                f"load: {path} holds {name} {tuple(tensor.shape)}, which was trained beside the adapters and {found}. "
                "Attach the same head or layers first."
            )
    return {name: have[name] for name in stored.trained}


@torch.no_grad()
def _copy(model: nn.Module, stored: Stored, replica: int, path: Path) -> None:
    branches = get_state(model).branches()
    wanted = {f"{n}.{k}": tuple(t.shape) for n, b in branches.items() for k, t in b.stored(replica).items()}
    found = {name: tuple(tensor.shape) for name, tensor in stored.tensors.items()}
    if wanted != found:
        name = min(n for n in wanted.keys() | found.keys() if wanted.get(n) != found.get(n))
        raise AdapterError(
            f"load: {path} does not fit this model: {name} has shape {found.get(name, 'nothing')} in the file and "
            f"{wanted.get(name, 'nothing')} in the model. The file is not what its JSON says, or belongs elsewhere."
        )
    for name, branch in branches.items():
        branch.restore({key: stored.tensors[f"{name}.{key}"] for key in branch.stored(replica)}, replica)


@torch.no_grad()
def _copy_trained(places: Mapping[str, Tensor], stored: Stored) -> None:
    for name, place in places.items():
        place.copy_(stored.trained[name])
        if isinstance(place, nn.Parameter):
            place.requires_grad_(True)
