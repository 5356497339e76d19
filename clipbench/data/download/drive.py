"""Google Drive, through the library that knows its questions (virus scan, quota); it is an optional dependency."""

from __future__ import annotations

import importlib
from pathlib import Path

from clipbench.data.download.faults import RefusedError, first_line, not_written


def from_drive(file_id: str, partial: Path) -> None:
    """Bring a file of Google Drive to ``partial``. Raises ``RefusedError`` without gdown, or where Drive declines."""
    try:
        gdown = importlib.import_module("gdown")
    except ImportError:
        raise RefusedError(
            f"Google Drive needs gdown: pip install 'clipbench[data]'. Or open "
            f"https://drive.google.com/file/d/{file_id} in a browser and pass the file with --from"
        ) from None
    try:
        gone = gdown.download(id=file_id, output=str(partial), quiet=True, resume=True) is None
    except OSError as error:
        raise not_written(error, partial.parent) if error.errno else RefusedError(first_line(error)) from error
    except Exception as error:  # gdown has an exception of its own, in another module in each major version
        raise RefusedError(first_line(error)) from error
    if gone or not partial.exists():
        raise RefusedError("it declined; files that many people fetch are closed for a day, try again tomorrow")
