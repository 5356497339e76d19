"""No consuming code has a default for a protocol field (``protocol.need`` says what lacks one)."""

from __future__ import annotations

import ast
from pathlib import Path

from clipbench.registry import FIELDS

PACKAGE = Path(__file__).parents[2] / "clipbench"


def hidden_defaults(source: str) -> list[int]:
    """Lines of ``x.field or default`` with a protocol's field on the left and something beside None on the right."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
            left, right = node.values[0], node.values[-1]
            constant = isinstance(right, ast.Constant | ast.Tuple)
            if isinstance(left, ast.Attribute) and left.attr in FIELDS and constant and _protocol(left.value):
                found.append(node.lineno)
    return found


def _protocol(node: ast.expr) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return name.strip("_") in {"protocol", "p"}


def test_the_search_finds_them() -> None:
    assert hidden_defaults("a = protocol.lr or 0.1\nb = self._protocol.towers or 'both'\nc = run.protocol.shots") == [
        1,
        2,
    ]


def test_no_code_has_a_default_for_a_field() -> None:
    files = PACKAGE.rglob("*.py")
    assert {str(f): lines for f in files if (lines := hidden_defaults(f.read_text(encoding="utf-8")))} == {}
