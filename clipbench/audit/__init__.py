"""Check a paper's numbers before re-running it: sums, reachable means, repeated cells, parameter counts, misprints.

Nothing here needs data, weights or PyTorch. ``clipbench.audit.paper`` audits a registered paper,
``clipbench.audit.user_table`` a CSV file; both give ``clipbench.audit.finding.Finding``.
"""
