"""A claim on the paper's own printed numbers."""

from __future__ import annotations

from fractions import Fraction

from clipbench.audit.sentences.claim import Claim
from clipbench.audit.sentences.forms import Order, Quantity
from clipbench.audit.sentences.linear import Linear
from clipbench.audit.sentences.words import FAILS, HOLDS, WITHIN, Outcome
from clipbench.registry.decimal import CUT, ROUNDED, Decimal

_SHOWN = 4


def on_printed(claim: Claim) -> Outcome:
    """Whether the printed numbers bear the sentence out."""
    if isinstance(claim.check, Quantity):
        return _quantities(claim, claim.check)
    if isinstance(claim.check, Order):
        return _order(claim, claim.check)
    return Outcome(claim.check.verdict, claim.check.found)


def _quantities(claim: Claim, check: Quantity) -> Outcome:
    """The worst of the numbers decides."""
    ranked = (FAILS, WITHIN, HOLDS)
    outcomes = [_quantity(claim, what, linear, printed) for what, linear, printed in check.entries]
    worst = min((o.verdict for o in outcomes), key=ranked.index)
    shown = [o.found for o in outcomes if o.verdict == worst or len(outcomes) == 1]
    return Outcome(worst, _listed(shown))


def _quantity(claim: Claim, what: str, linear: Linear, printed: Decimal) -> Outcome:
    exact, rounded = linear.unrounded(claim.numbers), linear.as_printed(claim.numbers)
    if printed.holds(exact, ROUNDED):
        return Outcome(HOLDS, f"{what} = {_number(exact)}")
    found = f"{what} = {_number(exact)}, printed {printed}"
    if printed.holds(rounded, ROUNDED) and rounded != exact:
        return Outcome(WITHIN, f"{found}; {_number(rounded)} only between the rounded averages")
    if abs(exact - printed.value) <= printed.unit / 2 + linear.slack(claim.numbers) or printed.holds(exact, CUT):
        return Outcome(WITHIN, f"{found}; numbers that round to the printed ones could give it")
    return Outcome(FAILS, found)


def _order(claim: Claim, check: Order) -> Outcome:
    """Count the differences that are positive, and those that rounding could make positive."""
    values = [(what, linear.unrounded(claim.numbers), linear.slack(claim.numbers)) for what, linear in check.entries]
    sure = [what for what, value, _ in values if value > 0]
    open_ = [what for what, value, slack in values if value <= 0 and value + slack > 0]
    shown = _shown(values)
    head = f"{len(sure)} of {len(values)}" + (f" ({check.need} claimed)" if check.need != len(values) else "")
    found = f"{head}: {shown}" if len(values) > 1 else shown
    if len(sure) == check.need or (len(sure) > check.need and not check.exactly):
        return Outcome(HOLDS, found)
    if not check.exactly and len(sure) + len(open_) >= check.need:
        return Outcome(WITHIN, found)
    return Outcome(FAILS, found)


def _shown(values: list[tuple[str, Fraction, Fraction]]) -> str:
    """The differences that decide: those against the claim, or else the smallest ones."""
    against = [(what, value) for what, value, _ in values if value <= 0]
    chosen = against or sorted(((what, value) for what, value, _ in values), key=lambda x: x[1])
    return _listed([f"{what} = {_number(value, sign=True)}" for what, value in chosen])


def _listed(words: list[str]) -> str:
    more = f"; and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
    return "; ".join(words[:_SHOWN]) + more


def _number(value: Fraction, *, sign: bool = False) -> str:
    text = f"{float(value):+.4f}" if sign else f"{float(value):.4f}"
    whole, _, part = text.partition(".")
    return f"{whole}.{part.rstrip('0').ljust(2, '0')}"
