"""Batches of a segmentation: images under their prompts, the masks, and what is measured of predicted masks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from clipbench.data.splits import Split
from clipbench.engine.batches.views import EpochPlan, Images, resident, rows_of
from clipbench.engine.examiner import Results, npz
from clipbench.engine.tasks.segmentation_metric import Overlap, joined, overlap, predicted
from clipbench.engine.tasks.segmentation_prompts import PromptBank
from clipbench.models.transfer import sent
from clipbench.registry import Protocol
from clipbench.results.companions import ROWS, SHEET, SIDE, Sheet, spread

_CHUNK = 64
"""Images whose masks are compared at once."""


@dataclass(frozen=True)
class Prompted:
    """Normalised images ``[R*B, 3, S, S]``, token ids and their mask ``[R*B, L]`` of one prompt each."""

    images: Tensor
    input_ids: Tensor
    mask: Tensor


class SegmentationData:
    """Source and examiner of a segmentation, for the replicas of ``seeds``; the score is the mean Dice per image.

    ``masks`` ``[U, S, S]`` (uint8, zeros and ones) are those of the images ``used`` ``[U]`` of the data set, which
    ``images`` serves by the same indices; ``names`` are the files of all of it.
    """

    rows: int = 32
    score: str = "dice"

    def __init__(
        self,
        images: Images,
        masks: np.ndarray,
        used: Tensor,
        prompts: PromptBank,
        seeds: Sequence[int],
        names: Sequence[str],
    ) -> None:
        self._images, self._prompts, self._seeds, self._names = images, prompts, tuple(seeds), names
        self._masks, self._row = resident(torch.from_numpy(np.asarray(masks)), images.device), rows_of(used)

    def train_batches(self, _: Protocol, __: Sequence[int], epochs: Iterable[EpochPlan]) -> Iterator[Prompted]:
        """Images and prompts of every batch of the epochs; the prompts are drawn anew in each."""
        for plan in epochs:
            chosen = self._chosen("train", plan.epoch)
            for part in plan.parts:
                yield self._prompted(plan.order[:, part], chosen)

    def batch(self, index: Tensor) -> Tensor:
        """Normalised images ``[B, 3, S, S]``."""
        return self._images.batch(index)

    def inputs(self, index: Tensor, part: str, epoch: int) -> Prompted:
        """Images ``[R, B]`` of a part and their prompts, drawn for that part and epoch."""
        return self._prompted(index, self._chosen(part, epoch))

    def truth(self, index: Tensor) -> Tensor:
        """Masks ``[R, B, S, S]`` (bool)."""
        row = sent(self._row[index], self._masks.device)
        return self._masks[row].bool()

    def predicted(self, logits: Tensor) -> Tensor:
        """Foreground of logits ``[R, B, S, S]`` as packed bits ``[R, B, S*S/8]`` (uint8)."""
        return pack(predicted(logits.flatten(0, 1)).cpu()).view(*logits.shape[:2], -1)

    def scores(self, predictions: Tensor, index: Tensor) -> list[float]:
        """Mean Dice of each replica in percent."""
        return [self._overlap(found, which).mean_dice for found, which in zip(predictions, index, strict=True)]

    def results(self, predictions: Tensor, cut: Split) -> Results:
        """Dice and IoU; masks and predictions as packed bits; a small sheet of some images."""
        index = torch.tensor(list(cut.test))
        found = self._overlap(predictions, index)
        masks = torch.cat([pack(self.truth(some).cpu()) for some in torch.split(index, _CHUNK)])
        arrays = {"size": np.asarray(self._side), "masks": masks.numpy(), "predictions": predictions.numpy()}
        sheet = self._sheet(predictions, index, found.dice.tolist()).to_bytes()
        files = {"predictions.npz": npz(arrays), SHEET: sheet}
        return Results({"dice": found.mean_dice, "iou": found.mean_iou}, files)

    @property
    def _side(self) -> int:
        return int(self._masks.shape[-1])

    def _chosen(self, part: str, epoch: int) -> Tensor:
        """The prompt of every image ``[R, N]``, as each replica has it."""
        return torch.stack([self._prompts.chosen(seed, part, epoch) for seed in self._seeds])

    def _prompted(self, index: Tensor, chosen: Tensor) -> Prompted:
        ids, mask = self._prompts.tokens(chosen.gather(1, index).flatten())
        images = self._images.batch(index.flatten())
        return Prompted(images, sent(ids, images.device), sent(mask, images.device))

    def _overlap(self, predictions: Tensor, index: Tensor) -> Overlap:
        """Scores of packed predictions ``[t, S*S/8]`` for images ``[t]``."""
        chunks = zip(torch.split(predictions, _CHUNK), torch.split(index, _CHUNK), strict=True)
        return joined([overlap(unpack(some, self._side), self.truth(which).cpu()) for some, which in chunks])

    def _sheet(self, predictions: Tensor, index: Tensor, dice: Sequence[float]) -> Sheet:
        shown = spread(dice, ROWS)
        which = index[shown]
        side = min(self._side, SIDE)
        pixels = functional.interpolate(self._images.pixels(which).float(), (side, side), mode="area")
        masks, found = (
            functional.interpolate(each.float().unsqueeze(1), (side, side), mode="nearest-exact").squeeze(1).bool()
            for each in (self.truth(which).cpu(), unpack(predictions[shown], self._side))
        )
        images = pixels.round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        names = [PurePosixPath(self._names[i]).name for i in which.tolist()]
        return Sheet(images, masks.numpy(), found.numpy(), names, [dice[i] for i in shown], len(dice))


def pack(masks: Tensor) -> Tensor:
    """Masks ``[n, S, S]`` (bool, CPU) as bits ``[n, S*S/8]`` (uint8), the first pixel in the highest bit."""
    return torch.from_numpy(np.packbits(masks.flatten(1).numpy(), axis=1))


def unpack(bits: Tensor, side: int) -> Tensor:
    """Masks ``[n, S, S]`` (bool) of bits ``[n, S*S/8]``."""
    pixels = np.unpackbits(bits.numpy(), axis=1, count=side * side)
    return torch.from_numpy(pixels.astype(bool)).view(-1, side, side)
