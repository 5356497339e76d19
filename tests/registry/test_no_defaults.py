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
            value = isinstance(right, ast.Constant | ast.Tuple | ast.Name | ast.Call)
            value = value or (isinstance(right, ast.Attribute) and not _protocol(right.value))
            if isinstance(left, ast.Attribute) and left.attr in FIELDS and value and _protocol(left.value):
                found.append(node.lineno)
    return found


def _protocol(node: ast.expr) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return name.strip("_") in {"protocol", "p"}


def test_the_search_finds_them() -> None:
    flawed = "a = protocol.lr or 0.1\nb = self._protocol.towers or 'both'\nc = p.image_size or model.image_size"
    assert hidden_defaults(flawed) == [1, 2, 3]
    assert hidden_defaults("a = run.protocol.shots\nb = protocol.hflip or protocol.vflip") == []


def test_no_code_has_a_default_for_a_field() -> None:
    files = PACKAGE.rglob("*.py")
    assert {str(f): lines for f in files if (lines := hidden_defaults(f.read_text(encoding="utf-8")))} == {}
