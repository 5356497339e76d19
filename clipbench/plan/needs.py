"""What experiments need on this machine, data sets and weights, and what of it is here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clipbench.data.catalogue import entry, known
from clipbench.data.download.presence import Presence, look
from clipbench.models.weights.catalogue import WITHOUT_FILE, checkpoint
from clipbench.plan.runnable import why_not
from clipbench.plan.select import runnable_cells, source_of
from clipbench.registry import Cell, Overrides, Paper, Resolved, Table, find, resolve


@dataclass(frozen=True)
class Needs:
    """One experiment: its cells' protocols, and the data sets and weights (backbone, weights) that they name."""

    experiment: str
    cells: Sequence[Resolved]
    datasets: Sequence[str]
    weights: Sequence[tuple[str, str]]

    def runs_now(self, here: Here) -> int:
        """Cells that a run could fill now: implemented, data complete, weights on this machine."""
        return sum(why_not(cell) is None and not here.lacking(cell) for cell in self.cells)


class Here:
    """What is on this machine; each data set and checkpoint is looked for once."""

    def __init__(self, data_root: Path) -> None:
        self.data_root = data_root
        self._looked: dict[str, Presence] = {}
        self._weights: dict[tuple[str, str], bool] = {}

    def dataset(self, name: str) -> Presence:
        """How a data set of the catalogue stands below the data root."""
        if name not in self._looked:
            self._looked[name] = look(entry(name), self.data_root)
        return self._looked[name]

    def lacking(self, cell: Resolved) -> list[str]:
        """Words for what one cell lacks."""
        protocol = cell.protocol
        data = [protocol.dataset] if protocol.dataset and not self._complete(protocol.dataset) else []
        return data + [" ".join(pair) for pair in _weights(cell) if not self._have(pair)]

    def still_needed(self, needs: Needs) -> tuple[list[str], list[str]]:
        """The data sets and the weights that an experiment names and that are not here."""
        data = [name for name in needs.datasets if not self._complete(name)]
        return data, [" ".join(pair) for pair in needs.weights if not self._have(pair)]

    def _have(self, pair: tuple[str, str]) -> bool:
        if pair not in self._weights:
            self._weights[pair] = has_weights(*pair)
        return self._weights[pair]

    def _complete(self, name: str) -> bool:
        return name in known() and self.dataset(name).state == "complete"


def needs_of(patterns: Sequence[str]) -> list[Needs]:
    """For every experiment that the words name; a figure needs what the table needs that it draws."""
    return [_needs(paper, experiment) for paper, experiment in find(patterns)]


def has_weights(backbone: str, weights: str) -> bool:
    """Whether the weights need no file, or their file is in a cache."""
    found = checkpoint(backbone, weights)
    return weights in WITHOUT_FILE or (found is not None and found.on_disk() is not None)


def smoke_cells(patterns: Sequence[str]) -> dict[str, int]:
    """For every experiment, the cells that the smoke profile fills: it needs neither data nor weights."""
    smoke, counts = Overrides("smoke"), {}
    for paper, experiment in find(patterns):
        source = source_of(paper, experiment)
        cells = _cells(experiment, source) if source.protocol in paper.smoke else []
        counts[experiment.id] = sum(why_not(resolve(paper, source, cell, smoke)) is None for cell in cells)
    return counts


def _cells(experiment: Table, source: Table) -> list[Cell]:
    drawn = {(row, column) for panel in experiment.panels for row in panel.rows for column in panel.columns}
    return [c for c in runnable_cells(source) if not drawn or (c.row.id, c.column.id) in drawn]


def _needs(paper: Paper, experiment: Table) -> Needs:
    source = source_of(paper, experiment)
    resolved = [resolve(paper, source, cell) for cell in _cells(experiment, source)]
    datasets = dict.fromkeys(r.protocol.dataset for r in resolved if r.protocol.dataset)
    weights = dict.fromkeys(pair for r in resolved for pair in _weights(r))
    return Needs(experiment.id, resolved, tuple(datasets), tuple(weights))


def _weights(cell: Resolved) -> list[tuple[str, str]]:
    protocol = cell.protocol
    return [(protocol.backbone, protocol.weights)] if protocol.backbone and protocol.weights else []
