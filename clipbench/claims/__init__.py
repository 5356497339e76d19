"""The papers' sentences as checks: read from ``claims.toml``, held against the printed numbers and against ours.

``clipbench.claims.claim`` reads them, ``clipbench.claims.printed`` and ``clipbench.claims.measured`` judge them.
"""
