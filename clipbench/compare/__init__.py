"""The papers against our runs: which records belong to a cell, the statistics of a difference, and the verdict."""
