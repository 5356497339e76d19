"""Adapters on disk: a safetensors file with the numbers of one replica, and a JSON file that says what they are."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any, cast

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from clipbench.adapters.config import AdapterConfig
from clipbench.adapters.inject import State, adapt, adapted_modules, block_types, find_state, get_state, unwrap
from clipbench.adapters.layouts import find_places
from clipbench.adapters.merging import choose_replica
from clipbench.errors import UserError

FORMAT = "clipbench-adapter/1"
_MUST_AGREE = ("kind", "rank", "alpha", "scaling", "targets", "towers", "layers", "patterns", "norm_axis")


def save(model: nn.Module, path: str | Path, replica: int | None = None) -> Path:
    """Write one replica's adapters to ``<path>.safetensors`` and ``<path>.json``.

    Both are written beside their place and renamed into it. The JSON holds the digest of the other, so that a pair torn
    by a crash is told by `load`.

    Args:
        model: An adapted model, merged or not.
        path: With or without the suffix; the folder must exist.
        replica: Which replica; may be left out when there is only one.

    Returns:
        The path of the safetensors file.

    Raises:
        UserError: No adapters, or no such replica.
    """
    state = get_state(model)
    chosen = choose_replica(state.config.replicas, replica, "save")
    parameters = adapted_modules(model).items()
    tensors = {
        f"{name}.{key}": parameter.detach()[chosen].cpu().contiguous().clone()
        for name, adapter in parameters
        for key, parameter in adapter.named_parameters()
    }
    data = safetensors.torch.save(tensors, {"format": FORMAT})
    tensor_path, json_path = _paths(path)
    _write(tensor_path, data)
    _write(json_path, json.dumps(_describe(model, state, chosen, data), indent=2).encode())
    return tensor_path


def load(model: nn.Module, path: str | Path, replica: int | None = None) -> nn.Module:
    """Read adapters that `save` wrote into `model`, in place.

    A plain model is adapted first, as the file says. A model with adapters must have the same ones.

    Args:
        model: The same base model that the adapters were trained on.
        path: With or without the suffix.
        replica: Which replica of an adapted model to overwrite; may be left out when there is only one.

    Returns:
        The same object.

    Raises:
        UserError: Files are missing or damaged, or were made for another base model, rank or shape.
    """
    tensor_path, json_path = _paths(path)
    sidecar = _read_sidecar(json_path)
    tensors = _read_tensors(tensor_path, sidecar)
    config = AdapterConfig.from_dict(sidecar["config"])
    state = find_state(model)
    if state is not None:
        _require_same(state.config, config, tensor_path)
    _require_base(model, config, sidecar["base"], tensor_path)
    if state is None:
        adapt(model, config)
    _copy(model, tensors, choose_replica(get_state(model).config.replicas, replica, "load"), tensor_path)
    return model


def _paths(path: str | Path) -> tuple[Path, Path]:
    base = Path(path)
    if base.suffix in {".safetensors", ".json"}:
        base = base.with_suffix("")
    return base.with_name(base.name + ".safetensors"), base.with_name(base.name + ".json")


def _write(path: Path, data: bytes) -> None:
    if not path.parent.is_dir():
        raise UserError(f"save: the folder {path.parent} does not exist. Create it first.")
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        beside.write_bytes(data)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _describe(model: nn.Module, state: State, replica: int, data: bytes) -> dict[str, Any]:
    seeds = state.config.init_seeds
    config = replace(state.config, replicas=1, init_seeds=None if seeds is None else (seeds[replica],))
    return {
        "format": FORMAT,
        "config": config.to_dict(),
        "base": _base_of_adapted(model, state),
        "tensors_sha256": hashlib.sha256(data).hexdigest(),
        "versions": {"torch": torch.__version__, "clipbench": _version()},
    }


def _version() -> str:
    try:
        return metadata.version("clipbench")
    except metadata.PackageNotFoundError:
        return "source tree"


def _base_of_adapted(model: nn.Module, state: State) -> dict[str, str]:
    weights = ((name, host.frozen_weight) for site in state.sites for name, host in site.hosts().items())
    return {"class": type(unwrap(model)).__name__, "blocks": state.block_types, "weights": _digest(weights)}


def _base_of_plain(model: nn.Module, config: AdapterConfig) -> dict[str, str]:
    places = find_places(model, config)
    weights: list[tuple[str, Tensor]] = []
    for place in places:
        module = model.get_submodule(place.path)
        if isinstance(module, nn.MultiheadAttention):
            weights.append((place.path, module.in_proj_weight))
            weights += [(f"{place.path}.out_proj", module.out_proj.weight)] if "o" in place.parts else []
        else:
            weights.append((place.path, cast(Tensor, module.weight)))
    return {"class": type(model).__name__, "blocks": block_types(model, places), "weights": _digest(weights)}


def _digest(weights: Iterable[tuple[str, Tensor]]) -> str:
    """SHA-256 of names, shapes and all values (as fp32) of the adapted matrices: half a second for a ViT-L/14."""
    digest = hashlib.sha256()
    for name, weight in weights:
        digest.update(f"{name}{tuple(weight.shape)}".encode())
        digest.update(weight.detach().float().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def _read_sidecar(path: Path) -> dict[str, Any]:
    try:
        sidecar = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise UserError(f"load: there is no {path}. An adapter is a pair of files; copy both.") from error
    except ValueError as error:
        raise UserError(f"load: {path} is not JSON: {error}. Save the adapter again.") from error
    keys = {"format", "config", "base", "tensors_sha256"}
    if not isinstance(sidecar, dict) or sidecar.get("format") != FORMAT or not keys <= set(sidecar):
        raise UserError(f"load: {path} does not describe an adapter in the form {FORMAT!r}.")
    return sidecar


def _read_tensors(path: Path, sidecar: dict[str, Any]) -> dict[str, Tensor]:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"load: there is no {path}. An adapter is a pair of files; copy both.") from error
    if hashlib.sha256(data).hexdigest() != sidecar["tensors_sha256"]:
        raise UserError(
            f"load: {path} is damaged, or the JSON beside it belongs to another file. Save the adapter again."
        )
    try:
        return cast(dict[str, Tensor], safetensors.torch.load(data))
    except safetensors.SafetensorError as error:
        raise UserError(f"load: {path} is not a safetensors file: {error}.") from error


def _require_same(have: AdapterConfig, want: AdapterConfig, path: Path) -> None:
    differ = [name for name in _MUST_AGREE if getattr(have, name) != getattr(want, name)]
    if differ:
        pairs = "; ".join(f"{n} is {getattr(want, n)!r} in the file, {getattr(have, n)!r} in the model" for n in differ)
        raise UserError(
            f"load: {path} does not fit this model's adapters: {pairs}. Load it into a plain model instead."
        )


def _require_base(model: nn.Module, config: AdapterConfig, base: dict[str, str], path: Path) -> None:
    state = find_state(model)
    found = _base_of_plain(model, config) if state is None else _base_of_adapted(model, state)
    if found["weights"] != base["weights"]:
        raise UserError(
            f"load: {path} was trained on another base model: a {base['class']} whose adapted weights have the digest "
            f"{base['weights'][:12]}, while those of this {found['class']} have {found['weights'][:12]}. Load the base "
            "model, pretrained tag and precision that it was trained on."
        )
    if found["blocks"] != base["blocks"]:
        raise UserError(
            f"load: {path} was trained on the same weights but on blocks of other module types, such as GELU for "
            "QuickGELU. Build the base model from the configuration it was trained on (open_clip: the -quickgelu name)."
        )


@torch.no_grad()
def _copy(model: nn.Module, tensors: dict[str, Tensor], replica: int, path: Path) -> None:
    parameters = {f"{n}.{k}": p for n, m in adapted_modules(model).items() for k, p in m.named_parameters()}
    wanted = {name: tuple(parameter.shape[1:]) for name, parameter in parameters.items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if wanted != found:
        name = min(n for n in wanted.keys() | found.keys() if wanted.get(n) != found.get(n))
        raise UserError(
            f"load: {path} does not fit this model: {name} has shape {found.get(name, 'nothing')} in the file and "
            f"{wanted.get(name, 'nothing')} in the model. The file is not what its JSON says; save the adapter again."
        )
    for name, parameter in parameters.items():
        parameter[replica].copy_(tensors[name])
