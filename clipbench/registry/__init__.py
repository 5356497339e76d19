"""What is reproduced: papers, experiments, protocols and runs, read from ``benchmarks/``."""

from clipbench.registry.assumptions import Assumption, Reading
from clipbench.registry.paper import Paper, Recipe, find, load_paper, load_papers, registry_dir
from clipbench.registry.protocol import FIELDS, Protocol, Run
from clipbench.registry.resolve import Overrides, Resolved, Standing, resolve
from clipbench.registry.table import Axis, Cell, Experiment, Panel

__all__ = [
    "FIELDS",
    "Assumption",
    "Axis",
    "Cell",
    "Experiment",
    "Overrides",
    "Panel",
    "Paper",
    "Protocol",
    "Reading",
    "Recipe",
    "Resolved",
    "Run",
    "Standing",
    "find",
    "load_paper",
    "load_papers",
    "registry_dir",
    "resolve",
]
