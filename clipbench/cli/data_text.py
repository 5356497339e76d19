"""What ``clipbench data`` prints: lists, verdicts on data sets, citations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from clipbench.data.catalogue import Entry, entry, known
from clipbench.data.download.get import Got
from clipbench.data.images import first_few
from clipbench.data.verify import Count, Verified
from clipbench.models.weights.catalogue import WITHOUT_FILE, checkpoint
from clipbench.plan.needs import Here, has_weights, needs_of
from clipbench.registry import find
from clipbench.report.terminal import text_table, wrapped


def listing(experiments: Sequence[str], data_root: Path) -> dict[str, Any]:
    """The data sets and weights that the experiments name (all of the catalogue without any), and what is lacking."""
    here, needs = Here(data_root), needs_of(experiments)
    datasets = dict.fromkeys(name for one in needs for name in one.datasets if name in known())
    weights = dict.fromkeys(pair for one in needs for pair in one.weights if pair[1] not in WITHOUT_FILE)
    still = {one.table: here.still_needed(one) for one in needs}
    return {
        "data_root": str(data_root),
        "data": [_dataset(name, here) for name in (datasets if experiments else known())],
        "weights": [_weights(*pair) for pair in weights],
        "experiments": [
            {
                "experiment": one.table,
                "needs_data": still[one.table][0],
                "needs_weights": still[one.table][1],
            }
            for one in needs
        ],
    }


def listing_text(found: dict[str, Any]) -> str:
    """The listing as three tables."""
    data = [
        (d["dataset"], d["state"], f"{d['images']:,} of {d['official']:,}", d["where"] or "", _standing(d))
        for d in found["data"]
    ]
    weights = [
        (w["backbone"], w["weights"], w["where"] or "missing", w["source"], w["standing"]) for w in found["weights"]
    ]
    lacking = [
        (e["experiment"], ", ".join(e["needs_data"]) or "nothing", ", ".join(e["needs_weights"]) or "nothing")
        for e in found["experiments"]
    ]
    return "\n\n".join(
        [
            wrapped(f"data sets below {found['data_root']} (--data DIR or CLIPBENCH_DATA name another folder)"),
            text_table(("data set", "here", "images", "where", "availability"), data),
            text_table(("backbone", "weights", "here", "from", "availability"), weights),
            text_table(("table", "data still needed", "weights still needed"), lacking),
            wrapped("`clipbench data get NAME` fetches a data set; a run fetches the weights that it needs."),
        ]
    )


def got_text(one: Entry, got: Got) -> str:
    """What there is now, and what could not be had."""
    there = got.presence
    count = f"{there.images:,} of {there.official:,} images"
    lines = [f"{one.name}: {count} in {there.where}, {there.state}. {there.message}".strip()]
    lines += [f"without: {reason}" for reason in got.without]
    lines += ["There was nothing to do."] if not (got.placed or got.without) else []
    lines.append(f"`clipbench data verify {one.id}` looks at every image.")
    return "\n".join(lines)


def verified_text(one: Entry, found: Verified) -> str:
    """Counts and findings of one data set."""
    there = found.presence
    verdict = "all right" if found.right else there.state if there.state != "complete" else "something is wrong"
    lines = [f"{one.name} in {there.where}: {verdict}; {there.images:,} of {there.official:,} images"]
    for axis, plural in (("part", "parts"), ("domain", "domains"), ("class", "classes")):
        counts = [count for count in found.counts if count.axis == axis]
        if counts:
            lines.append(f"  {plural}: {_counts(counts)}")
    for finding in found.findings:
        text = f"{'wrong' if finding.wrong else 'note'}: {finding.text}"
        lines.append(wrapped(text, "  "))
    return "\n".join(lines)


def citations(patterns: Sequence[str]) -> list[str]:
    """BibTeX of the papers, then of the data sets, then of the checkpoints that the experiments name; each once."""
    papers = [paper.bibtex for paper, _ in find(patterns)]
    needs = needs_of(patterns)
    data = [entry(name).citation for one in needs for name in one.datasets if name in known()]
    found = [checkpoint(*pair) for one in needs for pair in one.weights]
    return list(dict.fromkeys(text.strip() for text in [*papers, *data, *(c.citation for c in found if c)]))


def _dataset(name: str, here: Here) -> dict[str, Any]:
    plan = entry(name).acquisition
    stated: dict[str, str | bool] = {"standing": "unknown", "standing_date": "", "standing_source": ""}
    stated |= {"by_hand": entry(name).how}
    if plan is not None:
        stated = {key: str(getattr(plan, key)) for key in stated} | {"rechecked": plan.rechecked}
    files = [asdict(file) for file in plan.files] if plan else []
    one = {"name": entry(name).name, "licence": entry(name).licence, "home": entry(name).home, "files": files}
    return asdict(here.dataset(name)) | stated | one


def _weights(backbone: str, weights: str) -> dict[str, Any]:
    found = checkpoint(backbone, weights)
    where = found.on_disk() if found and has_weights(backbone, weights) else None
    stated = {"source": "", "standing": "not in the catalogue"}
    if found is not None:
        stated = {"source": f"huggingface.co/{found.hub}", "standing": f"{found.standing}, {found.standing_date}"}
    return {"backbone": backbone, "weights": weights, "where": str(where) if where else None} | stated


def _standing(d: dict[str, Any]) -> str:
    if not d["standing_date"]:
        return str(d["standing"])
    return f"{d['standing']}, {d['standing_date']}{'' if d['rechecked'] else ', not re-checked'}"


def _counts(counts: Sequence[Count]) -> str:
    """Few are all told; of many only those that differ."""
    if len(counts) <= 4:
        return ", ".join(_count(count) for count in counts)
    differ = [count for count in counts if count.differs]
    known_ones = sum(count.official is not None for count in counts)
    if not known_ones:
        spread = sorted(count.found for count in counts)
        return f"{len(counts)}, with {spread[0]:,} to {spread[-1]:,} images (no official numbers)"
    return f"{len(counts)}, {len(differ)} differ" + (f": {first_few([_count(c) for c in differ], 6)}" if differ else "")


def _count(count: Count) -> str:
    return f"{count.name} {count.found:,}" + (f" of {count.official:,}" if count.differs else "")
