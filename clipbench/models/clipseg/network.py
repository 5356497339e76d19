"""CLIPSeg's forward with a gradient into CLIP's towers where it is asked for (transformers' own stops it).

It calls transformers' modules, adapted or not, and equals ``CLIPSegForImageSegmentation`` where nothing is adapted.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn


class Segmenter(nn.Module):
    """Images and prompts to one logit per pixel.

    ``clipseg`` is a ``CLIPSegForImageSegmentation``. With ``encoder_gradient`` the loss reaches both towers; without,
    they run as in transformers, so that nothing in them learns. Rows are grouped by replica.
    """

    def __init__(self, clipseg: nn.Module, *, encoder_gradient: bool, replicas: int = 1) -> None:
        super().__init__()
        self.clipseg: Any = clipseg
        self._encoder_gradient, self._replicas = encoder_gradient, replicas

    def forward(self, images: Tensor, input_ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits ``[R*B, S, S]`` of normalised images ``[R*B, 3, S, S]`` under prompts ``[R*B, L]``, one per image.

        ``mask`` ``[R*B, L]`` marks what is no padding; it may be left out (see ``clipbench.models.clipseg.prompts``).
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and self._encoder_gradient):
            activations = self._activations(images)
            condition = self._condition(input_ids, mask)
        logits: Tensor = self.clipseg.decoder(activations, condition).logits
        return logits

    def _activations(self, images: Tensor) -> list[Tensor]:
        """Tokens ``[R*B, N, D]`` after each block that the decoder reads; the blocks behind the last are not run."""
        vision, wanted = self.clipseg.clip.vision_model, tuple(self.clipseg.extract_layers)
        hidden = vision.pre_layrnorm(vision.embeddings(images, interpolate_pos_encoding=True))
        outputs = []
        for block in vision.encoder.layers[: max(wanted) + 1]:
            hidden = _after(block, hidden)
            outputs.append(hidden)
        return [outputs[i] for i in wanted]

    def _condition(self, input_ids: Tensor, mask: Tensor | None) -> Tensor:
        """The prompts' features in the joint space ``[R*B, P]``.

        Without a gradient every different prompt is encoded once: medvlsm's p1 is the same for all images of a set.
        With one, dropout in an adapter draws for every row, and all rows are run.
        """
        if torch.is_grad_enabled():
            return self._text(input_ids, mask)
        replicas, length = self._replicas, input_ids.shape[1]
        grouped = input_ids.view(replicas, -1, length).transpose(0, 1).flatten(1)
        different, place = torch.unique(grouped, dim=0, return_inverse=True)
        rows = different.view(-1, replicas, length).transpose(0, 1).flatten(0, 1)
        features = self._text(rows, None).view(replicas, len(different), -1)
        return features[:, place].flatten(0, 1)

    def _text(self, input_ids: Tensor, mask: Tensor | None) -> Tensor:
        clip = self.clipseg.clip
        features: Tensor = clip.text_projection(clip.text_model(input_ids, attention_mask=mask).pooler_output)
        return features


def _after(block: nn.Module, hidden: Tensor) -> Tensor:
    """A vision block's output. Up to transformers 5.0 a block wants a second mask and returns a tuple."""
    parameters = inspect.signature(block.forward).parameters.values()
    masks = [p.name for p in parameters if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD][1:]
    output: Any = block(hidden, **dict.fromkeys(masks))
    after: Tensor = output[0] if isinstance(output, tuple) else output
    return after
