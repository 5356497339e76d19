"""The files of peft: what a folder of LoRA, DoRA, VeRA or AdaLoRA means here, and what peft loads of ours.

Source of the names: peft 0.21 ``src/peft/utils/save_and_load.py`` and the ``config.py`` of each tuner.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from clipbench.adapters.config import AdapterConfig
from clipbench.adapters.errors import AdapterError
from clipbench.adapters.kinds import AdaLoRA, Branch, DoRA, LoRA, VeRA
from clipbench.adapters.kinds.adalora import AdaLoRAOptions
from clipbench.adapters.kinds.vera import VeRAOptions
from clipbench.adapters.layouts import Block, find_blocks, hugging_face_name, hugging_face_place, locate
from clipbench.adapters.places import config_for
from clipbench.adapters.state import State

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
_KEYS = {
    "lora_A": "A", "lora_B": "B", "lora_E": "E", "lora_magnitude_vector": "magnitude",
    "vera_lambda_b": "b", "vera_lambda_d": "d",
}  # fmt: skip
_OTHER_BASE = ("pissa", "olora", "loftq", "corda", "lora_ga", "mica")
"""Starts that change the frozen weights, so that the adapter alone does not tell what was trained."""

Matrices = dict[str, dict[str, Tensor]]
"""Path of a linear layer to the tensors of its adapter."""


def read(
    model: nn.Module, config: Mapping[str, Any], tensors: Mapping[str, Tensor], folder: Path
) -> tuple[AdapterConfig, dict[str, Tensor], dict[str, Tensor]]:
    """A peft folder as our configuration, the adapters' tensors by our names, and what was trained beside them.

    Raises:
        AdapterError: It is of another kind, or the model has no layer for one of its matrices.
    """
    matrices, shared, trained = _sorted_out(tensors, folder)
    readers: dict[str, Callable[..., AdapterConfig]] = {
        "LORA": _read_lora,
        "VERA": _read_vera,
        "ADALORA": _read_adalora,
    }
    kind = str(config.get("peft_type"))
    if kind not in readers or not matrices:
        raise AdapterError(
            f"load: {folder} holds adapters of peft's kind {kind}; LORA, VERA and ADALORA can be loaded."
        )
    blocks = list(find_blocks(model))
    names = {path: _our_name(model, blocks, path, folder) for path in matrices}
    try:
        plain = readers[kind](config, matrices, names)
    except (TypeError, KeyError, ValueError) as error:
        if isinstance(error, AdapterError):
            raise
        raise AdapterError(f"load: {folder / CONFIG} does not describe an adapter of peft: {error!r}.") from error
    ours = {f"{names[path]}.{key}": tensor for path, held in matrices.items() for key, tensor in held.items()}
    ours |= {f"{name}.shared.{key}": tensor for name in names.values() for key, tensor in shared.items()}
    return config_for(model, set(names.values()), plain), ours, trained


def _sorted_out(tensors: Mapping[str, Tensor], folder: Path) -> tuple[Matrices, dict[str, Tensor], dict[str, Tensor]]:
    matrices: Matrices = {}
    shared: dict[str, Tensor] = {}
    trained: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        match = re.fullmatch(rf"{re.escape(_PREFIX)}(.+)\.({'|'.join(_KEYS)})(?:\.weight)?", key)
        if match:
            matrices.setdefault(match[1], {})[_KEYS[match[2]]] = tensor
        elif re.fullmatch(r"base_model\.vera_[AB]", key):
            shared[key[-1]] = tensor
        elif key.startswith(_PREFIX) and "lora_" not in key and "vera_" not in key:
            trained[key.removeprefix(_PREFIX)] = tensor
        else:
            raise AdapterError(f"load: {folder} holds {key}, which has no counterpart here.")
    return matrices, shared, trained


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


def _read_lora(config: Mapping[str, Any], matrices: Matrices, names: Mapping[str, str]) -> AdapterConfig:
    start = config.get("init_lora_weights", True)
    if isinstance(start, str) and start.lower().startswith(_OTHER_BASE):
        raise AdapterError(
            f"load: these adapters were started with peft's {start!r}, which changes the base's weights. Save them "
            "with peft's path_initial_model_for_weight_conversion, which makes plain LoRA of them."
        )
    alphas = {path: float(config["lora_alpha"]) for path in matrices}
    for path in matrices:
        for pattern, alpha in (config.get("alpha_pattern") or {}).items():
            alphas[path] = float(alpha) if re.match(rf"(.*\.)?({pattern})$", path) else alphas[path]
    rank, alpha = int(config["r"]), float(config["lora_alpha"])
    ranks = {path: held["A"].shape[0] for path, held in matrices.items()}
    return AdapterConfig(
        "dora" if config.get("use_dora") else "lora",
        rank,
        alpha,
        "alpha/sqrt(r)" if config.get("use_rslora") else "alpha/r",
        dropout=float(config.get("lora_dropout") or 0.0),
        rank_pattern={names[path].replace(".", r"\."): r for path, r in ranks.items() if r != rank},
        alpha_pattern={names[path].replace(".", r"\."): a for path, a in alphas.items() if a != alpha},
    )


def _read_vera(config: Mapping[str, Any], matrices: Matrices, names: Mapping[str, str]) -> AdapterConfig:  # noqa: ARG001
    options = VeRAOptions(int(config.get("projection_prng_key", 0)), float(config.get("d_initial", 0.1)))
    return AdapterConfig(
        "vera", int(config["r"]), dropout=float(config.get("vera_dropout") or 0.0), options=options
    )  # fmt: skip


def _read_adalora(config: Mapping[str, Any], matrices: Matrices, names: Mapping[str, str]) -> AdapterConfig:  # noqa: ARG001
    """Pruned triplets, which peft leaves out, come back as zeros; the divisor stays the rank at the start."""
    rank = int(config["init_r"])
    left = {key.removesuffix(".lora_E"): kept for key, kept in (config.get("rank_pattern") or {}).items()}
    left = {path.removeprefix(_PREFIX): torch.tensor(kept, dtype=torch.bool) for path, kept in left.items()}
    for path, held in matrices.items():
        kept = left.get(path, torch.ones(rank, dtype=torch.bool))
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


def written(state: State, replica: int, trained: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Configuration and tensors for peft of one replica.

    Raises:
        AdapterError: peft cannot hold it.
    """
    if state.config.norm_axis != "output" and state.config.kind == "dora":
        raise AdapterError(
            "save: peft's DoRA has one magnitude per output; norm_axis = 'input' cannot be written for it."
        )
    branches = {_their_name(state, name): branch for name, branch in state.branches().items()}
    kind = next(iter(branches.values()))
    writer = next(w for cls, w in _WRITERS if isinstance(kind, cls))
    config, tensors = writer(state.config, branches, replica)
    modules = sorted({name.rpartition(".")[0] for name in trained})
    tensors |= {_PREFIX + name: tensor for name, tensor in trained.items()}
    return {
        "auto_mapping": None,
        "base_model_name_or_path": "",
        "inference_mode": True,
        "task_type": None,
        "target_modules": list(branches),
        "modules_to_save": modules or None,
        **config,
    }, {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def _their_name(state: State, name: str) -> str:
    """The linear layer that peft adapts for our matrix: the same, or that of Hugging Face's CLIP for a fused one."""
    path, _, target = name.rpartition(".")
    place = next(site.place for site in state.sites if site.place.path == path)
    if all(isinstance(s.original, nn.Linear) and (0, 1) in s.place.parts.values() for s in state.sites):
        return path
    there = hugging_face_name(place.tower, place.layer, target)
    if there is None:
        raise AdapterError(f"save: {name} has no counterpart in Hugging Face's CLIP, so peft cannot load it.")
    return there


def _write_lora(
    config: AdapterConfig, branches: Mapping[str, Branch], replica: int
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """LoRA and DoRA as they are, every other kind as the LoRA that its factors make."""
    tensors: dict[str, Tensor] = {}
    sizes: dict[str, tuple[int, float]] = {}
    for path, branch in branches.items():
        down, up, scale = branch.factors()
        tensors[f"{_PREFIX}{path}.lora_A.weight"] = down[replica]
        tensors[f"{_PREFIX}{path}.lora_B.weight"] = up[replica]
        sizes[path] = (down.shape[1], scale * down.shape[1])
        if isinstance(branch, DoRA):
            tensors[f"{_PREFIX}{path}.lora_magnitude_vector"] = branch.magnitude[replica]
    rank, alpha = next(iter(sizes.values()))
    return {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": config.dropout,
        "use_dora": config.kind == "dora",
        "rank_pattern": {path: r for path, (r, _) in sizes.items() if r != rank},
        "alpha_pattern": {path: a for path, (_, a) in sizes.items() if a != alpha},
    }, tensors


def _write_vera(
    config: AdapterConfig, branches: Mapping[str, Branch], replica: int
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    options = cast(VeRAOptions, config.options)
    tensors: dict[str, Tensor] = {}
    for path, branch in branches.items():
        held = branch.stored(replica)
        tensors[f"{_PREFIX}{path}.vera_lambda_b"], tensors[f"{_PREFIX}{path}.vera_lambda_d"] = held["b"], held["d"]
        tensors["base_model.vera_A"], tensors["base_model.vera_B"] = held["shared.A"], held["shared.B"]
    return {
        "peft_type": "VERA",
        "r": config.rank,
        "projection_prng_key": options.key,
        "d_initial": options.d_initial,
        "save_projection": True,
        "vera_dropout": config.dropout,
    }, tensors


def _write_adalora(
    config: AdapterConfig, branches: Mapping[str, Branch], replica: int
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if config.scaling != "alpha/r" or config.rank_pattern or config.alpha_pattern:
        raise AdapterError("save: peft's AdaLoRA has one rank and one alpha, and the scaling alpha/r.")
    options = cast(AdaLoRAOptions, config.options)
    first, last = options.phases()
    keys = (("lora_A", "A"), ("lora_B", "B"), ("lora_E", "E"))
    tensors = {f"{_PREFIX}{p}.{t}": b.stored(replica)[o] for p, b in branches.items() for t, o in keys}
    return {
        "peft_type": "ADALORA",
        "r": config.rank,
        "init_r": config.rank,
        "target_r": options.target_rank,
        "total_step": options.total_steps or 1,
        "tinit": first if options.total_steps else 0,
        "tfinal": last if options.total_steps else 0,
        "deltaT": options.interval,
        "beta1": options.beta1,
        "beta2": options.beta2,
        "orth_reg_weight": options.orthogonality,
        "lora_alpha": config.alpha,
        "lora_dropout": config.dropout,
    }, tensors


_WRITERS: tuple[tuple[type[Branch], Any], ...] = ((AdaLoRA, _write_adalora), (VeRA, _write_vera), (LoRA, _write_lora))
