"""Where the records of an output folder are."""

from __future__ import annotations

from pathlib import Path

from clipbench.errors import UserError
from clipbench.files import reason


def results_of(out: Path) -> Path:
    """``out/results``, or the folder itself where it is one of results. Raises ``UserError`` where there is none."""
    try:
        found = out.is_dir()
    except OSError as error:
        raise UserError(f"--out {str(out)[:80]}... cannot be: {reason(error)}.") from error
    if not found:
        raise UserError(f"there is no folder {out}; name the folder that holds results/.")
    return out if not (out / "results").is_dir() and any(out.glob("*/record.json")) else out / "results"
