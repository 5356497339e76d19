"""What every method offers the engine: what is trained, how logits come about, what is minimised."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from typing import Protocol as Interface

import torch
from torch import Tensor, nn
from torch.nn import functional

from clipbench.errors import UserError
from clipbench.models.half import HALF
from clipbench.registry import Protocol


@dataclass(frozen=True)
class Support:
    """Images that a method may look at, seed by seed.

    Attributes:
        labels: Class of each image among those that have a prompt, ``[R, n]``, on the CPU.
        features: Image features ``[R, n, D]`` as the method computes them now, un-normalised, without a gradient.
    """

    labels: Tensor
    features: Tensor


class UnlabelledImages(Interface):
    """Images of one part of the data, without their labels."""

    @property
    def count(self) -> int:
        """Images of every seed."""

    def batch(self, index: Tensor) -> Tensor:
        """Normalised images ``[R*B, 3, S, S]`` of the positions ``index`` ``[R, B]`` in each seed's part."""


@dataclass(frozen=True)
class Setting:
    """All that a method sees of a run: the model, the classes, the protocol, and the images it may look at.

    Attributes:
        model: The pretrained network: an ``ImageText``, an ``ImageTower`` under a linear head, or a CLIPSeg.
        classes: Names as they stand in the prompts, ``C`` of them.
        template: The prompt, with ``{}`` in the place of the name; empty where there are no prompts.
        protocol: Everything that fixes the number.
        seeds: One per run that trains in this pass; their number is ``R``.
        device: Where the model is.
        head: The linear head over the features ``[R*B, D] -> [R, B, C]``; None where prompts are the classifier.
        steps: Optimiser steps of the last stage; 0 where nothing is trained.
        epochs: Epochs of the last stage, the last of which may end early.
        weights_file: The user's own file that the weights came from; None where they came from elsewhere.
    """

    model: Any
    classes: Sequence[str]
    template: str
    protocol: Protocol
    seeds: Sequence[int]
    device: torch.device
    head: nn.Module | None = None
    steps: int = 0
    epochs: int = 0
    weights_file: Path | None = None
    _support: Callable[[str, str, int], Support] | None = field(default=None, repr=False)
    _images: Callable[[str, str], UnlabelledImages] | None = field(default=None, repr=False)
    _stream: Callable[[int, str], torch.Generator] | None = field(default=None, repr=False)

    def support(self, part: str = "train", view: str = "test", repeats: int = 1) -> Support:
        """Labels and features of a part (``train`` or ``val``).

        ``view`` is ``test`` (no augmentation) or ``train``; with ``repeats`` draws, one after the other:
        ``[R, repeats * n, ...]``.
        """
        assert self._support is not None, "this setting has no images"  # noqa: S101
        return self._support(part, view, repeats)

    def images(self, part: str = "test", view: str = "test") -> UnlabelledImages:
        """The images of a part without their labels, for methods that adapt to a domain."""
        assert self._images is not None, "this setting has no images"  # noqa: S101
        return self._images(part, view)

    def stream(self, purpose: str, run: int = 0, seed: int | None = None) -> torch.Generator:
        """A CPU generator of run ``run`` (0 to R - 1), the same whatever else is drawn before or beside it.

        ``seed`` in place of a run's: a stage may train seeds that are none of the pass's.
        """
        seed = self.seeds[run] if seed is None else seed
        return torch.Generator().manual_seed(seed) if self._stream is None else self._stream(seed, purpose)


class Method(nn.Module):
    """A way of adapting a model. A subclass overrides what differs; one file per method.

    Parameters that the method registers on itself are trained, and so are those of the model that it leaves with
    ``requires_grad``. With ``seed_axis`` the first axis of every one of them is the seed. Persistent buffers are kept
    in checkpoints; register what is computed in ``setup`` (a cache, a teacher's features) with ``persistent=False``.
    """

    fields: ClassVar[Sequence[Any]] = ()
    """Protocol fields of this method alone; naming the method makes them known."""

    uses: ClassVar[Sequence[str]] = ()
    """Shared protocol fields that the method reads (``rank``, ``towers``...)."""

    protocol: ClassVar[Mapping[str, Any]] = {}
    """Protocol fields that the method sets for itself where it is named by ``--method`` (its learning rate, say)."""

    label: ClassVar[str] = ""
    """Its name in a table, where it is named by ``--method``; by default that of the class."""

    gradient_through: ClassVar[str] = ""
    """Towers that training's gradient passes through: vision, text, both; empty: the protocol's ``towers``, if any.

    ``weights``: both, and every weight is trained.
    The plan estimates time and memory by it, before there is a model; the engine sees for itself.
    """

    prompts_per_image: ClassVar[bool] = False
    """Every image meets class prompts of its own, which the text tower encodes for it."""

    image_copies: ClassVar[str] = ""
    """The field that says how often each image passes the image tower, where it does more than once."""

    prompt_copies: ClassVar[str] = ""
    """The field whose texts, with | between them, are the prompts of each class, where there are several."""

    seed_axis: ClassVar[bool] = False
    """Several seeds can train in one pass over the frozen model."""

    rejects: ClassVar[bool] = False
    """Its last column of logits stands for an unknown class (an open-set rule): ``[R, B, C + 1]``."""

    copies: int = 1
    """Copies of what one run trains that are in the model at once (clients of federated learning): counted once."""

    stages: ClassVar[int] = 1
    """How often training begins anew, with a fresh optimiser and schedule and what the stage before has trained."""

    def setup(self, setting: Setting) -> None:
        """Freeze the model, then put in, free or register what is trained. Call ``super().setup(setting)`` first."""
        self.setting = setting
        self._classes: Tensor | None = None
        self._classes_stay = False
        self.stage_runs = len(setting.seeds)  # that train now: a stage may train fewer than the job has
        pretrained(setting.model).requires_grad_(False)

    def image_features(self, images: Tensor) -> Tensor:
        """Features ``[R*B, D]``, un-normalised, of normalised images ``[R*B, 3, S, S]``.

        Where they need no gradient, the engine computes them once per image and view.
        """
        features: Tensor = self.setting.model.encode_image(images)
        return features

    def class_features(self) -> Tensor:
        """Features ``[R, C, ..., D]``, un-normalised, of the classes; kept for as long as nothing moves them.

        What needs no gradient in training stays to the end of the stage, what is computed for a test to its end.
        """
        if self._classes is not None:
            return self._classes
        features = self.encode_classes()
        if not features.requires_grad:
            self._classes, self._classes_stay = features, torch.is_grad_enabled()
        return features

    def encode_classes(self) -> Tensor:
        """Features ``[R, C, ..., D]``, un-normalised, of the classes' prompts as the method and the model stand."""
        model, runs = self.setting.model, len(self.setting.seeds)
        moves = any(p.requires_grad for p in model.text_parameters())
        features: Tensor = model.encode_text(self.prompts(), replicas=runs if moves else 1)
        return features.expand(runs, -1, -1)

    def texts(self) -> list[str]:
        """The classes' prompts as text: the template around each name."""
        return [self.setting.template.format(name) for name in self.setting.classes]

    def prompts(self) -> Any:
        """The classes' prompts, tokenised once."""
        if not hasattr(self, "_prompts"):
            self._prompts = self.setting.model.prompts(self.texts())
        return self._prompts

    def logits(self, features: Tensor) -> Tensor:
        """Logits ``[R, B, C]``, float32, of features ``[R*B, D]``: the head's, or scaled cosines with the prompts."""
        if self.setting.head is not None:
            found: Tensor = self.setting.head(features)
            return found
        return self.cosine(features, self.class_features())

    def cosine(self, features: Tensor, classes: Tensor) -> Tensor:
        """Scaled cosines ``[R, B, C]``, float32, of features ``[R*B, D]`` and class features ``[R, C, D]``."""
        with torch.autocast(features.device.type, enabled=False):
            images = functional.normalize(features.float(), dim=-1).view(len(classes), -1, features.shape[-1])
            prompts = functional.normalize(classes.float(), dim=-1).transpose(1, 2)
            if (
                self.setting.protocol.precision == HALF
            ):  # the product too is of half precision, as in CLIP-LoRA lora.py:112
                return torch.bmm((self.scale() * images).half(), prompts.half()).float()
            return self.scale() * torch.bmm(images, prompts)

    def scale(self) -> float | Tensor:
        """The factor on the cosine: the protocol's ``logit_scale``, or the checkpoint's own where it names none."""
        named = self.setting.protocol.logit_scale
        if named is not None:
            return named
        scale: Tensor = self.setting.model.logit_scale
        return scale.to(self.setting.device)

    def losses(self, features: Tensor, truth: Tensor) -> Tensor:
        """Loss ``[R]`` of features ``[R*B, D]`` and labels ``[R, B]``; ``[K, R]`` for a method with ``combine``.

        The sum over the runs is what is differentiated: each run's parameters get the gradient of their own loss.
        """
        return self.loss(checked_logits(self, self.logits(features)), truth)

    def loss(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Loss ``[R]`` of logits ``[R, B, C]`` and labels ``[R, B]``: the mean cross-entropy, or SigLIP's loss."""
        setting = getattr(self, "setting", None)
        if setting is not None and setting.protocol.loss == "sigmoid":
            return self.sigmoid_loss(logits, truth)
        each = functional.cross_entropy(logits.flatten(0, 1), truth.flatten(), reduction="none")
        return each.view(truth.shape).mean(dim=1)

    def sigmoid_loss(self, logits: Tensor, truth: Tensor) -> Tensor:
        """SigLIP's loss ``[R]`` (Zhai et al., ICCV 2023, eq. 2) of logits ``[R, B, C]`` to which its bias comes here.

        Each image and class is a pair of its own, right or wrong; the sum over the classes, the mean over the images.
        """
        bias = self.setting.model.logit_bias
        if bias is None:
            raise UserError(
                f"loss = sigmoid needs the bias that a model was trained with, and {self.setting.model.name} has none; "
                f"only SigLIPs have one. Pass --set loss=cross-entropy."
            )
        right = 2.0 * functional.one_hot(truth, logits.shape[-1]) - 1.0
        return -functional.logsigmoid(right * (logits + bias.to(logits.device))).sum(dim=-1).mean(dim=1)

    def combine(self, gradients: Sequence[Sequence[Tensor]]) -> Sequence[Tensor]:
        """One gradient per trained parameter from those of each of the K losses (ProGrad's projection)."""
        raise NotImplementedError(f"{type(self).__name__} has several losses and no combine")

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Trained parameters by group, each with its ``weight_decay`` and, where it has one of its own, its ``lr``."""
        return [{"params": self.trained(), "weight_decay": self.setting.protocol.need("weight_decay")}]

    def trained(self) -> list[nn.Parameter]:
        """Everything that has ``requires_grad``: of the model, the head and the method."""
        setting = self.setting
        parts = [pretrained(setting.model), *([setting.head] if setting.head is not None else []), self]
        return [p for part in parts for p in part.parameters() if p.requires_grad]

    def stage_seeds(self, stage: int) -> Sequence[int]:  # noqa: ARG002
        """The seeds that train in a stage."""
        return self.setting.seeds

    def stage_protocol(self, stage: int) -> Protocol:  # noqa: ARG002
        """How a stage trains: its epochs, optimiser and schedule."""
        return self.setting.protocol

    def start_stage(self, stage: int) -> None:
        """Free, freeze or expand parameters before a stage begins."""

    def epoch_order(self, epoch: int, labels: Tensor) -> tuple[Tensor, Sequence[slice]] | None:  # noqa: ARG002
        """Positions ``[R, m]`` in the training images of labels ``[R, n]`` that an epoch sees, and its batches' slices.

        As many batches in every epoch. None: each run sees every image once, in an order of its own, ``batch_size`` at
        a time.
        """
        return None

    def before_step(self, step: int) -> bool:  # noqa: ARG002
        """Before step ``step`` of an epoch (from 0); whether the optimiser starts afresh, without momentum."""
        return False

    def after_step(self) -> None:
        """After each step of the optimiser, with the gradients still there: a schedule that prunes, averages."""

    def start_epoch(self, epoch: int, seeds: Sequence[int]) -> None:
        """Restart the random streams inside the model (dropout), one seed per run."""

    def end_epoch(self, epoch: int) -> None:
        """After the last step of an epoch: averages of weights over epochs."""

    def finish(self) -> None:
        """After training, before the last test: what is fitted to features, not trained by steps."""

    def measured(self) -> Mapping[str, float]:
        """Further numbers of each run for its record, by name."""
        return {}

    def test_batch(self) -> int | None:
        """Images of each run in a test batch, where logits depend on what else is in it; None where they do not."""
        return None

    def train(self, mode: bool = True) -> Method:
        """Switch the mode; class features that training may move are not kept beyond it."""
        if not self._classes_stay:
            self._classes = None
        super().train(mode)
        return self

    def new_stage(self, stage: int) -> None:
        """Start a stage: nothing that was computed before it is kept."""
        self._classes, self._classes_stay = None, False
        self.stage_runs = len(self.stage_seeds(stage))
        self.start_stage(stage)


def checked_logits(method: Method, logits: Any) -> Tensor:
    """The logits ``[R, B, C]``. Raises ``UserError`` for what is none: another shape or type than expected."""
    if not hasattr(method, "setting"):  # a method by itself: nothing says what is expected
        unchecked: Tensor = logits
        return unchecked
    runs, count = method.stage_runs, len(method.setting.classes) + method.rejects
    if isinstance(logits, Tensor):
        if logits.ndim == 3 and (len(logits), logits.shape[2]) == (runs, count) and logits.is_floating_point():
            return logits
        found = f"logits of shape {list(logits.shape)} and type {logits.dtype}"
    else:
        found = f"a {type(logits).__name__} as logits"
    raise UserError(
        f"the method {type(method).__name__} gives {found}; expected are real numbers [R, B, C] = "
        f"[{runs}, B, {count}]: one row per seed and image, one column per class."
    )


def checked_features(method: Method, images: Tensor) -> Tensor:
    """The method's features ``[R*B, ...]`` of images ``[R*B, 3, S, S]``. Raises ``UserError`` for what is none."""
    features: Any = method.image_features(images)
    if isinstance(features, Tensor):
        if features.ndim > 1 and len(features) == len(images) and features.is_floating_point():
            return features
        found = f"image features of shape {list(features.shape)} and type {features.dtype}"
    else:
        found = f"a {type(features).__name__} as image features"
    raise UserError(
        f"the method {type(method).__name__} gives {found} of {len(images)} images; expected are real numbers "
        f"[R*B, ...] = [{len(images)}, ...]."
    )


def pretrained(model: Any) -> nn.Module:
    """The torch module behind a model of any kind."""
    module: nn.Module = model if isinstance(model, nn.Module) else model.module
    return module
