"""The one training loop. Several seeds go through the frozen model together; one seed is the case R = 1.

Each run has its own images, data order, augmentation and dropout streams, parameters and optimiser state. The losses
are summed, so that every run's parameters get the gradient of their own loss alone; the optimiser mixes nothing. What
follows the validation images (plateau schedule, early stop, best epoch) or clips a gradient trains one seed at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from clipbench.engine.batches.views import EpochPlan, batches
from clipbench.engine.heap import give_back_freed_memory
from clipbench.engine.kept import moving, trained
from clipbench.engine.optimiser import Optimiser
from clipbench.engine.schedule import learning_rate
from clipbench.engine.tasks.task import NO_NUMBERS, Outputs, Parts, Task
from clipbench.engine.validation import Validation, trains_alone, validates
from clipbench.errors import UserError
from clipbench.methods.base import Method
from clipbench.models.transfer import sent
from clipbench.registry import Protocol
from clipbench.registry.budget import budget, images_trained
from clipbench.results.record import Epoch

_SECONDS_BETWEEN_LOSSES = 60.0
"""How often a loss is brought from the device within an epoch: reading it makes a GPU wait."""


@dataclass
class State:
    """What training has come to: a checkpoint holds exactly this, and the parameters.

    ``outputs`` holds one entry for each test: of each line of the history that has an accuracy, or of the best epoch;
    ``losses`` ``[R, s]`` the training loss of every step so far, over all stages; ``chosen`` says for each run which
    entry of ``outputs`` counts, once training has ended.
    """

    stage: int = 0
    epoch: int = 0
    history: list[list[Epoch]] = field(default_factory=list)
    outputs: list[Outputs] = field(default_factory=list)
    losses: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    chosen: list[int] = field(default_factory=list)


def _ignore(*_: object) -> None:
    """Nobody watches."""


@dataclass(frozen=True)
class Hooks:
    """What the loop tells its caller.

    Attributes:
        advance: Images done.
        epoch_end: The end of an epoch, the moment for a checkpoint.
        line: A new line of every run's history.
        losses: Within an epoch, every minute: the step, and the runs' losses at it.
        testing: Around what is validated and tested, which a checkpoint may come before.
    """

    advance: Callable[[int], None]
    epoch_end: Callable[[State], None]
    line: Callable[[Sequence[Epoch]], None] = _ignore
    losses: Callable[[int, Sequence[float]], None] = _ignore
    testing: Callable[[State], AbstractContextManager[object]] = nullcontext


@dataclass(frozen=True)
class Tested:
    """A model's outputs on a part of the data, scores in percent, and on ``val`` losses, ``[R]``."""

    outputs: Outputs
    scores: Sequence[float]
    losses: Sequence[float]


class Loop:
    """One stage of training: ``task`` on ``parts`` by the protocol, with the seeds of that stage.

    Raises ``UserError`` for several seeds, or no validation images, where the protocol asks for one seed or for some.
    """

    def __init__(
        self, task: Task, parts: Parts, protocol: Protocol, seeds: Sequence[int], device: torch.device
    ) -> None:
        _check(protocol, seeds, parts)
        self._task, self._parts = task, parts
        self.protocol = protocol
        self._seeds, self._device = tuple(seeds), device
        self._budget = budget(protocol, parts.train.shape[1])
        trains = self._budget.steps > 0
        size, drop = (protocol.need("batch_size"), bool(protocol.need("drop_last"))) if trains else (1, False)
        self._slices = batches(parts.train.shape[1], size, drop_last=drop) if trains else []
        if trains and (own := task.method.epoch_order(0, parts.labels[parts.train])) is not None:
            self._slices = list(own[1])
            steps = len(self._slices) * self._budget.epochs
            self._budget = replace(self._budget, steps_per_epoch=len(self._slices), steps=steps)
        plateau = trains and protocol.schedule == "plateau"
        self._rates = (
            [] if plateau else [learning_rate(protocol, step, self._budget) for step in range(self._budget.steps)]
        )
        self._optimiser = self._new_optimiser(trains=trains)
        self._validation = Validation(protocol) if validates(protocol) and trains else None
        # What is not trained has one state, and no epoch to choose.
        self._selection = protocol.need("selection") if trains else "last"
        self._fits = type(task.method).finish is not Method.finish
        self._best_test: list[tuple[float, dict[str, Tensor]]] = []
        self._losses, self._told = list[Tensor](), time.monotonic()
        self._first_loss, self._last_stage = 0, True

    def run(self, state: State, hooks: Hooks, *, last: bool = True) -> State:
        """Train from ``state`` to the end of the stage, testing when the protocol says, but only in the last stage."""
        self._last_stage = last
        self._first_loss = state.losses.shape[1] - min(state.epoch * len(self._slices), self._budget.steps)
        if not self._budget.steps:
            self._test_untrained(state, hooks)
        began = time.perf_counter()
        if self._line_lacks(state):
            self._add_line(state, began, hooks)
        inputs = self._task.train_batches(self._seeds, self._plans(state.epoch))
        for plan in self._plans(state.epoch):
            self._task.start_epoch(self._seeds, plan.epoch)
            self._train_epoch(plan, inputs, hooks)
            self._task.method.end_epoch(plan.epoch)
            state.epoch = plan.epoch + 1
            first = plan.epoch * len(self._slices)
            if self._budget.line_due(first, first + len(plan.parts)):
                self._add_line(state, began, hooks)
                began = time.perf_counter()
            hooks.epoch_end(state)
        if last:
            self._finish(state, hooks)
        else:
            self.collect_losses(state)
        return state

    @property
    def trains(self) -> bool:
        """Whether there are steps to do."""
        return self._budget.steps > 0

    def _line_lacks(self, state: State) -> bool:
        """Whether the state was saved before the test that ends its epoch."""
        first = (state.epoch - 1) * len(self._slices)
        if not state.epoch or not self._budget.line_due(first, min(first + len(self._slices), self._budget.steps)):
            return False
        return (state.stage, state.epoch) not in [(lines[0].stage, lines[0].epoch) for lines in state.history[-1:]]

    def evaluate(self) -> Tested:
        """Test the model as it is, with what is fitted after training fitted anew."""
        if self._fits:
            self._task.eval()
            self._task.method.finish()
        return self._examine("test", 0, Hooks(_ignore, _ignore))

    def collect_losses(self, state: State) -> None:
        """Bring the losses of the last steps from the device into the state."""
        if self._losses:
            fresh = torch.stack(self._losses, dim=1).cpu()
            state.losses = torch.cat([state.losses, fresh], dim=1) if state.losses.numel() else fresh
            self._losses = []

    def checkpoint(self) -> dict[str, Any]:
        """Parameters that are trained, the method's buffers, optimiser, loss scale, and what validation has decided.

        Everything else follows from the protocol.
        """
        parameters = {name: p.detach() for name, p in trained(self._task).items()}
        watched = {} if self._validation is None else {"validation": self._validation.state()}
        best = [{"score": score, "parameters": values} for score, values in self._best_test]
        buffers = moving(self._task)
        return {"parameters": parameters, "buffers": buffers, "best": best, **self._optimiser.state(), **watched}

    def restore(self, saved: dict[str, Any]) -> None:
        """Take up a checkpoint of the same stage of the same job."""
        self._put(saved["parameters"])
        with torch.no_grad():
            for name, buffer in moving(self._task).items():
                buffer.copy_(saved["buffers"][name])
        self._optimiser.restore(saved)
        self._best_test = [(each["score"], each["parameters"]) for each in saved["best"]]
        if self._validation is not None:
            self._validation.restore(saved["validation"])

    def _new_optimiser(self, *, trains: bool = True) -> Optimiser:
        method = self._task.method
        combine = method.combine if type(method).combine is not Method.combine else None
        groups = self._task.parameter_groups() if trains else []
        return Optimiser(groups, self.protocol, self._device, len(self._seeds), combine)

    @torch.no_grad()
    def _put(self, values: Mapping[str, Tensor]) -> None:
        parameters = trained(self._task)
        for name, value in values.items():
            parameters[name].copy_(value)

    def _plans(self, start: int) -> Iterator[EpochPlan]:
        """Epoch after epoch: who sees what when. The last one ends with the budget, or at the early stop."""
        for epoch in range(start, self._budget.epochs):
            if self._validation is not None and self._validation.ended:
                return
            own = self._task.method.epoch_order(epoch, self._parts.labels[self._parts.train])
            orders = (
                torch.stack([self._parts.order(seed, run, epoch) for run, seed in enumerate(self._seeds)])
                if own is None
                else own[0]
            )
            left = self._budget.steps - epoch * len(self._slices)
            plan = EpochPlan(epoch, torch.gather(self._parts.train, 1, orders), self._slices[:left])
            synthetic, before = self._parts.synthetic, epoch * len(self._slices)
            yield plan if synthetic is None else synthetic.beside(plan, self._seeds, before)

    def _train_epoch(self, plan: EpochPlan, inputs: Iterator[Any], hooks: Hooks) -> None:
        """The steps of one epoch; what they lost stays on the device, as reading it would stall a GPU."""
        self._task.train()
        real = [part.stop - part.start for part in self._slices]
        for number, part in enumerate(plan.parts):
            step, index = plan.epoch * len(self._slices) + number, plan.order[:, part]
            if self._task.method.before_step(number):
                self._optimiser = self._new_optimiser()
            losses = self._task.losses(next(inputs), sent(self._task.truth(index), self._device))
            _check_losses(losses, self._task, len(self._seeds))
            self._optimiser.step(losses, self._rate(step))
            self._task.method.after_step()
            self._losses.append(losses.detach().view(-1, len(self._seeds)).sum(dim=0))
            hooks.advance(len(self._seeds) * real[number])
            if time.monotonic() - self._told > _SECONDS_BETWEEN_LOSSES:
                self._told = time.monotonic()
                hooks.losses(step + 1, self._losses[-1].tolist())

    def _add_line(self, state: State, began: float, hooks: Hooks) -> None:
        """One history line per run: the loss since the last line, and what the protocol tests or validates."""
        self.collect_losses(state)
        trained = time.perf_counter()
        step = min(state.epoch * len(self._slices), self._budget.steps)
        rate = self._rate(step - 1)
        scores: Sequence[float | None] = [None] * len(self._seeds)
        with hooks.testing(state):
            validated = self._validated(state.epoch, hooks)
            if self._test_due(step):
                if self._fits and self._selection == "last" and step == self._budget.steps:
                    self._task.method.finish()
                scores = self._tested(state, hooks)
        before = [lines[0].step for lines in state.history if lines[0].stage == state.stage]
        means = self._mean_losses(state, before[-1] if before else 0)
        seconds = trained - began, time.perf_counter() - trained
        state.history.append(
            [
                Epoch(state.epoch, step, loss, rate, score, *seconds, *val, stage=state.stage)
                for loss, score, val in zip(means, scores, validated, strict=True)
            ]
        )
        hooks.line(state.history[-1])
        self._told = time.monotonic()

    def _test_due(self, step: int) -> bool:
        """Whether the test images are looked at now; not before the end, where only the best epoch's test counts."""
        waits = self._validation is not None and self._selection == "best-val"
        every = self.protocol.need("tested") == "every-epoch"
        return self._last_stage and not waits and (every or step == self._budget.steps)

    def _validated(self, epoch: int, hooks: Hooks) -> list[tuple[float | None, float | None]]:
        """Validation loss and score of each run after an epoch, where the protocol looks at them."""
        if self._validation is None:
            return [(None, None)] * len(self._seeds)
        found = self._examine("val", epoch, hooks)
        self._validation.step(epoch, found.losses[0], found.scores[0], trained(self._task))
        return [(loss, score) for loss, score in zip(found.losses, found.scores, strict=True)]

    def _finish(self, state: State, hooks: Hooks) -> None:
        """Test the best epoch where the protocol wants it; what an early stop has saved counts as done."""
        left = self._budget.steps - state.epoch * len(self._slices)
        if self._budget.steps:
            hooks.advance(len(self._seeds) * images_trained(self.protocol, self._parts.train.shape[1], max(left, 0)))
        with hooks.testing(state):
            best = self._restore_best()
            if self._fits and best:
                self._task.method.finish()
            # One test more, of what has not been tested as it now is; with best-test a candidate like every epoch.
            more = (best and (self._fits or self._selection == "best-val")) or not state.outputs
            last: Sequence[float | None] = self._tested(state, hooks) if more else [None] * len(self._seeds)
        for score, lines in zip(last, zip(*state.history, strict=True), strict=True):
            scores = [s for s in (*(line.accuracy for line in lines), score) if s is not None]
            best_test = self._selection == "best-test"
            state.chosen.append(scores.index(max(scores)) if best_test else len(state.outputs) - 1)

    def _restore_best(self) -> bool:
        """Put the best epoch's parameters back; whether there were any."""
        if self._validation is not None and self._selection == "best-val":
            self._put(self._validation.best)
            return True
        if self._best_test:
            names = self._best_test[0][1]
            self._put({name: torch.stack([values[name] for _, values in self._best_test]) for name in names})
            return True
        return False

    def _keep_best(self, scores: Sequence[float]) -> None:
        """Note each run's parameters where its test score is the best so far: what is fitted after training needs them.

        Only for ``selection = best-test``, which some official code has and no honest protocol.
        """
        if not (self._fits and self._selection == "best-test"):
            return
        self._best_test = self._best_test or [(-1.0, {})] * len(scores)
        for run, score in enumerate(scores):
            if score > self._best_test[run][0]:
                values = {name: p.detach()[run].clone() for name, p in trained(self._task).items()}
                self._best_test[run] = (score, values)

    def _mean_losses(self, state: State, since: int) -> list[float]:
        """Mean loss ``[R]`` over the images seen from step ``since`` of the stage on: a short batch counts less."""
        losses = state.losses[:, self._first_loss + since :]
        sizes = [s.stop - s.start for s in self._slices]
        weights = torch.tensor([sizes[(since + i) % len(sizes)] for i in range(losses.shape[1])], dtype=torch.float64)
        means: list[float] = ((losses.double() * weights).sum(dim=1) / weights.sum()).tolist()
        return means

    def _test_untrained(self, state: State, hooks: Hooks) -> None:
        """The model as it is: one line without a training loss."""
        began = time.perf_counter()
        self._task.eval()
        if self._fits:
            self._task.method.finish()
        scores = self._tested(state, hooks)
        seconds = time.perf_counter() - began
        state.history.append([Epoch(0, 0, None, 0.0, score, 0.0, seconds) for score in scores])

    def _tested(self, state: State, hooks: Hooks) -> Sequence[float]:
        """The score of each run in percent; its outputs go into the state."""
        found = self._examine("test", 0, hooks)
        state.outputs.append(found.outputs)
        self._keep_best(found.scores)
        return found.scores

    @torch.no_grad()
    def _examine(self, part: str, epoch: int, hooks: Hooks) -> Tested:
        """The model on each run's images of ``val`` or ``test``; the loss is taken of the former alone."""
        self._task.eval()
        give_back_freed_memory()
        index: Tensor = getattr(self._parts, part)
        pieces, losses = [], torch.zeros(len(self._seeds))
        size = self._task.method.test_batch() or max(self._task.rows // len(self._seeds), 1)
        for some in torch.split(index, size, dim=1):
            logits = self._task(self._task.inputs(some, part, epoch))
            truth = sent(self._task.truth(some), self._device)
            # The largest of an image's logits: minus infinity is a class that cannot be predicted, and is fine.
            unusable = ~logits.flatten(2).amax(dim=2).isfinite()
            pieces.append({**self._task.outputs(logits, truth), NO_NUMBERS: unusable})
            if part == "val":
                losses += self._task.loss(logits, truth).cpu() * (some.shape[1] / index.shape[1])
            # Validation images are not part of the count, but they keep the claim alive.
            hooks.advance(some.numel() if part == "test" else 0)
        found = {name: torch.cat([piece[name] for piece in pieces], dim=1).cpu() for name in pieces[0]}
        return Tested(found, self._task.scores(found, index), losses.tolist())

    def _rate(self, step: int) -> float:
        watched = None if self._validation is None else self._validation.rate
        return self._rates[step] if watched is None else watched


def _check_losses(losses: Any, task: Task, runs: int) -> None:
    """Raises ``UserError`` for what is no loss ``[R]`` (``[K, R]`` with ``combine``), or one that trains nothing."""
    name = type(task.method).__name__
    if not isinstance(losses, Tensor) or not losses.is_floating_point() or losses.shape[-1:] != (runs,):
        found = f"{list(losses.shape)} of {losses.dtype}" if isinstance(losses, Tensor) else type(losses).__name__
        raise UserError(
            f"the method {name} gives {found} for the loss; expected are real numbers [R] = [{runs}], one per seed."
        )
    if not losses.requires_grad:
        raise UserError(
            f"the loss of the method {name} has no gradient: nothing that it trains is part of it. Its logits must be "
            f"computed from its parameters, without torch.no_grad() and without detach()."
        )


def _check(protocol: Protocol, seeds: Sequence[int], parts: Parts) -> None:
    if len(seeds) > 1 and trains_alone(protocol):
        raise UserError("this protocol trains one seed at a time; pass --replicas 1.")
    if validates(protocol) and parts.train.numel() and not parts.val.numel():
        raise UserError("the protocol follows validation images, and the split has none.")
