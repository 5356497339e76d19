"""Put adapters into a frozen model, find them again, and take them out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from clipbench.adapters.attention import AdaptedAttention
from clipbench.adapters.base_model import describe_base, statistics
from clipbench.adapters.config import AdapterConfig
from clipbench.adapters.dropout import UNSEEDED, site_seed
from clipbench.adapters.errors import AdapterError
from clipbench.adapters.hosts import AdaptedLinear, Host
from clipbench.adapters.kinds import Branch
from clipbench.adapters.parsing import matches
from clipbench.adapters.places import Place, find_places, require_adaptable
from clipbench.adapters.state import Sets, Site, State, find_sets, get_sets, get_state, put_sets, unwrap


class Trainable(NamedTuple):
    """The parameters that an optimiser should get, and how many numbers they hold."""

    total: int
    parameters: list[nn.Parameter]


def adapt(model: nn.Module, config: AdapterConfig, name: str = "default") -> nn.Module:
    """Put adapters into `model`, in place, and freeze every parameter that it had.

    The forward pass stays what it was: the update starts at zero and DoRA's magnitudes are the norms (the frozen
    weights of ``qlora`` are rounded to 4 bits). Attach a head of your own afterwards (or set its `requires_grad`
    again, or name it in `AdapterConfig.also_trained`), and load base weights before: DoRA's magnitudes start from them.

    A base in bf16 or fp16 is taken as it is: adapters and norms are fp32, products are in the type of their input.
    Cast the base before, not after: a later cast takes the adapters along.

    Args:
        model: An open_clip CLIP or its visual tower, a timm ViT, a HF CLIP or CLIPSeg, a MambaVision; or, with
            `AdapterConfig.patterns`, any module.
        config: What to put where.
        name: What this set of adapters is called. A second set under another name becomes the active one.

    Returns:
        The same object.

    Raises:
        AdapterError: The model has a set of this name already, or lacks something that `config` asks for.
    """
    if not isinstance(config, AdapterConfig):
        raise AdapterError(
            f"adapt: {type(config).__name__} is no AdapterConfig. Write AdapterConfig(kind='lora', rank=8, alpha=16), "
            "or AdapterConfig.from_dict(...) for a table of its fields; peft's names raise an error that names ours."
        )
    sets = find_sets(model)
    if sets is not None and name in sets.by_name:
        raise AdapterError(
            "adapt: this model has adapters already. Call remove(model) first, load the model anew, or give the new "
            f"ones another name than {name!r}."
        )
    if sets is not None:
        _require_second_set(sets, config)
        deactivate(model)
    try:
        state = _installed(unwrap(model), config)
    except Exception:
        if sets is not None:
            activate(model, sets.active)
        raise
    put_sets(model, Sets({**(sets.by_name if sets else {}), name: state}, name))
    return model


def _installed(root: nn.Module, config: AdapterConfig) -> State:
    places = find_places(root, config)
    require_adaptable(root, places)
    free = _also_trained(root, config)
    base = describe_base(root, places, weights=config.branch_type.quantised)
    shapes = [shape for place in places for shape in matrix_shapes(root.get_submodule(place.path), place)]
    shared = config.branch_type.share(shapes, config)
    # All hosts are made before the first stands in the model: a failure leaves it untouched.
    sites = [_site(root, place, config, shared) for place in places]
    for parameter in root.parameters():
        parameter.requires_grad_(False)
    for parameter in free:
        parameter.requires_grad_(True)
    state = State(config, sites, base, statistics(root))
    _draw(state)
    for site in sites:
        site.put_host(root)
        for host, module, weight in site.frozen():
            if host.quantised is not None:
                setattr(module, weight, nn.Parameter(torch.empty(0), requires_grad=False))
    return state


def deactivate(model: nn.Module) -> None:
    """Take the active set out of the model without forgetting it, nor what is trained beside it."""
    state, root = get_state(model), unwrap(model)
    ours = {id(parameter) for branch in state.branches().values() for parameter in branch.parameters()}
    free = {n: p for n, p in root.named_parameters() if p.requires_grad and id(p) not in ours}
    moving = {name: root.get_buffer(name) for name in state.statistics}
    state.beside = {name: tensor.detach().clone() for name, tensor in (free | moving).items()}
    for parameter in free.values():
        parameter.requires_grad_(False)
    for module, weight, original in state.folded:
        setattr(module, weight, original)
    state.folded, state.merged = [], None
    for site in state.sites:
        site.put_original(root)


def activate(model: nn.Module, name: str) -> None:
    """Let the set `name` stand in the plain model, on the device of its frozen weights."""
    sets, root = get_sets(model), unwrap(model)
    sets.active = name
    for site in sets.by_name[name].sites:
        site.host.to(next(site.original.parameters()).device)
        site.put_host(root)
    have = dict(root.named_parameters()) | dict(root.named_buffers())
    for key, value in sets.by_name[name].beside.items():
        have[key].data.copy_(value)
        have[key].requires_grad_(isinstance(have[key], nn.Parameter))


def adapted_modules(model: nn.Module) -> dict[str, Branch]:
    """The adapter of every adapted matrix, by name: ``visual.transformer.resblocks.0.attn.q``.

    That is the name of the replaced module, then the target's.

    Raises:
        AdapterError: The model has no adapters.
    """
    return get_state(model).branches()


def trainable_parameters(model: nn.Module) -> Trainable:
    """Every parameter of `model` that is trained: the adapters' and whatever else asks for a gradient.

    With R replicas the adapters count R times.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    return Trainable(sum(p.numel() for p in parameters), parameters)


def set_dropout_seeds(model: nn.Module, seeds: Sequence[int]) -> None:
    """Restart the dropout streams, replica r with ``seeds[r]``; it then draws what a single-replica model would draw.

    Without a call to this, the masks come from torch's default generator.

    Raises:
        AdapterError: The number of seeds is not the number of replicas.
    """
    config = get_state(model).config
    if len(seeds) != config.replicas:
        raise AdapterError(
            f"set_dropout_seeds: got {len(seeds)} seeds for {config.replicas} replicas; give one for each."
        )
    for name, stream in _streams(model).items():
        rows = [[UNSEEDED if seed < 0 else site_seed(seed, name), 0, 0] for seed in seeds]
        stream.copy_(torch.tensor(rows, dtype=torch.int64))


def dropout_state(model: nn.Module) -> dict[str, Tensor]:
    """A copy of where every dropout stream stands, `[R, 3]` per matrix: what a checkpoint needs to go on exactly."""
    return {name: stream.clone() for name, stream in _streams(model).items()}


def set_dropout_state(model: nn.Module, state: dict[str, Tensor]) -> None:
    """Put the dropout streams back to what `dropout_state` returned.

    Raises:
        AdapterError: `state` belongs to other adapters.
    """
    streams = _streams(model)
    if {n: s.shape for n, s in state.items()} != {n: s.shape for n, s in streams.items()}:
        raise AdapterError("set_dropout_state: this state was taken from a model with other adapters or replicas.")
    for name, stream in streams.items():
        stream.copy_(state[name])


def _require_second_set(sets: Sets, config: AdapterConfig) -> None:
    if config.branch_type.quantised or any(s.config.branch_type.quantised for s in sets.by_name.values()):
        raise AdapterError(
            "adapt: several sets of adapters share the frozen weights, which kind = 'qlora' replaces. Call "
            "remove(model) first."
        )


def _also_trained(root: nn.Module, config: AdapterConfig) -> list[nn.Parameter]:
    free = []
    for pattern in config.also_trained:
        found = [module for name, module in root.named_modules() if name and matches(pattern, name)]
        parameters = [parameter for module in found for parameter in module.parameters()]
        if not parameters:
            raise AdapterError(
                f"adapt: also_trained: no module of this {type(root).__name__} with parameters matches {pattern!r}. "
                "Attach a head of your own before adapt, or set its requires_grad afterwards."
            )
        free += parameters
    return free


def _site(root: nn.Module, place: Place, config: AdapterConfig, shared: Any) -> Site:
    original = root.get_submodule(place.path)
    if isinstance(original, nn.MultiheadAttention):
        return Site(place, original, AdaptedAttention(original, tuple(place.parts), config, place.path, shared))
    assert isinstance(original, nn.Linear)  # noqa: S101  (places are checked before)
    host: Host = AdaptedLinear(original, _rows(original.out_features, place), config, place.path, shared)
    return Site(place, original, host)


def _rows(out_features: int, place: Place) -> dict[str, tuple[int, int]]:
    return {
        name: (index * out_features // count, (index + 1) * out_features // count)
        for name, (index, count) in place.parts.items()
    }


def matrix_shapes(module: nn.Module, place: Place) -> list[tuple[int, int]]:
    """Output and input size of every adapted matrix of a place."""
    if isinstance(module, nn.MultiheadAttention):
        return [(module.embed_dim, module.embed_dim)] * len(place.parts)
    assert isinstance(module, nn.Linear)  # noqa: S101
    return [(stop - start, module.in_features) for start, stop in _rows(module.out_features, place).values()]


def _draw(state: State) -> None:
    """Draw the start of every adapter in the model's order, replica r from a generator of its own."""
    seeds = state.config.init_seeds or torch.randint(2**62, (state.config.replicas,)).tolist()
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    for host in state.hosts():
        frozen = host.frozen_weight.detach()
        for name, rows in host.blocks.items():
            host.branch(name).draw(generators, frozen[slice(*rows)])


def _streams(model: nn.Module) -> dict[str, Tensor]:
    return {f"{host.path}.{name}": stream for host in get_state(model).hosts() for name, stream in host.streams.items()}
