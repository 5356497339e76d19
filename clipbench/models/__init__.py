"""Backbones: open_clip models by name or config file, and the embedded tiny model."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

from clipbench.errors import UserError

TINY = "clipbench-tiny"
"""The embedded model: a genuine open_clip CLIP of a few hundred thousand parameters, for smoke runs."""

_ELSEWHERE = ("vit_", "mambavision")
"""timm's and MambaVision's names, which other modules will serve."""


def family(backbone: str) -> str | None:
    """Which module serves that backbone; None where none does yet."""
    if backbone == TINY:
        return "tiny"
    return None if backbone.startswith(_ELSEWHERE) else "open_clip"


def image_size(backbone: str, config: Path | None = None) -> int:
    """Side of the images that a model takes, read from its config without loading PyTorch.

    Raises ``UserError`` for an unknown name, with near ones, or a file that is no open_clip config.
    """
    path = config or _config_path(backbone)
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["vision_cfg"]["image_size"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise UserError(
            f"{path} is no open_clip model config (JSON with embed_dim, vision_cfg, text_cfg): {reason}"
        ) from None


def _config_path(backbone: str) -> Path:
    if family(backbone) == "tiny":
        return Path(__file__).parent / "tiny" / f"{TINY}.json"
    spec = importlib.util.find_spec("open_clip")
    folder = Path(spec.origin).parent / "model_configs" if spec and spec.origin else Path()
    path = folder / f"{backbone}.json"
    if family(backbone) is None or not path.is_file():
        from difflib import get_close_matches

        near = get_close_matches(backbone, [p.stem for p in folder.glob("*.json")], n=3, cutoff=0.5)
        hint = f" Near it are {', '.join(near)}." if near else ""
        raise UserError(
            f"no backbone is called {backbone!r}.{hint} It may be an open_clip name, {TINY}, or a config FILE.json."
        )
    return path
