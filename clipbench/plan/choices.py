"""Every choice of every assumption, one at a time around the default: the list, and the plan that runs them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from clipbench.plan.select import Gap, Plan, Planned, make_plan, source_of
from clipbench.registry import Assumption, Choice, Overrides, Paper, Table, find
from clipbench.registry.resolve import assumptions_in_use

ALL = "all"
"""The word of ``--assume all``."""


@dataclass(frozen=True)
class Variant:
    """One choice of one assumption, all others at their default."""

    assumption: Assumption
    choice: Choice

    @property
    def name(self) -> str:
        """As ``--assume`` takes it: ``scaling=alpha``."""
        return f"{self.assumption.id}={self.choice.name}"

    @property
    def default(self) -> bool:
        """Whether this is the choice that the registry takes."""
        return self.choice.name == self.assumption.take

    def of(self, overrides: Overrides) -> Overrides:
        """The overrides with this choice; the default needs none."""
        return overrides if self.default else replace(overrides, assume={self.assumption.id: self.choice.name})


def variants(paper: Paper, table: Table) -> Iterator[Variant]:
    """The choices of the assumptions that an table rests on, in the ledger's order."""
    used = assumptions_in_use(paper, source_of(paper, table))
    for assumption in paper.assumptions.values():
        if assumption.id in used:
            yield from (Variant(assumption, choice) for choice in assumption.choices.values())


def plan_choices(patterns: Sequence[str], overrides: Overrides, only: Sequence[str], seeds: Sequence[int]) -> Plan:
    """The default of every table, then each other choice by itself.

    A choice that cannot run yet becomes a gap with its name; one that changes nothing (another assumption's cell, or a
    field that the smoke profile sets itself) adds no run.
    """
    runs: dict[str, Planned] = {}
    gaps: list[Gap] = []
    for paper, table in find(patterns):
        default = make_plan([table.id], overrides, only, seeds)
        runs |= {p.run.id: p for p in default.runs if p.run.id not in runs}
        gaps += default.gaps
        for variant in variants(paper, table):
            if variant.default or not (default.runs or default.gaps):
                continue
            if variant.choice.missing:
                gaps.append(_skipped(default, variant, variant.choice.missing))
                continue
            plan = make_plan([table.id], variant.of(overrides), only, seeds)
            runs |= {p.run.id: p for p in plan.runs if p.run.id not in runs}
            gaps += _own_gaps(plan, default, variant)
    return Plan(overrides, tuple(runs.values()), tuple(gaps))


def _skipped(default: Plan, variant: Variant, reason: str) -> Gap:
    """A gap for a whole choice, at the first cell of its table."""
    at = default.runs[0] if default.runs else default.gaps[0]
    return Gap(at.table, at.cell, f"the choice {variant.name} is skipped: {reason}")


def _own_gaps(plan: Plan, default: Plan, variant: Variant) -> list[Gap]:
    """Cells that run by default but not in this choice."""
    known = {(g.table.id, g.cell) for g in default.gaps}
    new = [g for g in plan.gaps if (g.table.id, g.cell) not in known]
    return [Gap(g.table, g.cell, f"the choice {variant.name}: {g.reason}") for g in new]
