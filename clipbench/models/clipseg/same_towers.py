"""Do CLIPSeg's towers give what the CLIP's give? Asked of the numbers: a config has more switches than one can list."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from clipbench.errors import UserError
from clipbench.models.clipseg.prompts import shortest, tokenise

_TOLERANCE = 1e-4
"""Relative; the two round differently by some 1e-6 in float32."""
_PROMPTS = ("a polyp", "one large tumour of irregular shape in the upper left of the breast")
"""Of different length: what is read behind a prompt's end shows."""


def check_same(model: Any, clip: Any, name: str) -> None:
    """One image and two prompts through both, on the CPU in float32. Raises ``UserError`` where the features differ."""
    model.eval()
    clip.eval()
    with torch.no_grad():
        apart = {"image": _images_apart(model.clip, clip), "text": _prompts_apart(model.clip, clip)}
    wrong = [f"{kind} features by {100 * by:.2g}%" for kind, by in apart.items() if not by <= _TOLERANCE]
    if wrong:
        raise UserError(
            f"{name} is no plain CLIP whose towers CLIPSeg could take: with the same weights CLIPSeg's towers give "
            f"other {' and '.join(wrong)} (rounding alone gives less than {100 * _TOLERANCE:g}%). Its config asks for "
            f"what they do not have, such as text attention in both directions (no_causal_mask), another pool_type "
            f"than the default, or norms and activations that differ within a tower."
        )


def _images_apart(seg: Any, clip: Any) -> float:
    image = torch.randn(1, 3, *clip.visual.image_size, generator=torch.Generator().manual_seed(0))
    due = clip.encode_image(image)
    found = seg.visual_projection(seg.vision_model(image, interpolate_pos_encoding=True).pooler_output)
    return _apart(found, due[0] if isinstance(due, tuple) else due)


def _prompts_apart(seg: Any, clip: Any) -> float:
    """Each model reads the prompts as it does in a run: open_clip's rows are 77 long and padded with zeros."""
    from open_clip import SimpleTokenizer

    due = clip.encode_text(SimpleTokenizer()(list(_PROMPTS)))
    ids, mask = tokenise(_PROMPTS, shortest(_PROMPTS))
    return _apart(seg.text_projection(seg.text_model(ids, attention_mask=mask).pooler_output), due)


def _apart(found: Tensor, due: Tensor) -> float:
    """The largest relative difference of a row of features ``[B, P]``."""
    return float(((found - due).norm(dim=-1) / due.norm(dim=-1)).max())
