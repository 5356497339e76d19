"""The floors of the house: a package imports from lower floors only, lazy and typing imports counted."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "clipbench"
FLOORS = {
    "errors": 0,
    "files": 1,
    "registry": 2,
    "adapters": 2,
    "data": 3,
    "results": 3,
    "models": 4,
    "audit": 4,
    "methods": 5,
    "engine": 6,
    "plan": 6,
    "launch": 7,
    "compare": 7,
    "report": 8,
    "cli": 9,
}
ENTRANCES = {"__init__", "__main__"}


def _imported(path: Path) -> list[str]:
    """The rooms of clipbench that a file imports anywhere in it."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return [name.split(".")[1] for name in names if name.startswith("clipbench.")]


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if _room(path) not in ENTRANCES]


def test_every_room_has_its_floor() -> None:
    assert {_room(path) for path in FILES} == set(FLOORS)
    assert len([p for p in PACKAGE.iterdir() if p.is_dir() and p.name != "__pycache__"]) == 13
    assert len(list(PACKAGE.glob("*.py"))) <= 4


@pytest.mark.parametrize("room", FLOORS)
def test_imports_go_down(room: str) -> None:
    upward = {
        f"{path.relative_to(PACKAGE)} -> {other}"
        for path in FILES
        if _room(path) == room
        for other in _imported(path)
        if other in FLOORS and other != room and FLOORS[other] >= FLOORS[room]
    }
    assert not upward
