"""The one training loop. Several seeds (replicas) go through the frozen model together; one seed is the case R = 1.

Each replica has its own images, data order, augmentation and dropout streams, parameters and optimiser state. The
losses are summed, so that every replica's parameters get the gradient of their own loss alone; the stepper mixes
nothing. What follows the validation images (plateau schedule, early stop, best epoch) or clips a gradient trains one
seed at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from typing import Protocol as Interface

import torch
from torch import Tensor, nn

from clipbench.engine.batches.views import EpochPlan, batches, epoch_order
from clipbench.engine.device import autocast
from clipbench.engine.examiner import ByClass, Examiner
from clipbench.engine.optimiser import Stepper
from clipbench.engine.schedule import learning_rate
from clipbench.engine.validation import Watch, trains_alone, watches
from clipbench.errors import UserError
from clipbench.models.transfer import sent
from clipbench.registry import Protocol
from clipbench.registry.budget import budget, images_trained
from clipbench.results.record import Epoch


class Source(Interface):
    """Where batches come from: images, or features of a frozen model."""

    def batch(self, index: Tensor) -> Tensor:
        """Network inputs of ``index`` ``[B]`` in the test view."""

    def train_batches(self, protocol: Protocol, seeds: Sequence[int], epochs: Iterable[EpochPlan]) -> Iterator[Any]:
        """Network inputs ``[R*B, ...]`` of every batch of the epochs, one after the other."""


@dataclass(frozen=True)
class Parts:
    """Train, test and validation indices of each replica, ``[R, n]``, and the label of every image ``[N]``.

    ``known`` are the classes whose images are scored; all of them where it is empty.
    """

    train: Tensor
    test: Tensor
    labels: Tensor
    val: Tensor = field(default_factory=lambda: torch.zeros(1, 0, dtype=torch.long))
    known: Sequence[int] = ()


@dataclass
class State:
    """What training has come to: a checkpoint holds exactly this, and the parameters.

    ``predictions`` holds one ``[R, t, ...]`` for each test: of each line of the history that has an accuracy, or of the
    best epoch; ``losses`` ``[R, s]`` the training loss of every step so far.
    """

    epoch: int = 0
    history: list[list[Epoch]] = field(default_factory=list)
    predictions: list[Tensor] = field(default_factory=list)
    losses: Tensor = field(default_factory=lambda: torch.zeros(0, 0))


@dataclass(frozen=True)
class Hooks:
    """What the loop tells its caller: images done, and the end of each epoch (the place for a checkpoint)."""

    advance: Callable[[int], None]
    epoch_end: Callable[[State], None]


@dataclass(frozen=True)
class Objective:
    """What is minimised: loss ``[R]`` of logits and truth ``[R, B, ...]``; what weight decay spares."""

    loss: Callable[[Tensor, Tensor], Tensor]
    undecayed: Sequence[nn.Parameter] = ()


@dataclass(frozen=True)
class Examined:
    """What a model was found to do: predictions ``[R, t, ...]``, scores in percent, and on ``val`` losses, ``[R]``."""

    predictions: Tensor
    scores: Sequence[float]
    losses: Sequence[float]


class Loop:
    """Trains ``model`` (inputs ``[R*B, ...]`` to logits ``[R, B, ...]``) on ``parts`` by the protocol.

    ``examiner`` knows the truth and measures; by default it is that of one label per image. Raises ``UserError`` for
    several seeds, or no validation images, where the protocol asks for one seed or for some images.
    """

    def __init__(
        self,
        model: nn.Module,
        source: Source,
        parts: Parts,
        protocol: Protocol,
        seeds: Sequence[int],
        device: torch.device,
        objective: Objective,
        examiner: Examiner | None = None,
    ) -> None:
        _check(protocol, seeds, parts)
        self._model, self._source, self._parts = model, source, parts
        self._protocol, self._seeds, self._device = protocol, tuple(seeds), device
        self._examiner: Examiner = examiner or ByClass(source, parts.labels, parts.known)
        self._loss, self._losses = objective.loss, list[Tensor]()
        self._slices = batches(parts.train.shape[1], protocol.batch_size or 32, drop_last=bool(protocol.drop_last))
        self._budget = budget(protocol, parts.train.shape[1])
        self._stepper = Stepper(model, objective.undecayed, protocol, device, len(self._seeds))
        self._watch = Watch(protocol) if watches(protocol) and self._budget.steps else None

    def run(self, state: State, start_epoch: Callable[[int], None], hooks: Hooks) -> State:
        """Train from ``state`` to the end, testing when the protocol says. ``start_epoch`` restarts random streams."""
        if not self._budget.steps:
            self._test_untrained(state, hooks)
        began = time.perf_counter()
        inputs = self._source.train_batches(self._protocol, self._seeds, self._plans(state.epoch))
        for plan in self._plans(state.epoch):
            start_epoch(plan.epoch)
            self._train_epoch(plan, inputs, hooks)
            state.epoch = plan.epoch + 1
            first = plan.epoch * len(self._slices)
            if self._budget.line_due(first, first + len(plan.parts)):
                self._add_line(state, began, hooks)
                began = time.perf_counter()
            hooks.epoch_end(state)
        self._finish(state, hooks)
        return state

    def settle(self, state: State) -> None:
        """Bring the losses of the last steps from the device into the state."""
        if self._losses:
            fresh = torch.stack(self._losses, dim=1).cpu()
            state.losses = torch.cat([state.losses, fresh], dim=1) if state.losses.numel() else fresh
            self._losses = []

    def checkpoint(self) -> dict[str, Any]:
        """Parameters that are trained, optimiser, loss scale, and what the validation images have decided.

        Everything else follows from the protocol.
        """
        trained = {name: p.detach() for name, p in self._trained().items()}
        watched = {} if self._watch is None else {"watch": self._watch.state()}
        return {"parameters": trained, **self._stepper.state(), **watched}

    def restore(self, saved: dict[str, Any]) -> None:
        """Take up a checkpoint of the same pass."""
        self._put(saved["parameters"])
        self._stepper.restore(saved)
        if self._watch is not None:
            self._watch.restore(saved["watch"])

    def _trained(self) -> dict[str, nn.Parameter]:
        return {name: p for name, p in self._model.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def _put(self, values: Mapping[str, Tensor]) -> None:
        trained = self._trained()
        for name, value in values.items():
            trained[name].copy_(value)

    def _plans(self, start: int) -> Iterator[EpochPlan]:
        """Epoch after epoch: who sees what when. The last one ends with the budget, or struck the early stop."""
        count = self._parts.train.shape[1]
        for epoch in range(start, self._budget.epochs):
            if self._watch is not None and self._watch.ended:
                return
            orders = torch.stack([epoch_order(seed, epoch, count) for seed in self._seeds])
            left = self._budget.steps - epoch * len(self._slices)
            yield EpochPlan(epoch, torch.gather(self._parts.train, 1, orders), self._slices[:left])

    def _train_epoch(self, plan: EpochPlan, inputs: Iterator[Tensor], hooks: Hooks) -> None:
        """The steps of one epoch; what they lost stays on the device, as reading it would stall a GPU."""
        self._model.train()
        for step, part in enumerate(plan.parts, start=plan.epoch * len(self._slices)):
            index = plan.order[:, part]
            losses = self._loss(self._logits(next(inputs)), sent(self._examiner.truth(index), self._device))
            self._stepper.step(losses, self._rate(step))
            self._losses.append(losses.detach())
            hooks.advance(index.numel())

    def _logits(self, inputs: Any) -> Tensor:
        """Logits ``[R, B, ...]``, float32, of inputs ``[R*B, ...]``."""
        with autocast(self._device, self._protocol.precision or "fp32"):
            logits: Tensor = self._model(inputs)
        return logits.float()

    def _add_line(self, state: State, began: float, hooks: Hooks) -> None:
        """One history line per replica: the loss since the last line, and what the protocol tests or validates."""
        self.settle(state)
        trained = time.perf_counter()
        step = min(state.epoch * len(self._slices), self._budget.steps)
        rate = self._rate(step - 1)
        validated = self._validated(state.epoch, hooks)
        scores: Sequence[float | None] = [None] * len(self._seeds)
        if not self._tests_best and (self._protocol.tested != "last" or step == self._budget.steps):
            scores = self._tested(state, hooks)
        means = self._mean_losses(state, state.history[-1][0].step if state.history else 0)
        seconds = trained - began, time.perf_counter() - trained
        state.history.append(
            [
                Epoch(state.epoch, step, loss, rate, score, *seconds, *val)
                for loss, score, val in zip(means, scores, validated, strict=True)
            ]
        )

    @property
    def _tests_best(self) -> bool:
        """Whether the test waits for the end, when the best epoch is known."""
        return self._watch is not None and self._protocol.selection == "best-val"

    def _validated(self, epoch: int, hooks: Hooks) -> list[tuple[float | None, float | None]]:
        """Validation loss and score of each replica after an epoch, where the protocol looks at them."""
        if self._watch is None:
            return [(None, None)] * len(self._seeds)
        found = self._examine("val", epoch, hooks)
        self._watch.step(epoch, found.losses[0], found.scores[0], self._trained())
        return [(loss, score) for loss, score in zip(found.losses, found.scores, strict=True)]

    def _finish(self, state: State, hooks: Hooks) -> None:
        """Test the best epoch where the protocol wants it; what an early stop has saved counts as done."""
        left = self._budget.steps - state.epoch * len(self._slices)
        hooks.advance(len(self._seeds) * images_trained(self._protocol, self._parts.train.shape[1], max(left, 0)))
        if self._watch is not None and self._tests_best:
            self._put(self._watch.best)
            self._tested(state, hooks)
        elif not state.predictions:
            # An early stop without a best epoch: the last one is tested.
            self._tested(state, hooks)

    def _mean_losses(self, state: State, since: int) -> list[float]:
        """Mean loss ``[R]`` over the images seen from step ``since`` on: a short batch counts less."""
        losses = state.losses[:, since:]
        sizes = [s.stop - s.start for s in self._slices]
        weights = torch.tensor([sizes[(since + i) % len(sizes)] for i in range(losses.shape[1])], dtype=torch.float64)
        means: list[float] = ((losses.double() * weights).sum(dim=1) / weights.sum()).tolist()
        return means

    def _test_untrained(self, state: State, hooks: Hooks) -> None:
        """The model as it is: one line without a training loss."""
        began = time.perf_counter()
        scores = self._tested(state, hooks)
        seconds = time.perf_counter() - began
        state.history.append([Epoch(0, 0, None, 0.0, score, 0.0, seconds) for score in scores])

    def _tested(self, state: State, hooks: Hooks) -> Sequence[float]:
        """The score of each replica in percent; its predictions go into the state."""
        found = self._examine("test", 0, hooks)
        state.predictions.append(found.predictions)
        return found.scores

    @torch.no_grad()
    def _examine(self, part: str, epoch: int, hooks: Hooks) -> Examined:
        """The model on each replica's images of ``val`` or ``test``; the loss is taken of the former alone."""
        self._model.eval()
        index: Tensor = getattr(self._parts, part)
        predictions, losses = [], torch.zeros(len(self._seeds))
        for some in torch.split(index, max(self._examiner.rows // len(self._seeds), 1), dim=1):
            logits = self._logits(self._examiner.inputs(some, part, epoch))
            predictions.append(self._examiner.predicted(logits))
            if part == "val":
                truth = sent(self._examiner.truth(some), self._device)
                losses += self._loss(logits, truth).cpu() * (some.shape[1] / index.shape[1])
            # Validation images are not part of the count, but they keep the claim alive.
            hooks.advance(some.numel() if part == "test" else 0)
        found = torch.cat(predictions, dim=1).cpu()
        return Examined(found, self._examiner.scores(found, index), losses.tolist())

    def _rate(self, step: int) -> float:
        watched = None if self._watch is None else self._watch.rate
        return learning_rate(self._protocol, step, self._budget) if watched is None else watched


def _check(protocol: Protocol, seeds: Sequence[int], parts: Parts) -> None:
    if len(seeds) > 1 and trains_alone(protocol):
        raise UserError("this protocol trains one seed at a time; pass --replicas 1.")
    if watches(protocol) and parts.train.numel() and not parts.val.numel():
        raise UserError("the protocol follows validation images, and the split has none.")
