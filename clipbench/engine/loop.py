"""The one training loop. Several seeds (replicas) go through the frozen model together; one seed is the case R = 1.

Each replica has its own images, data order, augmentation and dropout streams, parameters and optimiser state. The
losses are summed, so that every replica's parameters get the gradient of their own loss alone; AdamW acts element by
element, so that one optimiser serves all of them without mixing anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from typing import Protocol as Interface

import torch
from torch import Tensor, nn

from clipbench.engine.device import autocast
from clipbench.engine.linear_head import replica_losses
from clipbench.engine.schedule import learning_rate
from clipbench.engine.views import batches, epoch_order, epoch_views
from clipbench.record import Epoch
from clipbench.spec import Protocol

_TEST_BATCH = 256
"""Test images per forward pass, over all replicas."""


class Source(Interface):
    """Where batches come from: images, or features of a frozen model."""

    def batch(self, index: Tensor, view: Tensor | None = None) -> Tensor:
        """Network inputs of ``index`` ``[B]`` in their views ``[B]``."""


@dataclass(frozen=True)
class Parts:
    """Train and test indices of each replica, ``[R, n]`` and ``[R, t]``, and the label of every image ``[N]``."""

    train: Tensor
    test: Tensor
    labels: Tensor


@dataclass
class State:
    """What training has come to: a checkpoint holds exactly this, and the parameters."""

    epoch: int = 0
    history: list[list[Epoch]] = field(default_factory=list)
    predictions: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class Hooks:
    """What the loop tells its caller: images done, and the end of each epoch (the place for a checkpoint)."""

    advance: Callable[[int], None]
    epoch_end: Callable[[State], None]


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
    ) -> None:
        self._model, self._source, self._parts = model, source, parts
        self._protocol, self._seeds, self._device = protocol, tuple(seeds), device
        self._slices = batches(parts.train.shape[1], protocol.batch_size or 32, drop_last=bool(protocol.drop_last))
        trained = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            trained,
            lr=protocol.lr or 0.0,
            betas=_pair(protocol.betas),
            eps=protocol.eps or 1e-8,
            weight_decay=protocol.weight_decay or 0.0,
        )
        self._scaler = torch.amp.GradScaler(device.type, enabled=protocol.precision == "fp16")

    def run(self, state: State, start_epoch: Callable[[int], None], hooks: Hooks) -> State:
        """Train from ``state`` to the last epoch, testing after each. ``start_epoch`` restarts the model's streams."""
        for epoch in range(state.epoch, self._protocol.epochs or 1):
            start_epoch(epoch)
            began = time.perf_counter()
            losses, rate = self._train_epoch(epoch, hooks)
            trained = time.perf_counter()
            predicted = self._predict(hooks)
            tested = time.perf_counter()
            truth = self._parts.labels[self._parts.test]
            scores = (predicted == truth).double().mean(dim=1).mul(100.0)
            state.history.append(
                [
                    Epoch(epoch + 1, loss, rate, score, trained - began, tested - trained)
                    for loss, score in zip(losses.tolist(), scores.tolist(), strict=True)
                ]
            )
            state.predictions.append(predicted)
            state.epoch = epoch + 1
            hooks.epoch_end(state)
        return state

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

    def _train_epoch(self, epoch: int, hooks: Hooks) -> tuple[Tensor, float]:
        """Mean loss of each replica ``[R]`` over the epoch's images, and the last learning rate."""
        self._model.train()
        count, rate = self._parts.train.shape[1], 0.0
        orders = torch.stack([epoch_order(seed, epoch, count) for seed in self._seeds])
        views = torch.stack([epoch_views(seed, epoch, count, self._protocol) for seed in self._seeds])
        shuffled = torch.gather(self._parts.train, 1, orders)
        # Summed on the device: reading a loss at every step would stall the GPU.
        total = torch.zeros(len(self._seeds), dtype=torch.float64 if self._device.type != "mps" else torch.float32)
        total = total.to(self._device)
        seen = 0
        for step, part in enumerate(self._slices):
            rate = self._set_rate(epoch * len(self._slices) + step)
            index, view = shuffled[:, part], views[:, part]
            total += self._step(index, view) * index.shape[1]
            seen += index.shape[1]
            hooks.advance(index.numel())
        return total.cpu() / seen, rate

    def _step(self, index: Tensor, view: Tensor) -> Tensor:
        """One optimiser step on images ``[R, B]`` in their views; the loss of each replica ``[R]``."""
        inputs = self._source.batch(index.flatten(), view.flatten())
        labels = self._parts.labels[index].to(self._device)
        with autocast(self._device, self._protocol.precision or "fp32"):
            logits = self._model(inputs)
        losses = replica_losses(logits.float(), labels)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(self._scaler.scale(losses.sum()))
        self._scaler.step(self.optimizer)
        self._scaler.update()
        return losses.detach()

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

    def _set_rate(self, step: int) -> float:
        rate = learning_rate(self._protocol, step, len(self._slices), self._protocol.epochs or 1)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate


def _pair(betas: Sequence[float] | None) -> tuple[float, float]:
    first, second = betas or (0.9, 0.999)
    return first, second
