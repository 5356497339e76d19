"""Classification: images become features, and features logits, by a linear head or by the classes' prompts."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from clipbench.data.images import ImageSet
from clipbench.data.splits import Split
from clipbench.engine.batches.features import Encoder, FeatureBank
from clipbench.engine.batches.job_images import JobImages
from clipbench.engine.batches.views import EpochPlan, Images, batches
from clipbench.engine.context import Context
from clipbench.engine.random import stream
from clipbench.engine.tasks.class_metrics import calibration, class_metrics
from clipbench.engine.tasks.head import LinearHead
from clipbench.engine.tasks.prompts import check_told_apart, prompts_of
from clipbench.engine.tasks.task import Outputs, Parts, Results, Task
from clipbench.errors import UserError
from clipbench.methods import method as method_of
from clipbench.methods.base import Method, Setting, Support, checked_features, checked_logits, pretrained
from clipbench.models.half import HALF, halve
from clipbench.models.image_text import ImageText, load_image_text
from clipbench.models.image_tower import ImageTower
from clipbench.models.load import load_image_tower
from clipbench.models.products import PYTORCH, products_in_use
from clipbench.models.transfer import autocast
from clipbench.registry import Protocol
from clipbench.registry.budget import budget
from clipbench.results.companions import FEATURES

_SUPPORT_EPOCH = 1 << 20
"""Augmented views of the support images are drawn as those of epochs that training never comes to."""


class Classification(Task):
    """One class per image: logits ``[R, B, C]``. The score is the accuracy, over the known classes where not all are.

    ``prompts`` says which classes have a prompt; a class without one cannot be predicted. Where the image features need
    no gradient and their views repeat, they are computed once and stand in the place of the images.
    """

    score = "accuracy"
    rows = 256

    def __init__(
        self, protocol: Protocol, images: ImageSet, parts: Parts, seeds: Sequence[int], context: Context
    ) -> None:
        super().__init__()
        method = method_of(protocol.need("method"))
        self._precision = str(protocol.need("precision"))
        self.model = model = _model(protocol, context)
        self.pretrained = pretrained(model).to(context.device)
        if self._precision == HALF:
            halve(self.pretrained)
        head = protocol.need("task") == "linear-head"
        self.head = LinearHead(seeds, len(images.classes), model.width, protocol) if head else None
        self._protocol, self._parts, self._seeds, self._device = protocol, parts, tuple(seeds), context.device
        self._prompts = prompts = prompts_of(images, protocol, rejects=method.rejects)
        if isinstance(model, ImageText) and "@" in images.dataset:  # names of the user's own
            check_told_apart(prompts, model.prompts(prompts.texts).ids, model.name)
        self._images = JobImages(images, model, protocol, context)
        self._known = torch.tensor(list(parts.known), dtype=torch.long)
        due = budget(protocol, parts.train.shape[1])
        # The method is set up with its head in place, since it may free, freeze or look through either.
        self.method = method
        method.setup(
            Setting(
                model=model,
                classes=prompts.names,
                template=prompts.template,
                protocol=protocol,
                seeds=self._seeds,
                device=context.device,
                head=self.head,
                steps=due.steps,
                epochs=due.epochs,
                weights_file=context.sources.weights,
                _support=self._support,
                _images=self._unlabelled,
                _stream=stream,
            )
        )
        if not hasattr(method, "setting"):
            raise UserError(f"setup of the method {type(method).__name__} must begin with super().setup(setting).")
        if self._precision == HALF and any(p.dtype == torch.float16 for p in method.trained()):
            raise UserError(
                f"precision {HALF} is for frozen weights: the method {protocol.method} trains some of them, and a loss "
                f"scale needs float32 copies. Take precision fp16."
            )
        self.to(context.device)
        self._bank = self._features_once(trains=due.steps > 0)

    def train(self, mode: bool = True) -> Classification:
        """Switch the mode; the backbone's batch norms keep their statistics unless they are trained with all else."""
        super().train(mode)
        for module in self.pretrained.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.train(mode and self._protocol.batch_norm == "trained")
        return self

    def train_batches(self, seeds: Sequence[int], epochs: Iterable[EpochPlan]) -> Iterator[Tensor]:
        """Normalised images ``[R*B, 3, S, S]``, or their features ``[R*B, D]``, batch after batch."""
        plans = iter(epochs)
        first = next(plans, None)
        if first is None:
            return iter(())
        # A stage may train on the images of a seed that is none of the pass's: features of those were not kept. And an
        # epoch need not show every image (balanced domains, synthetic ones): later ones show others.
        plans, used = chain([first], plans), torch.unique(torch.cat([first.order.flatten(), self._trained_on()]))
        repeats = not self._images.crops and bool(torch.isin(used, self._trained_on()).all())
        if self._bank is not None and repeats:
            return self._bank.train_batches(self._protocol, seeds, plans)
        return self._images.train_batches(used, seeds, plans)

    def inputs(self, index: Tensor, part: str, epoch: int) -> Tensor:  # noqa: ARG002
        """Normalised images ``[R*B, 3, S, S]``, or their features, in the test view."""
        if self._bank is not None:
            return self._bank.batch(index.flatten())
        return self._plain(part).batch(index.flatten())

    def truth(self, index: Tensor) -> Tensor:
        """Labels ``[R, B]``."""
        return self._parts.labels[index]

    def losses(self, inputs: Tensor, truth: Tensor) -> Tensor:
        """The method's training loss ``[R]``, or ``[K, R]``; it knows the classes that have a prompt, in that order."""
        with autocast(self._device, self._precision):
            return self.method.losses(
                self._features(inputs), truth if self._prompts.same else self._prompts.columns(truth)
            )

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits ``[R, B, C]``, float32, one column per class of the data set, of inputs ``[R*B, ...]``."""
        with autocast(self._device, self._precision):
            logits = checked_logits(self.method, self.method.logits(self._features(inputs)))
        return self._prompts.placed(logits.float())

    def outputs(self, logits: Tensor, truth: Tensor) -> Outputs:
        """Predicted class, its probability, and the negative log-likelihood of the true class, each ``[R, B]``."""
        confidence, predictions = logits.softmax(dim=-1).max(dim=-1)
        inside = truth.clamp(max=logits.shape[-1] - 1)
        nll = functional.cross_entropy(logits.flatten(0, 1), inside.flatten(), reduction="none").view(truth.shape)
        return {"predictions": predictions, "confidence": confidence, "nll": nll}

    def scores(self, outputs: Outputs, index: Tensor) -> list[float]:
        """Accuracy of each run in percent."""
        truth = self._parts.labels[index]
        counted = torch.isin(truth, self._known) if len(self._known) else torch.ones_like(truth, dtype=torch.bool)
        right = (outputs["predictions"] == truth) & counted
        return [100.0 * float(r[c].double().mean()) for r, c in zip(right, counted, strict=True)]

    def results(self, outputs: Outputs, cut: Split) -> Results:
        """Accuracies, negative log-likelihood and calibration error; labels and outputs as a file."""
        labels = self._parts.labels[list(cut.test)].numpy()
        found, confidence = outputs["predictions"].numpy(), outputs["confidence"].numpy()
        metrics = class_metrics(labels, found, cut.known) | calibration(
            labels, found, confidence, outputs["nll"].numpy(), cut.known
        )
        arrays: dict[str, np.ndarray] = {
            "labels": labels.astype(np.uint16),
            "predictions": found.astype(np.uint16),
            "confidence": confidence.astype(np.float32),
        }
        return Results(metrics, {"predictions.npz": npz(arrays)})

    def start_epoch(self, seeds: Sequence[int], epoch: int) -> None:
        """Restart the streams of the model's and the head's dropout."""
        self.method.start_epoch(epoch, seeds)
        if self.head is not None:
            self.head.start_epoch(seeds, epoch)

    @torch.no_grad()
    def test_features(self) -> Tensor:
        """Features ``[R, t, D]`` (float16, CPU) of each run's test images as the model stands."""
        self.eval()
        pieces = []
        for index in torch.split(self._parts.test, max(self.rows // len(self._seeds), 1), dim=1):
            with autocast(self._device, self._precision):
                features = self._features(self.inputs(index, "test", 0))
            pieces.append(features.float().view(len(self._seeds), index.shape[1], -1).half().cpu())
        return torch.cat(pieces, dim=1)

    def feature_files(self, before: Tensor, after: Tensor) -> list[Mapping[str, bytes]]:
        """One run's file each: features ``[t, D]`` before and after training, labels ``[t]``, the class names."""
        names = {"classes": json.dumps(list(self._images.set.classes))}
        files: list[Mapping[str, bytes]] = []
        for b, a, labels in zip(before, after, self._parts.labels[self._parts.test], strict=True):
            tensors = {"before": b.contiguous(), "after": a.contiguous(), "labels": labels.to(torch.int16)}
            files.append({FEATURES: save(tensors, metadata=names)})
        return files

    def _features(self, inputs: Tensor) -> Tensor:
        """Features of inputs that are images; inputs that are features already pass."""
        return checked_features(self.method, inputs) if inputs.ndim == 4 and inputs.shape[1] == 3 else inputs

    def _plain(self, part: str) -> Images:
        used: Tensor = getattr(self._parts, part)
        return self._images.plain(used)

    def _features_once(self, *, trains: bool) -> FeatureBank | None:
        """The features of all images that are looked at, in every view that repeats; None where something moves them.

        Random crops do not repeat: training then encodes each crop, and the test images' features are kept.
        """
        if self._moves():
            return None
        self.eval()
        bank, encoder = FeatureBank(), self._encoder()
        for part in ("test", "val"):
            used = torch.unique(getattr(self._parts, part))
            if len(used):
                bank.add(self._plain(part), used, encoder, 1)
        if trains and not self._images.crops:
            used = torch.unique(self._trained_on())
            bank.add(self._images.flipped(used), used, encoder, self._images.flips)
        return bank

    def _trained_on(self) -> Tensor:
        """The images of all runs that training shows, ``[n]``: of the train part, and synthetic ones beside them."""
        real, synthetic = self._parts.train.flatten(), self._parts.synthetic
        return real if synthetic is None else torch.cat([real, synthetic.index])

    def _moves(self) -> bool:
        """Whether the features of an image need a gradient (asked of one image, not declared), or follow statistics."""
        if self._protocol.batch_norm == "trained":
            return True
        side = self._images.size
        with torch.enable_grad(), autocast(self._device, self._precision):
            probe = torch.zeros(len(self._seeds), 3, side, side, device=self._device)
            self.eval()
            return checked_features(self.method, probe).requires_grad

    def _encoder(self) -> Encoder:
        """Images to the features that the method gives them now; kept on disk where they are the model's own."""
        p = self._protocol

        @torch.no_grad()
        def encode(images: Tensor) -> Tensor:
            with autocast(self._device, p.need("precision")):
                return checked_features(self.method, images).float()

        plain = type(self.method).image_features is Method.image_features and not any(
            p.requires_grad for p in self.pretrained.parameters()
        )
        # Equal tensors are another network with other activations or heads: the one stands in repr, both in the name.
        network = hashlib.sha256(f"{self.model.name} {self.model.module!r}".encode()).hexdigest()
        words = (
            f"{network} {self.model.weights_sha256} {p.task} {p.pooling} {p.precision} {self._device.type} "
            f"{torch.__version__}{'' if (by := products_in_use()) == PYTORCH else f' {by}'}"
        )
        return Encoder(encode, words if plain else None)

    def _support(self, part: str, view: str, repeats: int) -> Support:
        """Labels and features of each run's images of a part, in the test view or in ``repeats`` training views."""
        self.to(self._device).eval()
        index: Tensor = getattr(self._parts, part)
        runs, count = index.shape
        labels = self._prompts.columns(self._parts.labels[index]).repeat(1, repeats)
        if view == "test" and not self._moves():
            used = torch.unique(index)
            bank = FeatureBank().add(self._plain(part), used, self._encoder(), 1)
            features = bank.batch(index.flatten())
            features = features.view(runs, count, *features.shape[1:])
            return Support(labels, torch.cat([features] * repeats, dim=1))
        slices = batches(count, max(self.rows // runs, 1), drop_last=False)
        plans = [EpochPlan(_SUPPORT_EPOCH + k, index, slices) for k in range(repeats)]
        views: Iterable[Tensor]
        if view == "test":
            views = (self._plain(part).batch(index[:, some].flatten()) for _ in plans for some in slices)
        else:
            views = self._images.train_batches(index, self._seeds, plans)
        encode = self._encoder().encode
        pieces = [encode(images) for images in views]
        pieces = [piece.view(runs, -1, *piece.shape[1:]) for piece in pieces]
        return Support(labels, torch.cat(pieces, dim=1))

    def _unlabelled(self, part: str, view: str) -> _Unlabelled:
        index: Tensor = getattr(self._parts, part)
        used = torch.unique(index)
        return _Unlabelled(index, self._images.plain(used) if view == "test" else self._images.flipped(used))


def _model(protocol: Protocol, context: Context) -> ImageText | ImageTower:
    """The pretrained model that the task needs. Raises ``UserError`` where its images are of another size."""
    backbone, weights = protocol.need("backbone"), protocol.need("weights")
    model: ImageText | ImageTower
    if protocol.need("task") == "linear-head":
        model = load_image_tower(backbone, weights, protocol.need("pooling"), context.sources)
    else:
        model = load_image_text(backbone, weights, context.sources)
    if protocol.image_size is not None:
        model.check_size(protocol.image_size)
    return model


@dataclass(frozen=True)
class _Unlabelled:
    """Images of one part ``[R, n]`` by their position in it."""

    index: Tensor
    images: Images

    @property
    def count(self) -> int:
        """Images of each run."""
        return self.index.shape[1]

    def batch(self, index: Tensor) -> Tensor:
        """Normalised images ``[R*B, 3, S, S]`` of positions ``[R, B]``."""
        return self.images.batch(torch.gather(self.index, 1, index).flatten())


def npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays as a compressed, pickle-free numpy archive."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()
