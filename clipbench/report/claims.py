"""Claims with their verdicts as text, Markdown or JSON."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from clipbench.audit.sentences.claim import Claim
from clipbench.audit.sentences.words import UNTOLD, WORDS, Outcome
from clipbench.compare.stats import POWER
from clipbench.report.terminal import width


@dataclass(frozen=True)
class Judged:
    """A claim with its verdicts; ``ours`` is None where no run could settle it, or none was asked for."""

    claim: Claim
    printed: Outcome
    ours: Outcome | None


Papers = Mapping[str, Sequence[Judged]]


def render(papers: Papers, kind: str, *, measured: bool, about: Sequence[str] = ()) -> str:
    """All papers in one of the formats; ``about`` says which runs stand behind the measured side."""
    if kind == "json":
        return json.dumps({name: _values(judged) for name, judged in papers.items()}, indent=1, ensure_ascii=False)
    one = _markdown if kind == "md" else _text
    blocks = [one(name, judged, measured) for name, judged in papers.items()]
    return "\n\n".join([*([" ".join(about)] if about else []), *blocks, _legend(kind, measured)])


def summary(judged: Sequence[Judged], *, measured: bool) -> str:
    """``31 claims on the printed numbers: holds 20, ...``."""
    line = f"{len(judged)} claims on the printed numbers: {_counts([j.printed for j in judged])}"
    ours = [j.ours for j in judged if j.ours is not None]
    return f"{line}; on ours: {_counts(ours) or 'nothing to measure'}" if measured else line


def _counts(outcomes: Sequence[Outcome]) -> str:
    counts = Counter(o.verdict for o in outcomes)
    return ", ".join(f"{word} {counts[word]}" for word in WORDS if counts[word])


def _text(name: str, judged: Sequence[Judged], measured: bool) -> str:
    lines = [_filled(f"{name}: {summary(judged, measured=measured)}", 0)]
    for j in judged:
        printed = f" [printed {j.claim.printed}]" if j.claim.printed else ""
        lines += ["", _filled(f"{j.claim.where}: {j.claim.says}{printed}", 0)]
        lines.append(_filled(f"{j.printed.verdict.upper()}: {j.printed.found}", 4))
        if j.claim.note:
            lines.append(_filled(j.claim.note, 4))
        if measured and j.ours is not None:
            lines.append(_filled(f"ours: {j.ours.verdict}: {j.ours.found}{_seeds(j.ours)}", 4))
    return "\n".join(lines)


def _seeds(outcome: Outcome) -> str:
    if outcome.verdict != UNTOLD:
        return ""
    if outcome.seeds_needed is None:
        return "; no number of seeds up to 1,000 would tell"
    return f"; about {outcome.seeds_needed} seeds would tell"


def _filled(text: str, by: int) -> str:
    return textwrap.fill(text, width(), initial_indent=" " * by, subsequent_indent=" " * (by + 2))


def _markdown(name: str, judged: Sequence[Judged], measured: bool) -> str:
    head = [
        "where",
        "the paper says",
        "printed",
        "from the printed numbers",
        "verdict",
        *(["ours"] if measured else []),
    ]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for j in judged:
        found = f"{j.printed.found}. {j.claim.note}" if j.claim.note else j.printed.found
        cells = [j.claim.where, j.claim.says, str(j.claim.printed or ""), found, j.printed.verdict]
        if measured:
            cells.append("" if j.ours is None else f"{j.ours.verdict}: {j.ours.found}{_seeds(j.ours)}")
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return f"## {name}\n\n{summary(judged, measured=measured)}.\n\n" + "\n".join(lines)


def _legend(kind: str, measured: bool) -> str:
    text = (
        "holds within rounding: only rounded numbers, or numbers that round to the printed ones, bear it out. "
        "not supported: the paper prints no number that would show it. misprint: wrong as printed, plain in meaning."
    )
    if measured:
        text += (
            " On ours: ± is the standard error over seeds; differences are formed seed by seed and tested one-sided at "
            "5%; "
            f"the seeds that would tell give a decision with a chance of {POWER:.0%}, were mean and spread to stay."
        )
    return text if kind == "md" else textwrap.fill(text, width())


def _values(judged: Sequence[Judged]) -> list[dict[str, object]]:
    return [
        {
            "id": j.claim.id,
            "where": j.claim.where,
            "line": j.claim.line,
            "says": j.claim.says,
            "form": j.claim.kind,
            "printed": str(j.claim.printed) if j.claim.printed else None,
            "note": j.claim.note,
            "on_printed": asdict(j.printed),
            "on_ours": asdict(j.ours) if j.ours else None,
        }
        for j in judged
    ]
