"""What stands in one cell: a number with its spread, nothing, a whole number, or a name."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from decimal import Decimal as Exact
from functools import lru_cache
from html import unescape

from clipbench.registry.decimal import Decimal

NOTHING = frozenset(
    ("", "-", "--", "---", "–", "—", "−", "/", "?", "…", "...", "n/a", "na", "n.a.", "n.a", "n.r.", "nr", "n.d.", "nan")
) | {"none", "null", "oom", "tba", "tbd", "x", "✗"}
"""How papers and programs print that there is no number."""
_FLOAT_DECIMALS = 6
"""A number with more decimals than papers print comes from a program; that many are enough of it."""
_OPTION = r"\s*(?:\[[^\]]*\])*"
_FIRST_ARGUMENT = re.compile(
    rf"\\(?:(?:cell|text|page|f)?color(?:box)?|[hv]space\*?|scalebox|rotatebox|raisebox|parbox|href|fontsize"
    rf"){_OPTION}\s*\{{[^{{}}]*\}}"
)
_WITHIN = re.compile(r"\\begin\s*\{\w+\*?\}(?:\[[^\]]*\])?(?:\{(?:[^{}]|\{[^{}]*\})*\})?")
"""Where a small tabular begins within a cell."""
_ASIDE = re.compile(
    r"\\(?:cite[a-z]*|(?:table)?footnote(?:mark|text)?|textsuperscript|tnote|ref|label|[hv]?phantom|ding|end)"
    rf"{_OPTION}\s*\{{[^{{}}]*\}}|\\footnotemark{_OPTION}"
)
"""Commands whose argument is no part of the number."""
_SI = re.compile(r"\\(?:SI|qty)\s*(?:\[[^\]]*\])?\{([^{}]*)\}\s*\{([^{}]*)\}")
_SPREAD = re.compile(r"\\[a-zA-Z]*(?:std|stdev|stddev|sd|pm|err)[a-z]*\s*\{\s*(?:±|\$|\\pm\b|\s)*([\d.,]+)\s*\$?\s*\}")
_GAIN = re.compile(r"\\(?:up|down|gain|inc|dec|imp|improve|drop|better|worse|delta)[a-z]*\s*\{\s*[-+]?([\d.,]+)\s*\}")
_WRAPPED = re.compile(r"\\[a-zA-Z]+\*?\s*(?:\[[^\]]*\])?\{([^{}]*)\}")
_STYLE = re.compile(
    r"\\(?:bf|it|rm|tt|sc|em|bfseries|itshape|tiny|(?:script|footnote)size|small|normalsize|large|Large|centering|quad"
    r"|qquad|checkmark|d?dag(?:ger)?|star|ast|textdagger(?:dbl)?|[SP]|textsection|textparagraph|left|right|(?:display|script|text)style|selectfont)"
    r"(?![a-zA-Z])|\\[,;:! ]|\\\\\*?(?:\[[^\]]*\])?"
)
_SIGNS = re.compile(r"[*†‡§¶♯♢♦•✓★☆◆`$¹²³⁰-⁹ᵃ-ᶻ]|<sup>.*?</sup>|<[a-zA-Z/][^<>]*>")
_N = r"[-+]?(?:\d+(?:\.\d+)?|\.\d+)"
_VALUE = re.compile(
    rf"(?P<open>\()?(?P<value>{_N})\s*(?P<percent>%)?\s*(?P<suffix>[KMGTB]|ms|s|h|GB|MB)?(?(open)\))"
    rf"(?:\s*(?:±|\+-|\+/-|\+\s*/\s*-)\s*(?P<std>{_N})\s*%?)?"
    rf"(?:\s*\(\s*(?P<beside>±?\s*\.?\d+(?:\.\d+)?)\s*%?\s*\))?"
    rf"(?:\s*[(\[]\s*{_N}\s*%?\s*[-–,;]\s*{_N}\s*%?\s*[)\]])?"
    rf"(?:\s*[(\[]?\s*[-+↑↓▲▼△▽⇑⇓↗↘]\s*(?:\d+(?:\.\d+)?)?\s*%?\s*[-+↑↓▲▼]?\s*[)\]]?)?"
    r"(?:\s?[a-g]|\s?\([a-g]\)|\s?\[\d{1,3}\])?"
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


def as_percent(value: Value) -> Value:
    """A fraction of 1 in percent."""
    std = Decimal(value.std.digits, value.std.decimals - 2) if value.std else None
    return replace(value, value=Decimal(value.value.digits, value.value.decimals - 2), std=std)


def are_fractions(values: Collection[Value]) -> bool:
    """Whether numbers can be fractions of 1; two decimals of one of them say that they are."""
    return bool(values) and all(0 <= value.value.value <= 1 and not value.signed for value in values)


@lru_cache(maxsize=10_000)
def plain(text: str) -> str:
    """A cell without markup: LaTeX, Markdown and HTML styles, footnote signs, and the several signs for minus."""
    text = unescape(text) if re.search(r"&#?\w+;", text) else text
    text = text.replace("−", "-").replace("\\%", "%").replace("\\&", "&").replace("\\_", "_").replace("\\#", "#")
    text = re.sub(r"\[([^\]]*)\]\([^()]*[/#][^()]*\)|\[\^\w+\]", r"\1", text)
    return re.sub(r"[\s\u00a0\u202f\u2009]+", " ", _attached(_without_commands(text)).replace("\\", "")).strip()


def _without_commands(text: str) -> str:
    """What LaTeX commands and HTML tags stand around; two arguments of one command stay apart."""
    text = _SI.sub(lambda match: match[1] + "%" * ("percent" in match[2] or "%" in match[2]), text)
    text = re.sub(r"\\pm(?![a-zA-Z])|\\textpm", "±", _ASIDE.sub("", _FIRST_ARGUMENT.sub("", _WITHIN.sub("", text))))
    text = re.sub(r"\\(?:[uU]p|[dD]own|[ns]e)arrow|\\blacktriangle(?:down)?|\\triangle(?:down)?", "↑", text)
    text = _GAIN.sub(r" ↑\1", _SPREAD.sub(r" ± \1", text))
    text = re.sub(r"\\textsubscript\s*\{|<sub>", "_{", text).replace("</sub>", "}")
    text = _SIGNS.sub("", _STYLE.sub(" ", re.sub(r"<br\s*/?>", " ", text)))
    text = re.sub(r"\}\s*\{", "} {", text)
    while (shorter := _WRAPPED.sub(r"\1", text)) != text:
        text = shorter
    return text


def _attached(text: str) -> str:
    """Deviations that hang on a number as its index, and the number without what else hangs on it."""
    text = re.sub(r"[_^]\s*\{\s*(\(?\s*±\s*[^{}]*)\}", r" \1", text)
    text = re.sub(r"\^\s*(?:\{[^{}]*\}|\w|(?=\^)|$)", "", text)
    text = re.sub(r"_\s*\{?\s*\(?(\d*[.,]\d+)\)?\s*\}?\s*$", r" ± \1", text)
    return re.sub(r"[{}]|(?<!\w)_{1,2}(?=\S)|(?<=\S)_{1,2}(?!\w)", "", text.replace("~", " "))


def has_decimal_commas(cells: Iterable[str]) -> bool:
    """Whether numbers of a table are written ``97,94``: no number with thousands looks like that."""
    texts = [plain(cell) for cell in cells]
    if any(re.match(r"[-+(]?(?:\d{1,3},(?:\d{1,2}|\d{4,})(?!\d)|0?,\d)", text) for text in texts):
        return True
    # Three decimals look like thousands; percentages are no thousands, and a table has one sign for decimals.
    alike = [match for text in texts if (match := re.match(r"[-+(]?(\d{1,3}),\d{3}(?!\d)", text))]
    return len(alike) > 2 and all(int(match[1]) <= 100 for match in alike) and not any("." in text for text in texts)


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
    shown = re.sub(r"\d+(?:\.\d+)?[eE][-+]?\d{1,3}(?!\d)", lambda found: f"{Exact(found[0]):f}", shown)
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
