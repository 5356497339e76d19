"""The papers' sentences as checks: read from ``claims.toml``, held against the printed numbers and against ours."""

from clipbench.claims.claim import Claim, load_claims
from clipbench.claims.printed import on_printed
from clipbench.claims.words import WORDS, Outcome

__all__ = ["WORDS", "Claim", "Outcome", "load_claims", "on_printed"]
