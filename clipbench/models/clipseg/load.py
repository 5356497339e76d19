"""CLIPSeg models by name, with the hub's, local or random weights; or a new one on the towers of a CLIP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from clipbench.errors import MissingWeightsError, UserError
from clipbench.models import family
from clipbench.models.clip import load_model
from clipbench.models.clipseg.configs import Architecture, architecture
from clipbench.models.clipseg.from_clip import architecture_of, fill_towers
from clipbench.models.image_tower import (
    CLIP_MEAN,
    CLIP_STD,
    IMAGENET_MEAN,
    IMAGENET_STD,
    named_normalisation,
    weights_digest,
)
from clipbench.models.weights.files import load_file_into
from clipbench.models.weights.hub import fetching
from clipbench.models.weights.sources import Sources, weights_file

_NO_FILES = Sources()


@dataclass(frozen=True)
class CLIPSeg:
    """A ``CLIPSegForImageSegmentation``, the size and normalisation of its images, and the identity of its weights."""

    module: nn.Module
    image_size: int
    patch: int
    name: str
    weights: str
    weights_sha256: str
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD

    def normalisation(self, reading: str) -> tuple[Sequence[float], Sequence[float]]:
        """Channel mean and std that the protocol's word asks for; rd64's own are ImageNet's, not CLIP's."""
        return named_normalisation(reading, self.mean, self.std)

    def check_size(self, side: int) -> None:
        """Raise ``UserError`` for images of no whole number of patches: the map would be smaller than the mask."""
        if side % self.patch:
            near = side - side % self.patch or self.patch
            raise UserError(f"{self.name} takes images of a multiple of {self.patch} px, not {side}; try {near}.")


def load_clipseg(backbone: str, weights: str, sources: Sources = _NO_FILES, *, seed: int = 0) -> CLIPSeg:
    """The model on the CPU in float32.

    ``weights`` is the hub's name of the checkpoint (``CIDAS/clipseg-rd64-refined``), ``random`` (drawn from ``seed``),
    or the digest of ``sources.weights``: a safetensors or torch file, or a Hugging Face folder with one. Any other
    ``backbone`` is a CLIP of open_clip's, whose weights go into the towers under a decoder drawn from ``seed``. Raises
    ``UserError`` for unknown names and without transformers, ``MissingWeightsError`` for what cannot be had or read.
    """
    if family(backbone) != "clipseg":
        return _on_towers(backbone, weights, sources, seed)
    known = architecture(backbone)
    if sources.weights is not None:
        model = _random(known, seed)
        _fill(model, sources.weights, backbone)
    elif weights == "random":
        model = _random(known, seed)
    else:
        model = _pretrained(known, backbone, weights)
    return CLIPSeg(model.eval(), known.image_size, known.patch, backbone, weights, weights_digest(model))


def _on_towers(backbone: str, weights: str, sources: Sources, seed: int) -> CLIPSeg:
    """A CLIPSeg whose decoder knows nothing yet; images have the CLIP's size and normalisation."""
    clip = load_model(backbone, weights, sources, seed=seed)
    known = architecture_of(clip, backbone)
    model = _random(known, seed)
    fill_towers(model, clip, backbone)
    mean, std = getattr(clip.visual, "image_mean", None), getattr(clip.visual, "image_std", None)
    return CLIPSeg(
        model.eval(),
        known.image_size,
        known.patch,
        backbone,
        weights,
        weights_digest(model),
        tuple(mean or CLIP_MEAN),
        tuple(std or CLIP_STD),
    )


def build(sizes: Mapping[str, Any]) -> nn.Module:
    """The architecture, drawn by transformers from torch's generator. Raises ``UserError`` without transformers."""
    transformers = _transformers()
    model: nn.Module = transformers.CLIPSegForImageSegmentation(transformers.CLIPSegConfig(**sizes))
    return model


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise UserError(
            "segmentation needs transformers, which is not installed: run pip install 'clipbench[segmentation]'."
        ) from error
    return transformers


def _random(known: Architecture, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build(known.sizes)
        _redraw(model)
        return model


def _redraw(model: Any) -> None:
    """PyTorch's own draw for the decoder around its blocks.

    transformers draws it with a standard deviation of 1: logits in the hundreds, on which no sigmoid has a gradient.
    """
    decoder = model.decoder
    for part in (decoder.film_mul, decoder.film_add, decoder.reduces, decoder.transposed_convolution):
        for layer in part.modules():
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()


def _fill(model: nn.Module, path: Path, name: str) -> None:
    """Weights of a file or folder, strictly; the position numbers that older checkpoints hold as well are dropped."""
    hook = model.register_load_state_dict_pre_hook(_drop_positions)  # type: ignore[no-untyped-call]
    try:
        load_file_into(model, weights_file(path), name)
    finally:
        hook.remove()


def _drop_positions(_: nn.Module, tensors: dict[str, Any], *__: Any) -> None:
    for key in [key for key in tensors if key.endswith(".embeddings.position_ids")]:
        del tensors[key]


def _pretrained(known: Architecture, backbone: str, weights: str) -> nn.Module:
    """transformers' own download, from its cache where it is there."""
    if weights != known.hub:
        has = f"the hub's {known.hub} and random ones" if known.hub else "random weights only (--weights random)"
        raise MissingWeightsError(f"{backbone} has {has}, not {weights!r}; --weights FILE takes a local file.")
    transformers = _transformers()
    with fetching(f"the weights {weights}"):
        model: nn.Module = transformers.CLIPSegForImageSegmentation.from_pretrained(weights)
    return model.float()
