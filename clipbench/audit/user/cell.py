"""What stands in one cell: a number with its spread, nothing, a whole number, or a name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from clipbench.registry.decimal import Decimal

NOTHING = frozenset(
    ("", "-", "--", "---", "–", "—", "−", "/", "n/a", "na", "n.a.", "n.a", "nan", "none", "null", "oom", "x", "✗")
)
"""How papers and programs print that there is no number."""
_FLOAT_DECIMALS = 6
"""A number with more decimals than papers print comes from a program; that many are enough of it."""
_WITH_COLOUR = re.compile(r"\\(?:cellcolor|textcolor|color|colorbox|hspace\*?|vspace\*?)\s*(?:\[[^\]]*\])?\{[^{}]*\}")
_ASIDE = re.compile(
    r"\\(?:cite[a-z]*|footnote(?:mark|text)?|textsuperscript|tnote|ref|label)\s*(?:\[[^\]]*\])*\{[^{}]*\}"
)
_WRAPPED = re.compile(r"\\[a-zA-Z]+\*?\s*(?:\[[^\]]*\])?\{([^{}]*)\}")
_STYLE = re.compile(
    r"\\(?:bf|it|rm|tt|sc|em|bfseries|itshape|tiny|scriptsize|footnotesize|small|normalsize|large|Large|centering|quad"
    r"|qquad|checkmark|dagger|ddagger|star|ast|textdagger|textdaggerdbl|left|right|phantom|displaystyle)"
    r"(?![a-zA-Z])|\\[,;:! ]"
)
_SIGNS = re.compile(r"[*†‡§¶♯♢♦•✓★☆◆`$]|<sup>.*?</sup>|<[a-zA-Z/][^<>]*>")
_N = r"[-+]?(?:\d+(?:\.\d+)?|\.\d+)"
_VALUE = re.compile(
    rf"(?P<open>\()?(?P<value>{_N})\s*(?P<percent>%)?\s*(?P<suffix>[KMGTB]|ms|s|h|GB|MB)?(?(open)\))"
    rf"(?:\s*(?:±|\+-|\+/-|\+\s*/\s*-)\s*(?P<std>{_N})\s*%?)?"
    rf"(?:\s*\(\s*(?P<beside>±?\s*\.?\d+(?:\.\d+)?)\s*%?\s*\))?"
    rf"(?:\s*[(\[]\s*{_N}\s*%?\s*[-–,;]\s*{_N}\s*%?\s*[)\]])?"
    rf"(?:\s*\(?\s*[-+↑↓▲▼]\s*(?:\d+(?:\.\d+)?)?\s*%?\s*\)?)?"
)
_GROUPED = re.compile(r"\d{1,3}(?:[., '’]\d{3})+")


@dataclass(frozen=True)
class Value:
    """A printed number: ``signed`` where a plus makes it a difference, ``suffix`` where it has a unit of its own."""

    value: Decimal
    std: Decimal | None
    runs: int | None
    signed: bool
    suffix: str


def plain(text: str) -> str:
    """A cell without markup: LaTeX, Markdown and HTML styles, footnote signs, and the several signs for minus."""
    text = text.replace("−", "-").replace("\\%", "%").replace("\\&", "&").replace("\\_", "_").replace("\\#", "#")
    text = re.sub(r"\\pm(?![a-zA-Z])|&plusmn;|\\textpm", "±", _ASIDE.sub("", _WITH_COLOUR.sub("", text)))
    text = re.sub(r"\\(?:up|down)arrow", "↑", _STYLE.sub(" ", text))
    text = _SIGNS.sub("", text)
    while (shorter := _WRAPPED.sub(r"\1", text)) != text:
        text = shorter
    text = re.sub(r"[_^]\s*\{\s*(\(?\s*±\s*[^{}]*)\}", r" \1", text)
    text = re.sub(r"_\s*\{?\s*\(?(\d+[.,]\d+)\)?\s*\}?\s*$", r" ± \1", text)
    text = re.sub(r"\^\s*(?:\{[^{}]*\}|\w|$)", "", text)
    text = re.sub(r"[{}]|(?<!\w)_{1,2}(?=\S)|(?<=\S)_{1,2}(?!\w)", "", text.replace("~", " "))
    return re.sub(r"[\s\u00a0\u202f\u2009]+", " ", text.replace("\\", "")).strip()


def has_decimal_commas(cells: Iterable[str]) -> bool:
    """Whether numbers of a table are written ``97,94``: no number with thousands looks like that."""
    texts = [plain(cell) for cell in cells]
    return any(re.match(r"[-+(]?\d{1,3},(?:\d{1,2}|\d{4,})(?!\d)", text) for text in texts) or (
        any(re.match(r"[-+(]?0,\d", text) for text in texts)
    )


def is_nothing(text: str) -> bool:
    """Whether a cell prints that there is no number."""
    return plain(text).lower() in NOTHING


def read_value(text: str, *, decimal_commas: bool = False) -> Value | None:
    """The number in a cell; None where the cell prints that there is none.

    Raises:
        ValueError: The cell holds something else.
    """
    shown = plain(text)
    if shown.lower() in NOTHING:
        return None
    if decimal_commas:
        shown = re.sub(r"(?<=\d)\.(?=\d{3}(?:[.,]|$))", "", shown)
        shown = re.sub(r"(?<=\d),(?=\d)|(?<!\d),(?=\d)", ".", shown)
    shown = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", shown)
    match = _VALUE.fullmatch(shown)
    if match is None:
        raise ValueError(f"{text!r} is no printed number such as 97.94 or '97.94 ± 0.12'")
    value, std, beside = (_decimal(match[name]) for name in ("value", "std", "beside"))
    runs = None
    if beside and not std and (beside.decimals or "±" in match["beside"]):
        std = beside
    elif beside and std and not beside.decimals:
        runs = beside.digits or None
    assert value is not None  # noqa: S101 - the pattern has it
    return Value(value, std, runs, match["value"].startswith("+"), match["suffix"] or "")


def whole(text: str) -> int | None:
    """A whole number above nought, with or without thousands; None where the cell is empty.

    Raises:
        ValueError: The cell holds something else.
    """
    shown = plain(text)
    if shown.lower() in NOTHING:
        return None
    digits = re.sub(r"[., '’]", "", shown) if _GROUPED.fullmatch(shown) else re.sub(r"\.0+$", "", shown)
    match = re.fullmatch(
        r"(?:n ?= ?)?(\d{1,18})(?: ?(?:runs?|seeds?|trials?|images?|samples?))?", digits, re.ASCII | re.I
    )
    if match is None or int(match[1]) == 0:
        raise ValueError(f"{text!r} is no whole number above zero")
    return int(match[1])


def _decimal(text: str | None) -> Decimal | None:
    if text is None:
        return None
    text = text.replace("±", "").strip()
    sign, digits = ("-", text[1:]) if text.startswith("-") else ("", text.removeprefix("+"))
    whole_part, _, part = digits.partition(".")
    part = (
        part
        if len(part) <= 2 * _FLOAT_DECIMALS - 4
        else f"{round(float('0.' + part), _FLOAT_DECIMALS):.{_FLOAT_DECIMALS}f}"[2:]
    )
    return Decimal.read(f"{sign}{whole_part or '0'}" + (f".{part}" if part else ""))
