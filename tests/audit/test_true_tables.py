"""Tables of runs that could have been measured, printed in many ways: the audit accuses none of them."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from clipbench.audit.user_table import audit_csv

NAMES = ("UCM", "AID", "NWPU", "OPTIMAL-31")


def printed(seed: int) -> str:
    """A table of binomial counts: percentages or fractions, any decimals, divisor, kind of average, and file format."""
    chance, draw = random.Random(seed), np.random.default_rng(seed)  # noqa: S311 - no secret
    names = NAMES[: chance.randint(2, 4)]
    runs, sizes = chance.choice([1, 2, 3, 5, 10, 100]), [chance.choice([50, 372, 420, 8100, 50_000]) for _ in names]
    fractions, ddof, unrounded = chance.random() < 0.3, chance.choice([0, 1]), chance.random() < 0.5
    decimals = chance.choice([1, 2, 3]) + 2 * fractions
    rows = [["method", "Params (M)", *names, "Avg"], ["n", "", *[str(runs)] * len(names), ""]]
    rows.append(["Test size", "", *map(str, sizes), ""])
    for row in range(3):
        cells, means = [f"method {row}", f"{chance.uniform(0.1, 300):.1f}"], []
        for size in sizes:
            scores = draw.binomial(size, chance.uniform(0.3, 1.0), runs) / size * (1 if fractions else 100)
            text = f"{scores.mean():.{decimals}f}"
            means.append(scores.mean() if unrounded else float(text))
            cells.append(f"{text} ± {scores.std(ddof=ddof):.{decimals}f}" if runs > 1 else text)
        rows.append([*cells, f"{np.mean(means):.{decimals}f}"])
    form = chance.choice(["csv", "decimal commas", "latex", "markdown"])
    if form == "latex":
        body = "\n".join(" & ".join(row).replace("±", r"$\pm$") + r" \\" for row in rows)
        return f"\\begin{{tabular}}{{{'l' * len(rows[0])}}}\n{body}\n\\end{{tabular}}\n"
    if form == "markdown":
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])
    text = "\n".join((";" if form == "decimal commas" else ",").join(row) for row in rows)
    return text.replace(".", ",").replace("Params (M)", "Params") if form == "decimal commas" else text


@pytest.mark.parametrize("start", range(0, 120, 20))
def test_what_was_measured_is_never_accused(tmp_path: Path, start: int) -> None:
    path = tmp_path / "table.csv"
    for seed in range(start, start + 20):
        path.write_text(printed(seed), encoding="utf-8")
        found = audit_csv(path)
        assert sum(f.check == "average" for f in found) == 3, printed(seed)
        assert [f for f in found if f.severity in ("impossible", "inconsistent")] == [], printed(seed)
