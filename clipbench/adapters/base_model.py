"""What a frozen model is: digests that tell whether an adapter was trained on it, and what is trained beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import cast

from torch import Tensor, nn

from clipbench.adapters.parsing import matches
from clipbench.adapters.places import Place
from clipbench.adapters.state import State, unwrap

_NORMALISATION = (nn.modules.batchnorm._NormBase,)


def describe_base(root: nn.Module, places: Sequence[Place], *, weights: bool = True) -> dict[str, str]:
    """Class, and digests of block types and, with `weights`, of the matrices at `places` of a plain model."""
    found = {"class": type(root).__name__, "blocks": _block_types(root, places)}
    return {**found, "weights": _digest(_plain_weights(root, places))} if weights else found


def describe_adapted(state: State) -> dict[str, str]:
    """The same of an adapted model."""
    weights = ((name, host.frozen_weight) for site in state.sites for name, host in site.hosts().items())
    return state.base if "weights" in state.base else {**state.base, "weights": _digest(weights)}


def _plain_weights(root: nn.Module, places: Sequence[Place]) -> list[tuple[str, Tensor]]:
    weights: list[tuple[str, Tensor]] = []
    for place in places:
        module = root.get_submodule(place.path)
        if isinstance(module, nn.MultiheadAttention):
            weights.append((place.path, module.in_proj_weight))
            weights += [(f"{place.path}.out_proj", module.out_proj.weight)] if "o" in place.parts else []
        else:
            weights.append((place.path, cast(Tensor, module.weight)))
    return weights


def _digest(weights: Iterable[tuple[str, Tensor]]) -> str:
    """SHA-256 of names, shapes and all values (as fp32) of the adapted matrices: half a second for a ViT-L/14."""
    digest = hashlib.sha256()
    for name, weight in weights:
        digest.update(f"{name}{tuple(weight.shape)}".encode())
        if not weight.is_meta:
            digest.update(weight.detach().float().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def _block_types(model: nn.Module, places: Sequence[Place]) -> str:
    """Digest of the types of all modules in the adapted blocks: tells QuickGELU from GELU, which weights cannot."""
    blocks = sorted({place.block for place in places})
    names = [f"{b}.{n}:{type(m).__name__}" for b in blocks for n, m in model.get_submodule(b).named_modules()]
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def statistics(root: nn.Module) -> dict[str, Tensor]:
    """Copies of batch normalisation's running statistics, which a forward pass in training mode moves."""
    return {
        f"{name}.{key}": buffer.clone()
        for name, module in root.named_modules()
        if isinstance(module, _NORMALISATION)
        for key, buffer in module.named_buffers(recurse=False)
        if not buffer.is_meta
    }


def trained_beside(model: nn.Module, state: State, replica: int = 0) -> dict[str, Tensor]:
    """What differs from the base besides the adapters, by name.

    That is every parameter outside of them that asks for a gradient, every buffer of modules in
    `AdapterConfig.also_trained`, and running statistics that have moved since `adapt`. A module that keeps a copy of
    itself for each replica says by its method ``of_replica`` what they are in the base.
    """
    root = unwrap(model)
    ours = {id(p) for branch in state.branches().values() for p in branch.parameters()}
    inside = tuple(f"{path}." for site in state.sites for path in site.hosts())
    found: dict[str, Tensor] = {n: p for n, p in root.named_parameters() if p.requires_grad and id(p) not in ours}
    for path, module in root.named_modules():
        if hasattr(module, "of_replica"):
            found = {name: tensor for name, tensor in found.items() if not name.startswith(f"{path}.")}
            found |= {f"{path}.{name}": tensor for name, tensor in module.of_replica(replica).items()}
    for name, buffer in root.named_buffers():
        named = any(matches(rf"(?:{pattern})\..*", name) for pattern in state.config.also_trained)
        before = state.statistics.get(name)
        moved = before is not None and not bool((before == buffer.to(before)).all())
        if (named or moved) and not name.startswith(inside):
            found[name] = buffer
    return found
