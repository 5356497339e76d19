"""What is reproduced: papers, experiments, protocols and runs, read from ``benchmarks/``."""

from clipbench.spec.assumptions import Assumption, Reading
from clipbench.spec.experiment import Axis, Cell, Experiment, Panel
from clipbench.spec.paper import Paper, Recipe, find, load_paper, load_papers, registry_dir
from clipbench.spec.protocol import FIELDS, Protocol, Run
from clipbench.spec.resolve import Overrides, Resolved, Standing, resolve

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
