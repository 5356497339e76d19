"""Class names as CLIP's tokeniser sees them: two that it cannot tell apart are one class to every model."""

from __future__ import annotations

import html
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from clipbench.errors import UserError


def prompt_names(folder: Path, classes: Sequence[str]) -> tuple[str, ...]:
    """The class names with spaces for underscores.

    Raises ``UserError`` for two classes that no prompt tells apart.
    """
    names = tuple(name.replace("_", " ") for name in classes)
    first_of: dict[tuple[str, ...], str] = {}
    for name, prompt in zip(classes, names, strict=True):
        first = first_of.setdefault(_words(prompt), name)
        if first != name:
            raise UserError(
                f"{folder}: the classes {first!r} and {name!r} are one name in the prompt, as CLIP's tokeniser makes "
                f"the same tokens of them ({first!a} and {name!a}), so that no model could tell the classes "
                f"apart. Rename one, or make one class of them."
            )
    return names


def _words(text: str) -> tuple[str, ...]:
    """What CLIP's byte pair encoding starts from [openai/CLIP clip/simple_tokenizer.py:50-59, 78, 121-123].

    Unicode and HTML are mended by ftfy, letters lowered, and words, digits and other characters told apart; white space
    counts for nothing but that.
    """
    import ftfy

    mended = html.unescape(html.unescape(ftfy.fix_text(text)))
    return tuple(_pattern().findall(mended.lower()))


@cache
def _pattern() -> Any:
    import regex  # type: ignore[import-untyped, unused-ignore]

    return regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+", regex.IGNORECASE)
