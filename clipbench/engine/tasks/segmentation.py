"""Segmentation: one logit per pixel from an image and its prompt (CLIP-DoRA sec. 4.4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from clipbench.data.cache import decoded_masks
from clipbench.data.images import ImageSet
from clipbench.data.splits import Split
from clipbench.engine.batches.job_images import JobImages
from clipbench.engine.batches.views import EpochPlan, Images, resident, rows_of
from clipbench.engine.context import Context
from clipbench.engine.random import stream
from clipbench.engine.tasks.classification import npz
from clipbench.engine.tasks.segmentation_loss import segmentation_losses
from clipbench.engine.tasks.segmentation_metric import Overlap, joined, overlap, predicted
from clipbench.engine.tasks.segmentation_prompts import PromptBank
from clipbench.engine.tasks.task import Outputs, Parts, Results, Task
from clipbench.errors import UserError
from clipbench.methods import method as method_of
from clipbench.methods.base import Setting
from clipbench.models.clipseg.load import load_clipseg
from clipbench.models.clipseg.network import Segmenter
from clipbench.models.half import HALF
from clipbench.models.transfer import autocast, sent
from clipbench.registry import Protocol
from clipbench.registry.budget import budget
from clipbench.results.companions import ROWS, SHEET, SIDE, Sheet, spread

_CHUNK = 64
"""Images whose masks are compared at once."""


@dataclass(frozen=True)
class Prompted:
    """Normalised images ``[R*B, 3, S, S]``, token ids and their mask ``[R*B, L]`` of one prompt each."""

    images: Tensor
    input_ids: Tensor
    mask: Tensor


class Segmentation(Task):
    """CLIPSeg, a data set's prompts and its masks, for the runs of ``seeds``; the score is the mean Dice per image.

    The loss is the protocol's; the method says what of the network is trained. Whole images and masks are decoded once
    for all parts. Raises ``UserError`` where nothing is trained, or a view would move the image away from its mask.
    """

    rows = 32
    score = "dice"

    def __init__(
        self, protocol: Protocol, images: ImageSet, parts: Parts, seeds: Sequence[int], context: Context
    ) -> None:
        super().__init__()
        _check(protocol)
        self.method = method = method_of(protocol.need("method"))
        self.model = model = load_clipseg(protocol.need("backbone"), protocol.need("weights"), context.sources)
        model.check_size(protocol.need("image_size"))
        self._protocol, self._seeds, self._device, self._names = protocol, tuple(seeds), context.device, images.files
        self._loss = str(protocol.need("loss"))
        due = budget(protocol, parts.train.shape[1])
        method.setup(
            Setting(model, (), "", protocol, self._seeds, context.device, None, due.steps, due.epochs, _stream=stream)
        )
        gradient = bool(protocol.need("encoder_gradient"))
        self.network = Segmenter(model.module, encoder_gradient=gradient, replicas=len(seeds))
        if not any(p.requires_grad for p in self.parameters()):
            raise UserError("the method trains nothing of the segmentation network; lora, dora and full do.")
        self.to(context.device)
        self._used = torch.unique(torch.cat([part.flatten() for part in (parts.train, parts.val, parts.test)]))
        self._row = rows_of(self._used)
        self._views, self._set, self._say = JobImages(images, model, protocol, context), images, context.say
        self.prompts = PromptBank(images.prompts, protocol.need("prompt_type"))

    @cached_property
    def _images(self) -> Images:
        return self._views.plain(self._used)

    @cached_property
    def _masks(self) -> Tensor:
        """``[U, S, S]`` (uint8, zeros and ones) of the images that are used."""
        masks = decoded_masks(self._set, self._views.size, self._used.tolist(), self._say)
        return resident(torch.from_numpy(np.asarray(masks)), self._device)

    def losses(self, inputs: Prompted, truth: Tensor) -> Tensor:
        """Loss ``[R]`` of prompted images and masks ``[R, B, S, S]``."""
        return self.loss(self(inputs), truth)

    def loss(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Loss ``[R]`` of logits and masks ``[R, B, S, S]``."""
        return segmentation_losses(logits.flatten(0, 1), truth.flatten(0, 1), self._loss, len(logits))

    def forward(self, inputs: Prompted) -> Tensor:
        """Logits ``[R, B, S, S]``, float32."""
        with autocast(self._device, self._protocol.need("precision")):
            logits: Tensor = self.network(inputs.images, inputs.input_ids, inputs.mask)
        return logits.float().view(len(self._seeds), -1, *logits.shape[1:])

    def start_epoch(self, seeds: Sequence[int], epoch: int) -> None:
        """Restart the streams of the adapters' dropout."""
        self.method.start_epoch(epoch, seeds)

    def train_batches(self, seeds: Sequence[int], epochs: Iterable[EpochPlan]) -> Iterator[Prompted]:  # noqa: ARG002
        """Images and prompts of every batch of the epochs; the prompts are drawn anew in each."""
        for plan in epochs:
            chosen = self._chosen("train", plan.epoch)
            for part in plan.parts:
                yield self._prompted(plan.order[:, part], chosen)

    def inputs(self, index: Tensor, part: str, epoch: int) -> Prompted:
        """Images ``[R, B]`` of a part and their prompts, drawn for that part and epoch."""
        return self._prompted(index, self._chosen(part, epoch))

    def truth(self, index: Tensor) -> Tensor:
        """Masks ``[R, B, S, S]`` (bool)."""
        row = sent(self._row[index], self._masks.device)
        return self._masks[row].bool()

    def outputs(self, logits: Tensor, truth: Tensor) -> Outputs:  # noqa: ARG002
        """Foreground of logits ``[R, B, S, S]`` as packed bits ``[R, B, S*S/8]`` (uint8)."""
        bits = pack(predicted(logits.flatten(0, 1)).cpu())
        return {"predictions": bits.view(*logits.shape[:2], -1)}

    def scores(self, outputs: Outputs, index: Tensor) -> list[float]:
        """Mean Dice of each run in percent."""
        found = outputs["predictions"]
        return [self._overlap(some, which).mean_dice for some, which in zip(found, index, strict=True)]

    def results(self, outputs: Outputs, cut: Split) -> Results:
        """Dice and IoU; masks and predictions as packed bits; a small sheet of some images."""
        index, predictions = torch.tensor(list(cut.test)), outputs["predictions"]
        found = self._overlap(predictions, index)
        masks = torch.cat([pack(self.truth(some).cpu()) for some in torch.split(index, _CHUNK)])
        arrays = {"size": np.asarray(self._side), "masks": masks.numpy(), "predictions": predictions.numpy()}
        sheet = self._sheet(predictions, index, found.dice.tolist()).to_bytes()
        files: Mapping[str, bytes] = {"predictions.npz": npz(arrays), SHEET: sheet}
        return Results({"dice": found.mean_dice, "iou": found.mean_iou}, files)

    @property
    def _side(self) -> int:
        return int(self._masks.shape[-1])

    def _chosen(self, part: str, epoch: int) -> Tensor:
        """The prompt of every image ``[R, N]``, as each replica has it."""
        return torch.stack([self.prompts.chosen(seed, part, epoch) for seed in self._seeds])

    def _prompted(self, index: Tensor, chosen: Tensor) -> Prompted:
        ids, mask = self.prompts.tokens(chosen.gather(1, index).flatten())
        images = self._images.batch(index.flatten())
        return Prompted(images, sent(ids, images.device), sent(mask, images.device))

    def _overlap(self, predictions: Tensor, index: Tensor) -> Overlap:
        """Scores of packed predictions ``[t, S*S/8]`` for images ``[t]``."""
        chunks = zip(torch.split(predictions, _CHUNK), torch.split(index, _CHUNK), strict=True)
        return joined([overlap(unpack(some, self._side), self.truth(which).cpu()) for some, which in chunks])

    def _sheet(self, predictions: Tensor, index: Tensor, dice: Sequence[float]) -> Sheet:
        shown = spread(len(dice), ROWS)
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


def _check(protocol: Protocol) -> None:
    if protocol.precision == HALF:
        raise UserError(f"segmentation runs in fp32, bf16 or fp16; {HALF} is OpenAI's code of CLIP.")
    views = {protocol.need("train_transform"), protocol.need("test_transform")}
    if views != {"resize"} or protocol.hflip or protocol.vflip:
        raise UserError(
            "segmentation trains and tests on whole images as they are: train_transform and test_transform "
            "are resize, and there are no flips."
        )
