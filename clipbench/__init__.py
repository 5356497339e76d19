"""Reproducibility benchmarks for adapting CLIP, and a library that adapts any CLIP well."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clipbench.cli.api import Results, load_results, run
    from clipbench.compare import Compare

    compare: Compare

__version__ = "0.2.0"
__all__ = ["Results", "__version__", "compare", "load_results", "run"]


def __getattr__(name: str) -> object:
    """What a program uses, imported when it is first asked for; ``compare`` is a package that can be called."""
    from importlib import import_module

    if name == "compare":
        return import_module("clipbench.compare")
    if name not in __all__:
        raise AttributeError(f"module 'clipbench' has no attribute {name!r}")
    return getattr(import_module("clipbench.cli.api"), name)
