"""What was adapted, as a table for people."""

from __future__ import annotations

from torch import nn

from clipbench.adapters.base_model import trained_beside
from clipbench.adapters.parsing import TARGETS
from clipbench.adapters.state import Site, get_state


def summary(model: nn.Module) -> str:
    """A table with one line per tower, and the share of trained numbers in the whole.

    All counts are those of one replica. The share is trained / (frozen + trained), the figure that peft prints and that
    LoRA-CLIP's 0.27 to 2.04 % are. What is trained or has moved beside the adapters is named.

    Raises:
        AdapterError: The model has no adapters.
    """
    state = get_state(model)
    config = state.config
    towers = list(dict.fromkeys(site.place.tower for site in state.sites))
    rows = [_row(tower, [site for site in state.sites if site.place.tower == tower]) for tower in towers]
    adapters = [p for branch in state.branches().values() for p in branch.parameters()]
    ours = {id(p) for p in adapters}
    rest = [p for p in model.parameters() if id(p) not in ours]
    trained = sum(p.numel() for p in adapters) // config.replicas + sum(p.numel() for p in rest if p.requires_grad)
    total = sum(p.numel() for p in rest if not p.requires_grad) + trained
    title = f"{config.kind}, rank {config.rank}, scale {config.scale:g} ({config.scaling}), replicas {config.replicas}"
    text = f"{title}\n\n{_table(rows)}\n\ntrained {trained:,} of {total:,} ({100 * trained / total:.3f} %)"
    beside = list(trained_beside(model, state))
    return f"{text}\ntrained or moved beside the adapters, and saved with them: {', '.join(beside)}" if beside else text


def _row(tower: str, sites: list[Site]) -> list[str]:
    layers = sorted({site.place.layer for site in sites if site.place.layer is not None})
    hosts = [host for site in sites for host in site.hosts().values()]
    names = {name for host in hosts for name in host.blocks}
    count = sum(p.numel() for host in hosts for name in host.blocks for p in host.branch(name).parameters())
    return [
        tower,
        _ranges(layers),
        " ".join([name for name in TARGETS if name in names] or sorted(names)),
        f"{sum(len(host.blocks) for host in hosts):,}",
        f"{count // sites[0].host.config.replicas:,}",
    ]


def _table(rows: list[list[str]]) -> str:
    """Markdown; the last two columns are numbers."""
    head = ["tower", "layers", "targets", "matrices", "parameters"]
    widths = [max(len(word) + 2, *(len(row[i]) for row in rows)) for i, word in enumerate(head)]
    rule = [f"{'-' * (w + 1)}:" if i > 2 else "-" * (w + 2) for i, w in enumerate(widths)]
    lines = [
        [c.rjust(w) if i > 2 else c.ljust(w) for i, (c, w) in enumerate(zip(r, widths, strict=True))]
        for r in [head, *rows]
    ]
    body = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([body[0], "|" + "|".join(rule) + "|", *body[1:]])


def _ranges(layers: list[int]) -> str:
    """``[0, 1, 2, 5]`` to ``0-2 5``."""
    starts = [i for i in layers if i - 1 not in layers]
    stops = [i for i in layers if i + 1 not in layers]
    return " ".join(f"{a}-{b}" if a < b else f"{a}" for a, b in zip(starts, stops, strict=True))
