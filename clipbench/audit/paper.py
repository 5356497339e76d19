"""A registered paper, audited: its numbers in the form of the checks, and all checks in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from clipbench.audit.counts import check_counts
from clipbench.audit.finding import Finding
from clipbench.audit.misprints import check_misprints
from clipbench.audit.parameters import check_parameters
from clipbench.audit.repeats import check_repeats
from clipbench.audit.sizes import test_size
from clipbench.audit.sums import check_sums
from clipbench.registry import Paper
from clipbench.registry.printed import Key, PrintedNumber, load_published
from clipbench.registry.resolve import as_printed
from clipbench.results.metrics import METRICS


def audit_paper(paper: Paper) -> list[Finding]:
    """Every finding, check by check, in the paper's order."""
    numbers = numbers_of(paper)
    counted = [number for number in numbers.values() if not METRICS[number.metric].exact]
    return [
        *check_sums(numbers),
        *check_counts(counted),
        *check_repeats(numbers.values()),
        *check_parameters(paper, numbers),
        *check_misprints(numbers.values()),
        *_misprinted_text(paper),
    ]


def _misprinted_text(paper: Paper) -> Iterator[Finding]:
    """Misprints of formulas and sentences, which ``claims.toml`` lists."""
    from clipbench.audit.sentences.claim import load_claims  # which reads the numbers of this module
    from clipbench.audit.sentences.settled import Settled

    for claim in load_claims(paper):
        if claim.kind == "misprint" and isinstance(claim.check, Settled) and not claim.check.in_numbers:
            yield Finding("misprint", claim.where, claim.says, claim.check.found, "misprint", claim.note)


def numbers_of(paper: Paper) -> Mapping[Key, PrintedNumber]:
    """The paper's printed numbers, each with what its protocol says of the test images behind it."""
    return {printed.key: _with_test_size(paper, printed) for printed in load_published(paper).values()}


def _with_test_size(paper: Paper, printed: PrintedNumber) -> PrintedNumber:
    if printed.operation:
        return printed
    if printed.reference:
        return replace(printed, size_source="quoted: the other paper's split is not known")
    experiment = paper.tables[printed.key[0]]
    row, column = experiment.row(printed.key[1]), experiment.column(printed.key[2])
    protocol = as_printed(paper, experiment, row, column).protocol
    size, source = test_size(paper, protocol, printed.metric)
    same_as = "" if METRICS[printed.metric].exact else f"{printed.metric} {protocol.digest}"
    return replace(printed, test_size=size, size_source=source, same_as=same_as)
