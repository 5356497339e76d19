"""The cells of some tables, or those that ``--only`` means, beside what was measured."""

from __future__ import annotations

from collections.abc import Sequence

from clipbench.compare.cells import Library
from clipbench.compare.verdict import Comparison, compare_paper
from clipbench.errors import UserError
from clipbench.plan.filters import Filter
from clipbench.registry.find import Named
from clipbench.registry.resolve import as_printed
from clipbench.results.record import Record


def compared(
    chosen: Sequence[Named], records: Sequence[Record], only: Sequence[str], profile: str | None, margin: float
) -> list[Comparison]:
    """Every printed cell of the tables; ``only`` are words as of ``--only``. Raises ``UserError`` if none is left."""
    results = compare_paper(chosen, Library(records, profile), margin)
    filters = [Filter.read(word) for word in only]
    tables = {table.id: (paper, table) for paper, table in chosen}

    def keeps(c: Comparison) -> bool:
        protocol = as_printed(*tables[c.experiment], c.cell.row, c.cell.column).protocol
        return all(one.keeps(c.cell, protocol, ()) for one in filters)

    kept = [c for c in results if keeps(c)] if filters else results
    if filters and not kept:
        raise UserError("--only leaves no cell of these tables; `clipbench show TABLE` lists rows and columns.")
    return kept
