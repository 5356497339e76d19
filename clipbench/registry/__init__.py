"""What is reproduced: papers, tables, protocols and runs, read from ``benchmarks/``."""

from clipbench.registry.assumptions import Assumption, Choice
from clipbench.registry.find import find
from clipbench.registry.paper import Paper, Recipe, load_paper, load_papers, registry_dir
from clipbench.registry.protocol import FIELDS, Protocol, Run
from clipbench.registry.resolve import Basis, Overrides, Resolved, resolve
from clipbench.registry.table import Axis, Cell, Panel, Table

__all__ = [
    "FIELDS",
    "Assumption",
    "Axis",
    "Basis",
    "Cell",
    "Choice",
    "Overrides",
    "Panel",
    "Paper",
    "Protocol",
    "Recipe",
    "Resolved",
    "Run",
    "Table",
    "find",
    "load_paper",
    "load_papers",
    "registry_dir",
    "resolve",
]
