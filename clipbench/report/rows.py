"""Two methods beside each other, as text, Markdown, CSV or JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from clipbench.compare.rows import RowDifference
from clipbench.report.numbers import minus
from clipbench.report.terminal import as_table, wrapped

_ABOUT = (
    "Differences are formed seed by seed on the same test images; the interval is that of a paired bootstrap over "
    "images and seeds, p that of McNemar's exact test."
)


def render_rows(results: Sequence[RowDifference], names: tuple[str, str], kind: str) -> str:
    """One line per setting that both methods were run in; CSV and JSON have the plain numbers."""
    if kind == "json":
        return json.dumps({"first": names[0], "second": names[1], "settings": [_values(r) for r in results]}, indent=1)
    if kind == "csv":
        values = [_values(r) | {"seeds": " ".join(map(str, r.seeds))} for r in results]
        heads = [head for head in values[0] if head != "mcnemar"]
        return as_table(kind, heads, [["" if v[head] is None else v[head] for head in heads] for v in values])
    headers = ("data", "seeds", *names, "difference (90% interval)", "verdict")
    rows = [(r.where, " ".join(map(str, r.seeds)), *_numbers(r), r.verdict) for r in results]
    notes = [*(f"{r.where}: {_right(r, names)}" for r in results), _ABOUT]
    if kind == "md":
        return "\n\n".join([as_table(kind, headers, rows), *notes])
    return "\n".join([as_table(kind, headers, rows), "", *map(wrapped, notes)])


def _numbers(r: RowDifference) -> tuple[str, str, str]:
    if not r.seeds:
        return "", "", ""
    interval = minus(f"{r.difference:+.2f} ({r.low:+.2f} to {r.high:+.2f})")
    return f"{r.first:.2f}", f"{r.second:.2f}", interval


def _right(r: RowDifference, names: tuple[str, str]) -> str:
    """Images that one method alone gets right, seed by seed; or why nothing can be compared."""
    if not r.mcnemar:
        return r.reason
    counts = ", ".join(f"{better} : {worse} (p {p:.2g})" for better, worse, p in r.mcnemar.values())
    return f"images that only {names[0]} : only {names[1]} gets right, by seed: {counts}"


def _values(r: RowDifference) -> dict[str, object]:
    numbers = {name: getattr(r, name) if r.seeds else None for name in ("first", "second", "difference", "low", "high")}
    mcnemar = {
        str(seed): {"only_first": better, "only_second": worse, "p": p}
        for seed, (better, worse, p) in r.mcnemar.items()
    }
    return {
        "data": r.where,
        "seeds": list(r.seeds),
        **numbers,
        "mcnemar": mcnemar,
        "verdict": r.verdict,
        "why": r.reason,
    }
