"""Which runs a figure of features draws: the registry decides what a run keeps beside its record.

A run that a ``scatter`` figure names keeps ``features.safetensors``: ``before`` and ``after`` ``[T, D]`` (float16: the
test features under the linear head before training and after its last epoch), ``labels`` ``[T]`` (int16), in the order
of ``predictions.npz``, and the class names as JSON under the metadata key ``classes``.
"""

from __future__ import annotations

from clipbench.plan.select import Planned, paper_of, source_of
from clipbench.plan.target_domains import runs_of
from clipbench.registry import Cell, resolve


def features_drawn(planned: Planned) -> bool:
    """Whether a figure draws the features of that run, whichever table asked for it first."""
    paper = paper_of(planned.table)
    cells = [
        (source_of(paper, figure), row, column)
        for figure in paper.tables.values()
        if figure.kind == "scatter"
        for panel in figure.panels
        for row in panel.rows
        for column in panel.columns
    ]
    wanted = (
        resolve(paper, source, Cell(source.row(row), source.column(column)), planned.overrides).protocol
        for source, row, column in dict.fromkeys(cells)
    )
    return any(planned.run.protocol in runs_of(protocol) for protocol in wanted)
