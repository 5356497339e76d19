"""Two methods beside each other, as text, Markdown or JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from clipbench.compare.rows import RowDifference
from clipbench.report.numbers import minus
from clipbench.report.terminal import as_table

_ABOUT = (
    "Differences are formed seed by seed on the same test images; the interval is that of a paired bootstrap over "
    "images and seeds, the p values are McNemar's, one per seed."
)


def render_rows(results: Sequence[RowDifference], names: tuple[str, str], kind: str) -> str:
    """One line per setting that both methods were run in."""
    if kind == "json":
        return json.dumps({"first": names[0], "second": names[1], "settings": [_values(r) for r in results]}, indent=1)
    headers = ("data", "seeds", *names, "difference", "verdict", "why")
    rows = [(r.where, " ".join(map(str, r.seeds)), *_numbers(r), r.verdict, r.reason) for r in results]
    return f"{as_table(kind, headers, rows)}\n\n{_ABOUT}"


def _numbers(r: RowDifference) -> tuple[str, str, str]:
    if not r.seeds:
        return "", "", ""
    return f"{r.first:.2f}", f"{r.second:.2f}", minus(f"{r.difference:+.2f}")


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
