"""Reproducibility benchmarks for adapting CLIP, and a library that adapts any CLIP well."""

__version__ = "0.2.0"
