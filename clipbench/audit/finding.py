"""What an audit finds: the printed thing, where it stands, how grave it is, and the arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

CANNOT = "cannot be checked"
SEVERITIES = ("impossible", "inconsistent", "misprint", "fine", CANNOT)
"""From worst to harmless. ``impossible``: no data can give it. ``inconsistent``: it contradicts another number of the
same paper, or its own description. ``misprint``: a slip whose meaning is plain. ``fine``: checked, and the check could
have failed. ``cannot be checked``: something needed is not known, or the check could not fail."""

CHECKS = {
    "average": "averages and differences, computed again from their parts",
    "mean": "means that whole counts of correct answers can give (GRIM)",
    "std": "standard deviations that whole counts can give (GRIMMER)",
    "repeat": "the same quantity printed in two places",
    "parameters": "parameter counts and shares, computed again from the architectures",
    "misprint": "misprints, and how they are read",
}


@dataclass(frozen=True)
class Finding:
    """One checked thing.

    ``where`` is a place that a reader finds in the paper; ``printed`` what stands there; ``found`` the outcome in
    words; ``arithmetic`` how it was computed, with its numbers; ``line`` the line of a user's file, 0 in a paper.
    """

    check: str
    where: str
    printed: str
    found: str
    severity: str
    arithmetic: str
    line: int = 0
