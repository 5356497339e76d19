"""What cells need on this machine, data sets and weights, and how many of a table's could run: one count for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from clipbench.data.catalogue import entry, known
from clipbench.data.download.presence import Presence, look
from clipbench.models.weights.catalogue import WITHOUT_FILE, checkpoint
from clipbench.plan.runnable import missing_reason, why_not
from clipbench.plan.select import cells_of, source_of
from clipbench.registry import Cell, Paper, Resolved, Table, find
from clipbench.registry.resolve import as_printed, as_smoke


@dataclass(frozen=True)
class Counts:
    """The cells of a table that a run could fill, by what is in the way; the first thing counts."""

    cells: int
    runnable: int
    data_missing: int
    weights_missing: int
    not_implemented: int
    smoke: int

    def as_dict(self) -> dict[str, int]:
        """By the words that every command uses."""
        return asdict(self)


@dataclass(frozen=True)
class Needs:
    """One table or figure: its cells' protocols, and the data sets and weights (backbone, weights) that they name."""

    table: str
    cells: Sequence[Resolved]
    datasets: Sequence[str]
    weights: Sequence[tuple[str, str]]


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

    def count(self, paper: Paper, figure: Table) -> Counts:
        """Of the cells that a run could fill: how many can, and what the others lack."""
        table = source_of(paper, figure)
        cells = cells_of(figure, table)
        states = [self._state(paper, table, cell) for cell in cells]
        painted = cells if table.protocol in paper.smoke else []
        in_smoke = [why_not(as_smoke(paper, table, cell.row, cell.column)) for cell in painted]
        return Counts(
            cells=len(cells),
            runnable=states.count("runnable"),
            data_missing=states.count("data missing"),
            weights_missing=states.count("weights missing"),
            not_implemented=states.count("not implemented"),
            smoke=in_smoke.count(None),
        )

    def still_needed(self, needs: Needs) -> tuple[list[str], list[str]]:
        """The data sets and the weights that a table names and that are not here."""
        data = [name for name in needs.datasets if not self._complete(name)]
        return data, [" ".join(pair) for pair in needs.weights if not self.has_weights(pair)]

    def has_weights(self, pair: tuple[str, str]) -> bool:
        """Whether the weights of a backbone need no file, or their file is in a cache."""
        if pair not in self._weights:
            self._weights[pair] = has_weights(*pair)
        return self._weights[pair]

    def _state(self, paper: Paper, table: Table, place: Cell) -> str:
        if missing_reason(paper, table, place):
            return "not implemented"
        cell = as_printed(paper, table, place.row, place.column)
        if not self._complete(cell.protocol.need("dataset")):
            return "data missing"
        return "runnable" if all(self.has_weights(pair) for pair in weights_of(cell)) else "weights missing"

    def _complete(self, name: str) -> bool:
        return name in known() and self.dataset(name).state == "complete"


def needs_of(patterns: Sequence[str]) -> list[Needs]:
    """For every table and figure that the words name; a figure needs what the table needs that it draws."""
    return [_needs(paper, figure) for paper, figure in find(patterns)]


def has_weights(backbone: str, weights: str) -> bool:
    """Whether the weights need no file, or their file is in a cache."""
    found = checkpoint(backbone, weights)
    return weights in WITHOUT_FILE or (found is not None and found.on_disk() is not None)


def weights_of(cell: Resolved) -> list[tuple[str, str]]:
    """The backbone and weights that a cell names; none where it names none."""
    protocol = cell.protocol
    return [(protocol.backbone, protocol.weights)] if protocol.backbone and protocol.weights else []


def _needs(paper: Paper, figure: Table) -> Needs:
    table = source_of(paper, figure)
    resolved = [as_printed(paper, table, cell.row, cell.column) for cell in cells_of(figure, table)]
    datasets = dict.fromkeys(r.protocol.dataset for r in resolved if r.protocol.dataset)
    weights = dict.fromkeys(pair for r in resolved for pair in weights_of(r))
    return Needs(figure.id, resolved, tuple(datasets), tuple(weights))
