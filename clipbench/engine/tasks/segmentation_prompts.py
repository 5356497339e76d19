"""Which prompt each image is segmented with, as token ids: encoded once, drawn anew where medvlsm draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from clipbench.engine.random import stream
from clipbench.errors import UserError
from clipbench.models.clipseg.prompts import shortest, tokenise

Prompts = Sequence[Mapping[str, Sequence[str]]]
"""medvlsm's prompts of each image: ``{"p0": ("",), "p1": ("polyp",), "p7": ("polyp which is ...", ...)}``."""


class PromptBank:
    """The prompts of one type, of every image ``[N]``; the different ones among them as token ids ``[U, L]``.

    p7, p8 and p9 are lists, of which medvlsm draws one each time an image is read, in validation and test as well.
    """

    def __init__(self, prompts: Prompts, prompt_type: str) -> None:
        choices = [_choices(image, prompt_type, number) for number, image in enumerate(prompts)]
        different = list(dict.fromkeys(text for texts in choices for text in texts))
        row = {text: number for number, text in enumerate(different)}
        self._rows = [torch.tensor([row[text] for text in texts]) for texts in choices]
        self.texts = tuple(different)
        self.input_ids, self.mask = tokenise(different, shortest(different))

    def chosen(self, seed: int, purpose: str, epoch: int = 0) -> Tensor:
        """Which of ``texts`` each image gets ``[N]``, in one epoch of one run, for one purpose (train, val, test)."""
        draw = torch.rand(len(self._rows), generator=stream(seed, f"prompt-{purpose}", epoch))
        picks = zip(self._rows, draw.tolist(), strict=True)
        return torch.tensor([int(rows[int(share * len(rows))]) for rows, share in picks])

    def tokens(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Token ids and mask ``[B, L]`` of rows ``[B]`` out of what `chosen` gave."""
        return self.input_ids[rows], self.mask[rows]


def _choices(image: Mapping[str, Sequence[str]], prompt_type: str, number: int) -> Sequence[str]:
    if not image.get(prompt_type):
        raise UserError(
            f"image {number} of the data set has no prompt {prompt_type!r}, only {', '.join(sorted(image)) or 'none'}. "
            f"Choose another with --assume segmentation-prompt=..."
        )
    return image[prompt_type]
