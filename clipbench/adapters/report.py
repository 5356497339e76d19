"""What was adapted, as a table for people."""

from __future__ import annotations

from tabulate import tabulate
from torch import nn

from clipbench.adapters.config import TARGETS
from clipbench.adapters.inject import Site, adapted_modules, get_state


def summary(model: nn.Module) -> str:
    """A table with one line per tower, and the share of trained numbers in the whole.

    All counts are those of one replica. The share is trained / (frozen + trained), the figure that peft prints and that
    LoRA-CLIP's 0.27 to 2.04 % are.

    Raises:
        UserError: The model has no adapters.
    """
    state = get_state(model)
    config = state.config
    towers = list(dict.fromkeys(site.place.tower for site in state.sites))
    rows = [_row(tower, [site for site in state.sites if site.place.tower == tower]) for tower in towers]
    table = tabulate(rows, ["tower", "layers", "targets", "matrices", "parameters"], intfmt=",", tablefmt="github")
    adapters = [p for module in adapted_modules(model).values() for p in module.parameters()]
    ours = {id(p) for p in adapters}
    rest = [p for p in model.parameters() if id(p) not in ours]
    trained = sum(p.numel() for p in adapters) // config.replicas + sum(p.numel() for p in rest if p.requires_grad)
    total = sum(p.numel() for p in rest if not p.requires_grad) + trained
    title = f"{config.kind}, rank {config.rank}, scale {config.scale:g} ({config.scaling}), replicas {config.replicas}"
    return f"{title}\n\n{table}\n\ntrained {trained:,} of {total:,} ({100 * trained / total:.3f} %)"


def _row(tower: str, sites: list[Site]) -> list[str | int]:
    layers = sorted({site.place.layer for site in sites if site.place.layer is not None})
    hosts = [host for site in sites for host in site.hosts().values()]
    names = {name for host in hosts for name in host.blocks}
    count = sum(p.numel() for host in hosts for name in host.blocks for p in host.branch(name).parameters())
    return [
        tower,
        _ranges(layers),
        " ".join([name for name in TARGETS if name in names] or sorted(names)),
        sum(len(host.blocks) for host in hosts),
        count // sites[0].host.config.replicas,
    ]


def _ranges(layers: list[int]) -> str:
    """``[0, 1, 2, 5]`` to ``0-2 5``."""
    starts = [i for i in layers if i - 1 not in layers]
    stops = [i for i in layers if i + 1 not in layers]
    return " ".join(f"{a}-{b}" if a < b else f"{a}" for a, b in zip(starts, stops, strict=True))
