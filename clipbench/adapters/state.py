"""What `adapt` leaves in a model: which modules were replaced by what, under which names, and which set is in use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from clipbench.adapters.config import AdapterConfig
from clipbench.adapters.errors import AdapterError
from clipbench.adapters.hosts import Host
from clipbench.adapters.kinds import Branch
from clipbench.adapters.places import Place

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

    def frozen(self) -> Iterator[tuple[Host, nn.Module, str]]:
        """Each host, the original module under it, and the name of the weight there."""
        for path, host in self.hosts().items():
            inner = self.original.get_submodule(path[len(self.place.path) + 1 :])
            yield host, inner, "in_proj_weight" if isinstance(inner, nn.MultiheadAttention) else "weight"

    def put_host(self, root: nn.Module) -> None:
        """Let the adapted module stand in the model."""
        self.host.train(self.original.training)
        self._put(root, self.host, adapted=True)

    def put_original(self, root: nn.Module) -> None:
        """Let the original module stand in the model."""
        self.original.train(self.host.training)
        self._put(root, self.original, adapted=False)

    def _put(self, root: nn.Module, module: nn.Module, *, adapted: bool) -> None:
        parent = root.get_submodule(self.place.path.rpartition(".")[0])
        setattr(parent, self.place.path.rpartition(".")[2], module)
        if getattr(parent, "q_bias", None) is not None and (0, 1) not in self.place.parts.values():
            # timm's EVA would use the fused weight directly; so it calls the layer, and adds its biases after.
            if not hasattr(self, "_separate"):
                self._separate = bool(parent.qkv_bias_separate)
            object.__setattr__(parent, "qkv_bias_separate", adapted or self._separate)


@dataclass
class State:
    """One set of adapters in a model.

    Attributes:
        config: What was asked.
        sites: The replaced modules.
        base: What the frozen model is, for a file: class, digest of block types, and of weights where they are kept in
            4 bits and can no longer be asked.
        statistics: Running statistics of normalisation layers as they were before.
        merged: The replica whose weights are folded in; None if none is.
        folded: What the folded weights replaced.
        beside: Names and values of what is trained beside the adapters, and of running statistics, while another set is
            in use.
    """

    config: AdapterConfig
    sites: list[Site]
    base: dict[str, str]
    statistics: dict[str, Tensor] = field(default_factory=dict)
    merged: int | None = None
    folded: list[tuple[nn.Module, str, nn.Parameter]] = field(default_factory=list)
    beside: dict[str, Tensor] = field(default_factory=dict)

    def branches(self) -> dict[str, Branch]:
        """Every adapter by its name: the replaced module's, then the target's."""
        hosts = [(site.place.path, host) for site in self.sites for host in site.hosts().values()]
        return {f"{path}.{name}": host.branch(name) for path, host in hosts for name in host.blocks}

    def hosts(self) -> Iterator[Host]:
        """Every adapted module."""
        for site in self.sites:
            yield from site.hosts().values()


@dataclass
class Sets:
    """All sets of adapters of a model, by name; the active one stands in the model, the others beside it."""

    by_name: dict[str, State]
    active: str


def find_sets(model: nn.Module) -> Sets | None:
    """What `adapt` left in `model`, or in the model that a compiler or DistributedDataParallel wraps."""
    found: Any = getattr(unwrap(model), _ATTRIBUTE, None)
    return found if isinstance(found, Sets) else None


def put_sets(model: nn.Module, sets: Sets | None) -> None:
    """Leave `sets` in the model, or take away what was there."""
    root = unwrap(model)
    if sets is None:
        delattr(root, _ATTRIBUTE)
    else:
        object.__setattr__(root, _ATTRIBUTE, sets)


def find_state(model: nn.Module) -> State | None:
    """The active set of adapters."""
    sets = find_sets(model)
    return None if sets is None else sets.by_name[sets.active]


def get_sets(model: nn.Module) -> Sets:
    """As `find_sets`.

    Raises:
        AdapterError: The model has no adapters.
    """
    sets = find_sets(model)
    if sets is None:
        raise AdapterError(f"This {type(model).__name__} has no adapters. Call adapt(model, config) first.")
    return sets


def get_state(model: nn.Module) -> State:
    """As `find_state`.

    Raises:
        AdapterError: The model has no adapters.
    """
    sets = get_sets(model)
    return sets.by_name[sets.active]


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside ``torch.compile`` and ``DistributedDataParallel``."""
    for wrapper in ("_orig_mod", "module"):
        inner = model._modules.get(wrapper)
        if isinstance(inner, nn.Module) and len(model._modules) == 1:
            return unwrap(inner)
    return model
