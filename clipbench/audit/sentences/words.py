"""The verdicts on a sentence."""

from __future__ import annotations

from dataclasses import dataclass

HOLDS = "holds"
WITHIN = "holds within rounding"
FAILS = "does not hold"
MISPRINT = "misprint"
UNSUPPORTED = "not supported"
UNTOLD = "cannot be told with these seeds"
UNMEASURED = "not measured"
WORDS = (HOLDS, WITHIN, FAILS, MISPRINT, UNSUPPORTED, UNTOLD, UNMEASURED)
"""``holds within rounding``: only the rounded numbers, or only numbers that would round to them, bear it out.
``not supported``: the paper prints no number that would show it. ``misprint``: wrong as printed, plain in meaning."""


@dataclass(frozen=True)
class Outcome:
    """Verdict, what was found in words and numbers, and the seeds per method that would decide (None: not known)."""

    verdict: str
    found: str
    seeds_needed: int | None = None
