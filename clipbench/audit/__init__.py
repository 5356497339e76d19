"""Check a paper's numbers before re-running it: sums, reachable means, repeated cells, parameter counts, misprints.

Nothing here needs data, weights or PyTorch.
"""

from clipbench.audit.finding import CANNOT, SEVERITIES, Finding
from clipbench.audit.numbers import Number
from clipbench.audit.paper import audit_paper
from clipbench.audit.user_table import audit_csv

__all__ = ["CANNOT", "SEVERITIES", "Finding", "Number", "audit_csv", "audit_paper"]
