"""What peft loads of ours: the configuration and the tensors of a folder that it takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor, nn

from clipbench.adapters.config import AdapterConfig
from clipbench.adapters.errors import AdapterError
from clipbench.adapters.kinds import AdaLoRA, Branch, DoRA, LoRA, VeRA
from clipbench.adapters.kinds.adalora import AdaLoRAOptions
from clipbench.adapters.kinds.vera import VeRAOptions
from clipbench.adapters.layouts import hugging_face_name
from clipbench.adapters.peft_format import PREFIX
from clipbench.adapters.state import State


def written(
    root: nn.Module, state: State, replica: int, trained: Mapping[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
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
    if any(path != name.rpartition(".")[0] for path, name in zip(branches, state.branches(), strict=True)):
        _require_outside(state, trained)
    hosts = {path for site in state.sites for path in site.hosts()}
    biases = {n: f"{n[:-5]}.base_layer.bias" for n in trained if n.endswith(".bias") and n[:-5] in hosts}
    tensors |= {PREFIX + biases.get(name, name): tensor for name, tensor in trained.items()}
    return {
        "auto_mapping": None,
        "base_model_name_or_path": "",
        "inference_mode": True,
        "task_type": None,
        "target_modules": list(branches),
        "modules_to_save": _whole_modules(root, trained) or None,
        "bias": "all" if biases else "none",
        **config,
    }, {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def _whole_modules(root: nn.Module, trained: Mapping[str, Tensor]) -> list[str]:
    """Modules all of whose numbers were trained. A number of another module goes into peft's base model."""
    found = []
    for name in dict.fromkeys(name.rpartition(".")[0] for name in trained):
        held = [f"{name}.{key}" for key in root.get_submodule(name).state_dict()] if name else []
        inside = [key for key in held if key not in trained and not key.endswith("num_batches_tracked")]
        found += [name] if held and not inside else []
    return found


def _require_outside(state: State, trained: Mapping[str, Tensor]) -> None:
    """Names of matrices are translated into Hugging Face's; other names inside of the towers are not."""
    towers = {site.place.path.partition(".")[0] for site in state.sites}
    inside = [name for name in trained if "." not in name or name.partition(".")[0] in towers]
    if inside:
        raise AdapterError(
            f"save: {inside[0]} was trained beside the adapters and has no counterpart in Hugging Face's CLIP, whose "
            "names peft would look for. Save it with format='clipbench', which loses nothing."
        )


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
        tensors[f"{PREFIX}{path}.lora_A.weight"] = down[replica]
        tensors[f"{PREFIX}{path}.lora_B.weight"] = up[replica]
        sizes[path] = (down.shape[1], scale * down.shape[1])
        if isinstance(branch, DoRA):
            tensors[f"{PREFIX}{path}.lora_magnitude_vector"] = branch.magnitude[replica]
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
        tensors[f"{PREFIX}{path}.vera_lambda_b"], tensors[f"{PREFIX}{path}.vera_lambda_d"] = held["b"], held["d"]
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
    tensors = {f"{PREFIX}{p}.{t}": b.stored(replica)[o] for p, b in branches.items() for t, o in keys}
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
