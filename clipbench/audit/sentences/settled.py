"""Forms that need no measured number: the registry, the architectures or the printed digits settle them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from clipbench.audit.architecture import clip, model_of, vit
from clipbench.audit.counts import check_counts
from clipbench.audit.parameters import check_parameters
from clipbench.audit.sentences.words import FAILS, HOLDS, MISPRINT, UNSUPPORTED, WITHIN
from clipbench.data.catalogue import entry
from clipbench.errors import UserError
from clipbench.registry import Paper, Table
from clipbench.registry.decimal import ROUNDED, Decimal
from clipbench.registry.printed import Key, PrintedNumber
from clipbench.registry.protocol import field_of
from clipbench.registry.resolve import as_printed


@dataclass(frozen=True)
class Context:
    """What a form may ask: the paper, its numbers, the sentence's printed number, and its place for messages."""

    paper: Paper
    numbers: Mapping[Key, PrintedNumber]
    printed: Decimal | None
    where: str

    @property
    def value(self) -> Decimal:
        """The printed number, where the form is sure to have one."""
        if self.printed is None:
            raise UserError(f"{self.where}: the form needs a printed number")
        return self.printed

    def table(self, name: str) -> Table:
        """The paper's table of that name."""
        if name not in self.paper.tables:
            raise UserError(
                f"{self.where}: {self.paper.id} has no table {name!r}; it has {', '.join(self.paper.tables)}"
            )
        return self.paper.tables[name]


@dataclass(frozen=True)
class Settled:
    """A verdict that no run can change, and what was found; ``in_numbers``: a printed number's own note says it too."""

    verdict: str
    found: str
    in_numbers: bool = False


def _said(good: bool, found: str) -> Settled:
    return Settled(HOLDS if good else FAILS, found)


def ratio(f: Mapping[str, Any], c: Context) -> Settled:
    """The first cell is that percentage of the second."""
    values = [c.numbers[_key(text)].value if _key(text) in c.numbers else None for text in f["of"]]
    if values[0] is None or values[1] is None or not values[1].value:
        raise UserError(f"{c.where}: a ratio takes two printed cells, the second not 0")
    exact = 100 * values[0].value / values[1].value
    return _said(c.value.holds(exact, ROUNDED), f"{values[0]} / {values[1]} = {float(exact):.4f}%")


def _key(text: str) -> Key:
    parts = text.split("/")
    return (parts[0], parts[1], parts[2]) if len(parts) == 3 else ("", "", text)


def size(f: Mapping[str, Any], c: Context) -> Settled:
    """The largest of the models has the printed number of million parameters (``about``: relative tolerance)."""
    if not f["models"] and not f.get("known"):
        raise UserError(f"{c.where}: name models, or known sizes")
    sizes = {name: _millions(name, f.get("part", "all")) for name in f["models"]}
    sizes |= {name: float(value) for name, value in f.get("known", {}).items()}
    largest = max(sizes.values())
    shown = ", ".join(f"{name} {value:,.1f}M" for name, value in sizes.items())
    source = f" [{f['source']}]" if f.get("source") else ""
    if c.value.holds(Fraction(largest), ROUNDED):
        return Settled(HOLDS, shown + source)
    near = abs(largest / float(c.value.value) - 1) <= f.get("about", 0.0)
    return Settled(WITHIN if near else FAILS, shown + source)


_VITS = {"vit_base_patch16_224": (768, 12, 16), "vit_large_patch16_224": (1024, 24, 16)}


def _millions(name: str, part: str) -> float:
    if name in _VITS:
        return vit(*_VITS[name]).parameters / 1e6
    if part == "vision":
        tower = clip(name).vision
        return (tower.parameters + tower.projection) / 1e6
    return model_of(name).parameters / 1e6


def architecture(f: Mapping[str, Any], c: Context) -> Settled:
    """The printed counts or shares follow from the architecture that the paper describes."""
    keys = list(dict.fromkeys(_key(text) for text in f["cells"]))
    chosen = {key: c.numbers[key] for key in keys if key in c.numbers}
    findings = list(check_parameters(c.paper, chosen))
    if not findings or len(findings) < len(keys):
        raise UserError(f"{c.where}: not every cell is a printed parameter count or share")
    bad = [finding for finding in findings if finding.severity != "fine"]
    shown = "; ".join(f"{x.printed}: {x.found}" for x in bad or findings)
    return _said(not bad, f"{len(findings) - len(bad)} of {len(findings)} follow. {shown}")


def class_sizes(f: Mapping[str, Any], c: Context) -> Settled:
    """The classes of a data set hold between so and so many images (``about``: relative tolerance)."""
    counts = entry(f["dataset"]).classes.values()
    if not any(counts):
        raise UserError(f"{c.where}: the catalogue has no class sizes of {f['dataset']}")
    low, high, slack = min(counts), max(counts), f.get("about", 0.0)
    shown = f"{low} to {high} by the official file lists"
    if (low, high) == (f["low"], f["high"]):
        return Settled(HOLDS, shown)
    near = all(abs(found - said) <= slack * said for found, said in ((low, f["low"]), (high, f["high"])))
    return Settled(WITHIN if near else FAILS, shown)


def reachable(f: Mapping[str, Any], c: Context) -> Settled:
    """Every mean of these columns can come from whole counts (GRIM)."""
    ids = [column.id for column in c.table(f["experiment"]).columns]
    if unknown := [name for name in f["columns"] if name not in ids]:
        raise UserError(f"{c.where}: no column {unknown[0]!r}; {f['experiment']} has {', '.join(ids)}")
    chosen = [n for key, n in c.numbers.items() if key[0] == f["experiment"] and key[2] in f["columns"]]
    findings = [x for x in check_counts(chosen) if x.check == "mean" and x.severity != "cannot be checked"]
    bad = [x for x in findings if x.severity != "fine"]
    shown = "; ".join(f"{x.printed} {x.found}" for x in bad)
    return _said(not bad, f"{len(findings) - len(bad)} of {len(findings)} checked means are reachable. {shown}".strip())


def reported(f: Mapping[str, Any], c: Context) -> Settled:
    """Some table prints a number for every combination of these protocol fields."""
    if not f["fields"] or [] in f["fields"].values():
        raise UserError(f"{c.where}: fields = {f['fields']!r}; name protocol fields and values of theirs")
    for name, values in f["fields"].items():
        for value in values if isinstance(values, list) else [values]:
            field_of(name).checked(value)
    asked = _combinations(f["fields"])
    lacking = [word for word in asked if not _printed_for(c, word)]
    if not lacking:
        return Settled(HOLDS, "every combination is printed")
    shown = [", ".join(f"{name} {value}" for name, value in word.items()) for word in lacking[:3]]
    more = f"; and {len(lacking) - 3} more" if len(lacking) > 3 else ""
    found = f"{len(lacking)} of {len(asked)} combinations are printed nowhere: {'; '.join(shown)}{more}"
    return Settled(UNSUPPORTED, found)


def _combinations(fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    words: list[dict[str, Any]] = [{}]
    for name, values in fields.items():
        words = [word | {name: value} for word in words for value in (values if isinstance(values, list) else [values])]
    return words


def _printed_for(c: Context, word: Mapping[str, Any]) -> bool:
    for experiment in c.paper.tables.values():
        for cell in experiment.cells():
            number = c.numbers.get((experiment.name, cell.row.id, cell.column.id))
            if number is None or number.value is None or cell.derived:
                continue
            protocol = as_printed(c.paper, experiment, cell.row, cell.column).protocol
            if all(getattr(protocol, name, None) == value for name, value in word.items()):
                return True
    return False


def unquoted_rows(f: Mapping[str, Any], c: Context) -> Settled:
    """So many rows of a table are the paper's own, the others being quoted."""
    own = [row.printed for row in c.table(f["experiment"]).rows if not row.quoted and not row.extra]
    return _said(len(own) == f["count"], f"{len(own)} rows are the paper's own: {', '.join(own)}")


def misprint(f: Mapping[str, Any], _: Context) -> Settled:
    """Wrong as printed, plain in meaning; ``in_numbers`` where the printed numbers' own notes say it already."""
    return Settled(MISPRINT, f"read as {f['read_as']}", f.get("in_numbers", False))


def judgement(f: Mapping[str, Any], _: Context) -> Settled:
    """Judged by somebody who read the paper, not by computing."""
    return _said(f["holds"], f"{f['because']} (judged, not computed)")
