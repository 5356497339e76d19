"""The paper against our runs: the package, which can be called as ``clipbench.compare("table1")`` too."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clipbench.compare.verdict import Comparison


class Compare(ModuleType):
    """A package has the name of this function: the import of any module in it would hide a function of that name."""

    def __call__(
        self,
        *tables: str,
        only: Mapping[str, object] | None = None,
        out: str | Path = ".",
        profile: str | None = None,
        margin: float = 0.5,
    ) -> "Sequence[Comparison]":
        """Every printed cell of the tables beside what was measured, with its verdict.

        Args:
            tables: Names of tables or papers; all of them without any.
            only: Which cells, by the keys of ``--only``: ``{"dataset": "dtd", "shots": [1, 4]}``.
            out: Folder that holds ``results/``.
            profile: ``"full"`` or ``"smoke"``; the full one, where it is there, without it.
            margin: Points within which a difference counts as none.

        Raises:
            UserError: For names that nothing has, cells that are not there, and a folder that is not there.
        """
        from clipbench.compare.selected import compared
        from clipbench.plan.filters import as_words
        from clipbench.registry import find
        from clipbench.results.folder import results_of
        from clipbench.results.store import Store

        records, _ = Store(results_of(Path(out))).scan()
        chosen = [(paper, table) for paper, table in find(tables) if not table.panels]
        return compared(chosen, records, as_words(only or {}), profile, margin)


sys.modules[__name__].__class__ = Compare
