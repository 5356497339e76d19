"""A build hook: a wheel has no git beside it, so the build writes down the commit that it was made from."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FILE = "clipbench/engine/_commit.py"


class CommitHook(BuildHookInterface):  # type: ignore[type-arg]
    """Writes ``_commit.py`` where the source is a git checkout; an sdist keeps the one that it came with."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Called before the files of the wheel are collected."""
        git = ["git", "-C", self.root, "rev-parse", "--short=12", "HEAD"]
        try:
            found = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
        except (OSError, subprocess.CalledProcessError):
            return
        Path(self.root, FILE).write_text(f'"""Written by the build."""\n\nCOMMIT = "{found}"\n', encoding="utf-8")
        build_data["artifacts"].append(FILE)
