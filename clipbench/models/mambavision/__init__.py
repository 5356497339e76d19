"""MambaVision by name (LoRA-CLIP, Table II): official checkpoints from the hub or a file, or random weights."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from clipbench.errors import MissingWeightsError, UserError
from clipbench.models import TINY_MAMBA
from clipbench.models.image_tower import IMAGENET_MEAN, IMAGENET_STD, ImageTower, weights_digest
from clipbench.models.mambavision.network import SIZES, MambaVision, Size
from clipbench.models.weights.files import load_file_into
from clipbench.models.weights.hub import fetching
from clipbench.models.weights.sources import Sources

_NO_FILES = Sources()
_TINY = Size(16, 8, (1, 1, 2, 2), (1, 1, 2, 4), windows=(4, 2), image_size=64)
"""The smoke profile's MambaVision: one mixer and one attention block in each of the last two levels."""


def load_backbone(backbone: str, weights: str, sources: Sources = _NO_FILES, *, seed: int = 0) -> ImageTower:
    """MambaVision without its classifier, on the CPU in float32.

    ``weights`` is an official name (``mamba_vision_B-1K``), ``random`` (drawn from ``seed``), or the digest of
    ``sources.weights``: an official ``.pth.tar`` or safetensors file, loaded strictly. Its tokens are the positions of
    the last map, in front of the last batch norm; its own pooling is their mean behind it. Raises ``UserError`` for
    unknown names, failed downloads, files that do not fit.
    """
    size = _size(backbone, weights)
    model = _random(size, seed)
    if sources.weights is not None or weights != "random":
        load_file_into(model, sources.weights or _official(backbone, weights), backbone)
    return ImageTower(
        module=model.eval(),
        tokens=partial(_tokens, model),
        norm=partial(_normed, model),
        prefix=0,
        width=size.features,
        image_size=size.image_size,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        name=backbone,
        weights=weights,
        weights_sha256=weights_digest(model),
        own_pooling="token-mean",
    )


def _size(backbone: str, weights: str) -> Size:
    if backbone == TINY_MAMBA:
        if weights != "random":
            raise UserError(f"{TINY_MAMBA} exists with random weights only, not {weights!r}; pass --weights random.")
        return _TINY
    if backbone not in SIZES:
        raise UserError(f"no MambaVision is called {backbone!r}; there are {', '.join(SIZES)}.")
    return SIZES[backbone]


def _random(size: Size, seed: int) -> MambaVision:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MambaVision(size)


def _official(backbone: str, weights: str) -> Path:
    """NVIDIA's file on the hub, from the cache where it is there."""
    from huggingface_hub import hf_hub_download

    word = backbone.removeprefix("mambavision_")
    names = {
        f"mamba_vision_{word[0].upper()}-{part}": part for part in ("1K", "21K") if part == "1K" or word[0] in "bl"
    }
    if weights not in names:
        raise MissingWeightsError(
            f"there are no weights {weights!r} for {backbone}; there are {', '.join(names)}. "
            f"--weights FILE takes a local file."
        )
    part = names[weights]
    with fetching(f"the weights {weights!r} of {backbone}"):
        found = hf_hub_download(
            f"nvidia/MambaVision-{word[0].upper()}-{part}", f"mambavision_{word}_{part.lower()}.pth.tar"
        )
    return Path(found)


def _tokens(model: MambaVision, images: Tensor) -> Tensor:
    """The positions of the last map, in front of the last batch norm."""
    return model.maps(images).flatten(2).mT


def _normed(model: MambaVision, tokens: Tensor) -> Tensor:
    """The last batch norm on tokens ``[B, N, D]``."""
    normed: Tensor = model.norm(tokens.mT.unsqueeze(-1)).squeeze(-1).mT
    return normed
