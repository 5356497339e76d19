"""The files of peft: what a folder of LoRA, DoRA, VeRA or AdaLoRA means here.

Source of the names: peft 0.21 ``src/peft/utils/save_and_load.py`` and the ``config.py`` of each tuner.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clipbench.adapters.config import AdapterConfig
from clipbench.adapters.errors import AdapterError
from clipbench.adapters.inject import matrix_shapes
from clipbench.adapters.kinds import VeRA
from clipbench.adapters.kinds.adalora import AdaLoRAOptions
from clipbench.adapters.kinds.vera import VeRAOptions
from clipbench.adapters.layouts import Block, find_blocks, hugging_face_place, locate
from clipbench.adapters.places import config_for, find_places

CONFIG, TENSORS, PICKLED = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
PREFIX = "base_model.model."
_KEYS = {
    "lora_A": "A", "lora_B": "B", "lora_E": "E", "lora_magnitude_vector": "magnitude",
    "vera_lambda_b": "b", "vera_lambda_d": "d",
}  # fmt: skip
_OTHER_BASE = ("pissa", "olora", "loftq", "corda", "lora_ga", "mica")
"""Starts that change the frozen weights, so that the adapter alone does not tell what was trained."""

_OTHER_MATHEMATICS = (
    "alora_invocation_tokens", "arrow_config", "kasa_config", "layer_replication", "lora_bias", "monteclora_config",
    "use_bdlora", "use_qalora", "velora_config",
)  # fmt: skip
"""Settings of peft with which LoRA's numbers mean something else."""
_NEEDS = {"LORA": {"A", "B"}, "VERA": {"b", "d"}, "ADALORA": {"A", "B", "E"}}


@dataclass(frozen=True)
class Matrix:
    """The adapter of one matrix: the linear layer as peft calls it, and the tensors by our names."""

    path: str
    held: dict[str, Tensor]


Matrices = dict[str, Matrix]
"""Our name of a matrix, as in `adapted_modules`, to its adapter."""


def read(
    model: nn.Module, config: Mapping[str, Any], tensors: Mapping[str, Tensor], folder: Path
) -> tuple[AdapterConfig, dict[str, Tensor], dict[str, Tensor]]:
    """A peft folder as our configuration, the adapters' tensors by our names, and what was trained beside them.

    Raises:
        AdapterError: It is of another kind, or the model has no layer for one of its matrices.
    """
    kind = str(config.get("peft_type"))
    _require_kind(config, kind, folder)
    found, shared, trained = _sorted_out(tensors, folder)
    needs = _NEEDS[kind] | ({"magnitude"} if config.get("use_dora") else set())
    for path, held in found.items():
        if set(held) != needs:
            raise AdapterError(
                f"load: {folder} holds {', '.join(sorted(held))} of {path}; a {kind} of peft with this "
                f"{CONFIG} has {', '.join(sorted(needs))}. Save the adapter again."
            )
    matrices = _ours(model, found, folder)
    if not matrices:
        raise AdapterError(f"load: {folder} holds no adapter of a linear layer that this {type(model).__name__} calls.")
    readers: dict[str, Callable[..., AdapterConfig]] = {
        "LORA": _read_lora,
        "VERA": _read_vera,
        "ADALORA": _read_adalora,
    }
    try:
        plain = readers[kind](config, matrices)
    except (AttributeError, KeyError, TypeError, ValueError, re.error) as error:
        if isinstance(error, AdapterError):
            raise
        raise AdapterError(f"load: {folder / CONFIG} does not describe an adapter of peft: {error!r}.") from error
    ours = {f"{name}.{key}": tensor for name, matrix in matrices.items() for key, tensor in matrix.held.items()}
    described = config_for(model, set(matrices), plain)
    if kind == "VERA":
        shared = shared or _drawn(model, described)
        ours |= {f"{name}.shared.{key}": tensor for name in matrices for key, tensor in shared.items()}
    return described, ours, trained


def _require_kind(config: Mapping[str, Any], kind: str, folder: Path) -> None:
    if kind not in _NEEDS:
        raise AdapterError(
            f"load: {folder} holds an adapter of peft's kind {kind}; LORA (with or without use_dora), VERA and ADALORA "
            "can be loaded."
        )
    other = [name for name in _OTHER_MATHEMATICS if config.get(name)]
    if other:
        raise AdapterError(
            f"load: {folder / CONFIG} sets peft's {other[0]}, with which the numbers are no plain {kind}. It cannot be "
            "loaded here; use peft for it, or train without."
        )
    start = config.get("init_lora_weights", True)
    if isinstance(start, str) and start.lower().startswith(_OTHER_BASE):
        raise AdapterError(
            f"load: these adapters were started with peft's {start!r}, which changes the base's weights. Save them "
            "with peft's path_initial_model_for_weight_conversion, which makes plain LoRA of them."
        )


def _sorted_out(
    tensors: Mapping[str, Tensor], folder: Path
) -> tuple[dict[str, dict[str, Tensor]], dict[str, Tensor], dict[str, Tensor]]:
    matrices: dict[str, dict[str, Tensor]] = {}
    shared: dict[str, Tensor] = {}
    trained: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        plain = key.replace(".base_layer.", ".")  # what peft calls a layer inside of an adapted one, and its bias
        match = re.fullmatch(rf"{re.escape(PREFIX)}(.+)\.({'|'.join(_KEYS)})(?:\.weight)?", plain)
        if match:
            matrices.setdefault(match[1], {})[_KEYS[match[2]]] = tensor
        elif re.fullmatch(r"base_model\.vera_[AB]", key):
            shared[key[-1]] = tensor
        elif key.startswith(PREFIX) and not re.search(r"lora_|vera_|token_adapter", key):
            trained[plain.removeprefix(PREFIX)] = tensor
        else:
            raise AdapterError(f"load: {folder} holds {key}, which has no counterpart here.")
    return matrices, shared, trained


def _ours(model: nn.Module, found: dict[str, dict[str, Tensor]], folder: Path) -> Matrices:
    """What peft holds, by our names.

    An adapter that peft puts on the output projection alone of an ``nn.MultiheadAttention`` is left out: the attention
    never calls it, there as here.
    """
    modules, blocks = dict(model.named_modules()), list(find_blocks(model))
    matrices: Matrices = {}
    for path, held in found.items():
        if isinstance(modules.get(path), nn.MultiheadAttention):
            raise AdapterError(
                f"load: {folder} adapts the whole nn.MultiheadAttention {path}, which cannot be loaded here. Train "
                "with targets='qkvo' instead, which does not unfuse it."
            )
        if not isinstance(modules.get(path.rpartition(".")[0]), nn.MultiheadAttention):
            matrices[_our_name(model, blocks, path, folder)] = Matrix(path, held)
    return matrices


def _our_name(model: nn.Module, blocks: list[Block], path: str, folder: Path) -> str:
    """The name, as in `adapted_modules`, of the matrix that peft knows as the linear layer `path`."""
    for block in blocks:
        for target in block.layout.targets if path.startswith(f"{block.path}.") else ():
            if locate(model, block, target) == (path, (0, 1)):
                return f"{path}.{target}"
    if isinstance(dict(model.named_modules()).get(path), nn.Linear):
        return f"{path}.linear"
    place = hugging_face_place(path)
    for block in blocks if place is not None else ():
        if place is not None and (block.tower, block.layer) == place[:2]:
            located = locate(model, block, place[2])
            if located is not None:
                return f"{located[0]}.{place[2]}"
    raise AdapterError(f"load: {folder} adapts {path}, and this {type(model).__name__} has no such layer.")


def _of_pattern(patterns: Any, path: str, default: Any) -> Any:
    """What peft's rank_pattern or alpha_pattern gives to a layer: the first that matches counts."""
    found = (value for pattern, value in (patterns or {}).items() if re.match(rf"(.*\.)?({pattern})$", path))
    return next(found, default)


def _read_lora(config: Mapping[str, Any], matrices: Matrices) -> AdapterConfig:
    rank, alpha = int(config["r"]), float(config["lora_alpha"])
    ranks = {name: int(_of_pattern(config.get("rank_pattern"), m.path, rank)) for name, m in matrices.items()}
    alphas = {name: float(_of_pattern(config.get("alpha_pattern"), m.path, alpha)) for name, m in matrices.items()}
    return AdapterConfig(
        "dora" if config.get("use_dora") else "lora",
        rank,
        alpha,
        "alpha/sqrt(r)" if config.get("use_rslora") else "alpha/r",
        dropout=float(config.get("lora_dropout") or 0.0),
        rank_pattern={name.replace(".", r"\."): r for name, r in ranks.items() if r != rank},
        alpha_pattern={name.replace(".", r"\."): a for name, a in alphas.items() if a != alpha},
    )


def _read_vera(config: Mapping[str, Any], matrices: Matrices) -> AdapterConfig:  # noqa: ARG001
    options = VeRAOptions(int(config.get("projection_prng_key", 0)), float(config.get("d_initial", 0.1)))
    return AdapterConfig(
        "vera", int(config["r"]), dropout=float(config.get("vera_dropout") or 0.0), options=options
    )  # fmt: skip


def _read_adalora(config: Mapping[str, Any], matrices: Matrices) -> AdapterConfig:
    """Pruned triplets, which peft leaves out, come back as zeros; the divisor stays the rank at the start."""
    rank = int(config["init_r"])
    left = {key.removesuffix(".lora_E"): kept for key, kept in (config.get("rank_pattern") or {}).items()}
    left = {path.removeprefix(PREFIX): torch.tensor(kept, dtype=torch.bool) for path, kept in left.items()}
    for matrix in matrices.values():
        held, kept = matrix.held, left.get(matrix.path, torch.ones(rank, dtype=torch.bool))
        for key, dim in (("A", 0), ("E", 0), ("B", 1)):
            if held[key].shape[dim] == rank:
                continue
            shape = list(held[key].shape)
            shape[dim] = rank
            full = held[key].new_zeros(shape)
            held[key] = full.index_copy(dim, kept.nonzero()[:, 0], held[key])
        held["kept"] = kept
    options = AdaLoRAOptions(target_rank=int(config["target_r"]), orthogonality=float(config["orth_reg_weight"]))
    alpha, dropout = float(config["lora_alpha"]), float(config.get("lora_dropout") or 0.0)
    return AdapterConfig("adalora", rank, alpha, "alpha/r", dropout=dropout, options=options)


def _drawn(model: nn.Module, config: AdapterConfig) -> dict[str, Tensor]:
    """VeRA's shared matrices where peft saved none (``save_projection=False``): both draw the same from the key."""
    places = find_places(model, config)
    shapes = [shape for place in places for shape in matrix_shapes(model.get_submodule(place.path), place)]
    down, up = VeRA.share(shapes, config).like(torch.empty(0))
    return {"A": down, "B": up}
