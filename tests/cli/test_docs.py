"""The pages: every command that stands in them is one, and every page is in the menu."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from clipbench.cli.parser import build_parser

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_are_understood(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser, wrong = build_parser(), []
    for block in re.findall(r"^```\w*\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            if line.strip().startswith("clipbench "):
                try:
                    parser.parse_args(shlex.split(line, comments=True)[1:])
                except SystemExit as stopped:
                    wrong += [f"{line.strip()}: {capsys.readouterr().err}"] if stopped.code else []
    assert not wrong


def test_every_page_is_in_the_menu() -> None:
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert not [page.name for page in (ROOT / "docs").glob("*.md") if page.name not in menu]
