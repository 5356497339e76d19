"""The one training loop. Several seeds (replicas) go through the frozen model together; one seed is the case R = 1.

Each replica has its own images, data order, augmentation and dropout streams, parameters and optimiser state. The
losses are summed, so that every replica's parameters get the gradient of their own loss alone; AdamW acts element by
element, so that one optimiser serves all of them without mixing anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from typing import Protocol as Interface

import torch
from torch import Tensor, nn

from clipbench.budget import budget
from clipbench.engine.device import autocast
from clipbench.engine.schedule import learning_rate
from clipbench.engine.views import EpochPlan, batches, epoch_order
from clipbench.record import Epoch
from clipbench.spec import Protocol

_TEST_BATCH = 256
"""Test images per forward pass, over all replicas."""


class Source(Interface):
    """Where batches come from: images, or features of a frozen model."""

    def batch(self, index: Tensor) -> Tensor:
        """Network inputs of ``index`` ``[B]`` in the test view."""

    def train_batches(self, protocol: Protocol, seeds: Sequence[int], epochs: Iterable[EpochPlan]) -> Iterator[Tensor]:
        """Network inputs ``[R*B, ...]`` of every batch of the epochs, one after the other."""


@dataclass(frozen=True)
class Parts:
    """Train and test indices of each replica, ``[R, n]`` and ``[R, t]``, and the label of every image ``[N]``."""

    train: Tensor
    test: Tensor
    labels: Tensor


@dataclass
class State:
    """What training has come to: a checkpoint holds exactly this, and the parameters.

    ``predictions`` holds one ``[R, t]`` for each line of the history that has an accuracy; ``losses`` ``[R, s]`` the
    training loss of every step so far.
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
    """What is minimised: loss ``[R]`` of logits ``[R, B, C]`` and labels ``[R, B]``; what weight decay spares."""

    loss: Callable[[Tensor, Tensor], Tensor]
    undecayed: Sequence[nn.Parameter] = ()


class Loop:
    """Trains ``model`` (inputs ``[R*B, ...]`` to logits ``[R, B, C]``) on ``parts`` by the protocol."""

    def __init__(
        self,
        model: nn.Module,
        source: Source,
        parts: Parts,
        protocol: Protocol,
        seeds: Sequence[int],
        device: torch.device,
        objective: Objective,
    ) -> None:
        self._model, self._source, self._parts = model, source, parts
        self._protocol, self._seeds, self._device = protocol, tuple(seeds), device
        self._loss, self._losses = objective.loss, list[Tensor]()
        self._slices = batches(parts.train.shape[1], protocol.batch_size or 32, drop_last=bool(protocol.drop_last))
        self._budget = budget(protocol, parts.train.shape[1])
        self.optimizer = torch.optim.AdamW(
            _groups(model, objective.undecayed, protocol.weight_decay or 0.0),
            lr=protocol.lr or 0.0,
            betas=_pair(protocol.betas),
            eps=protocol.eps or 1e-8,
        )
        self._scaler = torch.amp.GradScaler(device.type, enabled=protocol.precision == "fp16")

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
        return state

    def settle(self, state: State) -> None:
        """Bring the losses of the last steps from the device into the state."""
        if self._losses:
            fresh = torch.stack(self._losses, dim=1).cpu()
            state.losses = torch.cat([state.losses, fresh], dim=1) if state.losses.numel() else fresh
            self._losses = []

    def checkpoint(self) -> dict[str, Any]:
        """Parameters that are trained, optimiser and loss scale; everything else follows from the protocol."""
        trained = {name: p.detach() for name, p in self._model.named_parameters() if p.requires_grad}
        return {"parameters": trained, "optimizer": self.optimizer.state_dict(), "scaler": self._scaler.state_dict()}

    def restore(self, saved: dict[str, Any]) -> None:
        """Take up a checkpoint of the same pass."""
        trained = {name: p for name, p in self._model.named_parameters() if p.requires_grad}
        with torch.no_grad():
            for name, value in saved["parameters"].items():
                trained[name].copy_(value)
        self.optimizer.load_state_dict(saved["optimizer"])
        self._scaler.load_state_dict(saved["scaler"])

    def _plans(self, start: int) -> Iterator[EpochPlan]:
        """Epoch after epoch: who sees what when. The last one ends with the budget."""
        count = self._parts.train.shape[1]
        for epoch in range(start, self._budget.epochs):
            orders = torch.stack([epoch_order(seed, epoch, count) for seed in self._seeds])
            left = self._budget.steps - epoch * len(self._slices)
            yield EpochPlan(epoch, torch.gather(self._parts.train, 1, orders), self._slices[:left])

    def _train_epoch(self, plan: EpochPlan, inputs: Iterator[Tensor], hooks: Hooks) -> None:
        """The steps of one epoch; what they lost stays on the device, as reading it would stall a GPU."""
        self._model.train()
        labels = self._parts.labels[plan.order].to(self._device)
        for step, part in enumerate(plan.parts, start=plan.epoch * len(self._slices)):
            self._set_rate(step)
            self._losses.append(self._step(next(inputs), labels[:, part]))
            hooks.advance(labels[:, part].numel())

    def _step(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """One optimiser step on inputs ``[R*B, ...]`` with labels ``[R, B]``; the loss of each replica ``[R]``."""
        with autocast(self._device, self._protocol.precision or "fp32"):
            logits = self._model(inputs)
        losses = self._loss(logits.float(), labels)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(self._scaler.scale(losses.sum()))
        self._scaler.step(self.optimizer)
        self._scaler.update()
        return losses.detach()

    def _add_line(self, state: State, began: float, hooks: Hooks) -> None:
        """One history line per replica: the loss since the last line, and the accuracy where the protocol tests."""
        self.settle(state)
        trained = time.perf_counter()
        step = min(state.epoch * len(self._slices), self._budget.steps)
        scores: list[float | None] = [None] * len(self._seeds)
        if self._protocol.tested != "last" or step == self._budget.steps:
            scores = self._tested(state, hooks)
        since = state.history[-1][0].step if state.history else 0
        means = self._mean_losses(state, since)
        rate, seconds = self._rate(step - 1), (trained - began, time.perf_counter() - trained)
        state.history.append(
            [Epoch(state.epoch, step, loss, rate, score, *seconds) for loss, score in zip(means, scores, strict=True)]
        )

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

    def _tested(self, state: State, hooks: Hooks) -> list[float | None]:
        """Accuracy of each replica in percent; its predictions go into the state."""
        predicted = self._predict(hooks)
        state.predictions.append(predicted)
        truth = self._parts.labels[self._parts.test]
        scores: list[float | None] = (predicted == truth).double().mean(dim=1).mul(100.0).tolist()
        return scores

    @torch.no_grad()
    def _predict(self, hooks: Hooks) -> Tensor:
        """Predicted classes ``[R, t]`` of each replica's test images."""
        self._model.eval()
        parts = []
        for index in torch.split(self._parts.test, max(_TEST_BATCH // len(self._seeds), 1), dim=1):
            inputs = self._source.batch(index.flatten())
            with autocast(self._device, self._protocol.precision or "fp32"):
                logits = self._model(inputs)
            parts.append(logits.float().argmax(dim=-1))
            hooks.advance(index.numel())
        return torch.cat(parts, dim=1).cpu()

    def _rate(self, step: int) -> float:
        return learning_rate(self._protocol, step, self._budget)

    def _set_rate(self, step: int) -> None:
        rate = self._rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate


def _groups(model: nn.Module, undecayed: Sequence[nn.Parameter], decay: float) -> list[dict[str, Any]]:
    """What is trained, with its weight decay; a model of which nothing is trained gets an optimiser of nothing."""
    spared = {id(p) for p in undecayed}
    trained = [p for p in model.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trained if id(p) not in spared], "weight_decay": decay},
        {"params": [p for p in trained if id(p) in spared], "weight_decay": 0.0},
    ]
    return groups if spared else groups[:1]


def _pair(betas: Sequence[float] | None) -> tuple[float, float]:
    first, second = betas or (0.9, 0.999)
    return first, second
