"""Put adapters into a frozen model, find them again, and take them out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from clipbench.adapters.attention import AdaptedAttention
from clipbench.adapters.config import AdapterConfig
from clipbench.adapters.dropout import UNSEEDED, site_seed
from clipbench.adapters.hosts import AdaptedLinear, Host
from clipbench.adapters.layouts import Place, find_places
from clipbench.adapters.lowrank import LowRank
from clipbench.errors import UserError

_ATTRIBUTE = "_clipbench_adapters"


@dataclass
class Site:
    """One replaced module: where it was, what it was, what stands there."""

    place: Place
    original: nn.Module
    host: Host

    def hosts(self) -> dict[str, Host]:
        """The host itself, and that of the output projection inside an attention, by their names in the model."""
        found: dict[str, Host] = {self.place.path: self.host}
        inner = getattr(self.host, "out_proj", None)
        if isinstance(inner, Host):
            found[f"{self.place.path}.out_proj"] = inner
        return found


@dataclass
class State:
    """What `adapt` left in a model."""

    config: AdapterConfig
    sites: list[Site]
    block_types: str
    merged: int | None = None
    folded: list[tuple[nn.Module, str, nn.Parameter]] = field(default_factory=list)


class Trainable(NamedTuple):
    """The parameters that an optimiser should get, and how many numbers they hold."""

    total: int
    parameters: list[nn.Parameter]


def adapt(model: nn.Module, config: AdapterConfig) -> nn.Module:
    """Put adapters into `model`, in place, and freeze every parameter that it had.

    The forward pass stays what it was: B is zero and DoRA's magnitudes are the norms. Attach a head of your own
    afterwards (or set its `requires_grad` again), and load base weights before: DoRA's magnitudes start from them.

    Args:
        model: An open_clip CLIP or its visual tower, a timm ViT, a HF CLIP or CLIPSeg, a MambaVision; or, with
            `AdapterConfig.patterns`, any module.
        config: What to put where.

    Returns:
        The same object.

    Raises:
        UserError: The model has adapters already, or nothing in it fits `config`.
    """
    if find_state(model) is not None:
        raise UserError("adapt: this model has adapters already. Call remove(model) first, or load the model anew.")
    places = find_places(model, config)
    types = block_types(model, places)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    sites = [_install(model, place, config) for place in places]
    object.__setattr__(model, _ATTRIBUTE, State(config, sites, types))
    _draw(model, config)
    return model


def remove(model: nn.Module) -> nn.Module:
    """Take the adapters out again: the very modules that were there before `adapt`, still frozen.

    Raises:
        UserError: The model has no adapters.
    """
    state = get_state(model)
    root = unwrap(model)
    for module, name, original in state.folded:
        setattr(module, name, original)
    for site in state.sites:
        site.original.train(site.host.training)
        put_module(root, site.place.path, site.original)
    delattr(root, _ATTRIBUTE)
    return model


def adapted_modules(model: nn.Module) -> dict[str, LowRank]:
    """The adapter of every adapted matrix, by name: ``visual.transformer.resblocks.0.attn.q``.

    That is the name of the replaced module, then the target's.

    Raises:
        UserError: The model has no adapters.
    """
    found: dict[str, LowRank] = {}
    for site in get_state(model).sites:
        for host in site.hosts().values():
            found.update({f"{site.place.path}.{name}": host.branch(name) for name in host.blocks})
    return found


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
        UserError: The number of seeds is not the number of replicas.
    """
    config = get_state(model).config
    if len(seeds) != config.replicas:
        raise UserError(f"set_dropout_seeds: got {len(seeds)} seeds for {config.replicas} replicas; give one for each.")
    for name, stream in _streams(model).items():
        rows = [[UNSEEDED if seed < 0 else site_seed(seed, name), 0, 0] for seed in seeds]
        stream.copy_(torch.tensor(rows, dtype=torch.int64))


def dropout_state(model: nn.Module) -> dict[str, Tensor]:
    """A copy of where every dropout stream stands, `[R, 3]` per matrix: what a checkpoint needs to go on exactly."""
    return {name: stream.clone() for name, stream in _streams(model).items()}


def set_dropout_state(model: nn.Module, state: dict[str, Tensor]) -> None:
    """Put the dropout streams back to what `dropout_state` returned.

    Raises:
        UserError: `state` belongs to other adapters.
    """
    streams = _streams(model)
    if {n: s.shape for n, s in state.items()} != {n: s.shape for n, s in streams.items()}:
        raise UserError("set_dropout_state: this state was taken from a model with other adapters or replicas.")
    for name, stream in streams.items():
        stream.copy_(state[name])


def find_state(model: nn.Module) -> State | None:
    """What `adapt` left in `model`, or in the model that a compiler or DistributedDataParallel wraps."""
    state = getattr(unwrap(model), _ATTRIBUTE, None)
    return state if isinstance(state, State) else None


def get_state(model: nn.Module) -> State:
    """As `find_state`.

    Raises:
        UserError: The model has no adapters.
    """
    state = find_state(model)
    if state is None:
        raise UserError(f"This {type(model).__name__} has no adapters. Call adapt(model, config) first.")
    return state


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside ``torch.compile`` and ``DistributedDataParallel``."""
    for wrapper in ("_orig_mod", "module"):
        inner = model._modules.get(wrapper)
        if isinstance(inner, nn.Module) and len(model._modules) == 1:
            return unwrap(inner)
    return model


def put_module(model: nn.Module, path: str, module: nn.Module) -> None:
    """Let `module` stand at `path` in `model`."""
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, module)


def _install(model: nn.Module, place: Place, config: AdapterConfig) -> Site:
    original = model.get_submodule(place.path)
    host: Host
    if isinstance(original, nn.MultiheadAttention):
        host = AdaptedAttention(original, tuple(place.parts), config)
    elif isinstance(original, nn.Linear):
        host = AdaptedLinear(original, _rows(original.out_features, place), config)
    else:
        raise UserError(f"adapt: {place.path} is a {type(original).__name__}, not a linear layer or an attention.")
    put_module(model, place.path, host)
    return Site(place, original, host)


def _rows(out_features: int, place: Place) -> dict[str, tuple[int, int]]:
    rows = {}
    for name, (index, count) in place.parts.items():
        if out_features % count:
            raise UserError(f"adapt: {place.path} has {out_features} outputs, which are not {count} equal parts.")
        size = out_features // count
        rows[name] = (index * size, (index + 1) * size)
    return rows


def _draw(model: nn.Module, config: AdapterConfig) -> None:
    """Draw every A in the model's order, replica r from a generator of its own."""
    seeds = config.init_seeds or torch.randint(2**62, (config.replicas,)).tolist()
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    for adapter in adapted_modules(model).values():
        adapter.draw(generators)


def _streams(model: nn.Module) -> dict[str, Tensor]:
    sites = get_state(model).sites
    return {f"{s.place.path}.{n}": t for s in sites for host in s.hosts().values() for n, t in host.streams.items()}


def block_types(model: nn.Module, places: Sequence[Place]) -> str:
    """Digest of the types of all modules in the adapted blocks: tells QuickGELU from GELU, which weights cannot."""
    blocks = sorted({place.block for place in places})
    names = [f"{b}.{n}:{type(m).__name__}" for b in blocks for n, m in model.get_submodule(b).named_modules()]
    return hashlib.sha256("\n".join(names).encode()).hexdigest()
