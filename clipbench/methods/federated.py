"""LoRA-CLIP trained by clients that keep their images. An epoch is a round: each client trains from the server's state.

The clients of a group train in one pass, each as a replica of the adapters and of the head. That is exact: a client's
gradient is that of its own batch, shorter batches are filled up with images of weight zero, and a client whose images
are through rests until its group is done. Groups follow each other, and each starts with a fresh optimiser.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from clipbench.adapters import AdapterConfig, adapted_modules, set_dropout_seeds
from clipbench.adapters.federated import average, product_average
from clipbench.data.splits.clients import dirichlet_clients
from clipbench.errors import UserError
from clipbench.methods.base import Setting
from clipbench.methods.low_rank import LoRA
from clipbench.registry.field import Field

_MEGABYTE = 1e6
_FLOAT = 4


@dataclass(frozen=True)
class _Step:
    """One step of a group of clients: which of its images count, ``[G, b]``."""

    group: int
    counts: Tensor


class FederatedLoRA(LoRA):
    """LoRA and a linear head of K clients under one rule of aggregation.

    Attributes:
        shares: Images of each client, ``[K]``: its weight in the mean.
    """

    seed_axis: ClassVar[bool] = False
    fields: ClassVar[Sequence[Field]] = (
        Field("clients", int, "clients that the training images are dealt out to", low=1, high=1000),
        Field("client_alpha", float, "Dirichlet of each class's shares: the smaller the more uneven", above=0.0),
        Field("clients_per_pass", int, "clients that train in one pass; the result is the same", low=1, high=1000),
        Field(
            "aggregation",
            str,
            "A and B averaged apart; A frozen and B averaged; the mean of B A cut to the rank; nothing is sent",
            words=("fedavg", "ffa", "product", "local"),
        ),
    )

    def setup(self, setting: Setting) -> None:
        """As many adapters and heads as clients train in one pass, all with the same start.

        Raises ``UserError`` where the head is missing or the clients are no whole number of passes.
        """
        need = setting.protocol.need
        self._clients, self._group, self._rule = need("clients"), need("clients_per_pass"), need("aggregation")
        if self._clients % self._group:
            raise UserError(
                f"{self._clients} clients are no whole number of passes of {self._group}: --set clients_per_pass=N "
                f"must divide them."
            )
        if setting.head is None:
            raise UserError("the method federated-lora trains a linear head: its task must be linear-head.")
        super().setup(setting)
        head = setting.head
        for name, start in list(head.named_parameters()):
            setattr(head, name, nn.Parameter(start.detach().repeat(self._group, *[1] * (start.ndim - 1))))
        if self._rule == "ffa":
            for branch in adapted_modules(self.adapted).values():
                branch.get_parameter("A").requires_grad_(False)
        self._live = self.trained()
        for number, live in enumerate(self._live):
            self.register_buffer(f"state_{number}", live.detach()[:1].repeat(self._clients, *[1] * (live.ndim - 1)))
        self.shares = torch.zeros(0)
        self._members: list[np.ndarray] = []
        self._steps: list[_Step] = []
        self._now, self._epoch, self.copies = -1, 0, self._group
        self._resting: tuple[Tensor, list[Tensor]] = (torch.zeros(0, dtype=torch.bool), [])

    def config(self) -> AdapterConfig:
        """LoRA's, one replica for each client of a pass, all drawn alike."""
        start = self.setting.stream("adapter").initial_seed()
        return replace(super().config(), replicas=self._group, init_seeds=(start,) * self._group)

    def epoch_order(self, epoch: int, labels: Tensor) -> tuple[Tensor, Sequence[slice]]:
        """Group after group, each client's images in an order of its own, ``[1, m]``, and the batches."""
        if not self._members:
            seed = self.setting.stream("clients").initial_seed()
            generator = np.random.default_rng(seed)
            alpha = self.setting.protocol.need("client_alpha")
            self._members = dirichlet_clients(labels[0].numpy(), self._clients, alpha, generator)
            self.shares = torch.tensor([len(part) for part in self._members])
        size = self.setting.protocol.need("batch_size")
        groups = range(self._clients // self._group)
        batches = [(group, *batch) for group in groups for batch in self._batches(group, epoch, size)]
        # Sizes are the same in every round: these are the steps of all of them.
        self._steps = [_Step(group, counts) for group, _, counts in batches]
        ends = np.cumsum([positions.numel() for _, positions, _ in batches]).tolist()
        slices = [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]
        return torch.cat([positions.flatten() for _, positions, _ in batches])[None], slices

    def before_step(self, step: int) -> bool:
        """Let a group begin, from the server's state and with a fresh optimiser; note who rests in this step."""
        begins = step == 0 or self._steps[step].group != self._steps[step - 1].group
        if begins:
            self._store()
            self._load(self._steps[step].group)
        self._step = self._steps[step]
        resting = ~self._step.counts.any(dim=1)
        self._resting = resting, [p.detach()[resting].clone() for p in self._live] if resting.any() else []
        return begins

    @torch.no_grad()
    def after_step(self) -> None:
        """Momentum and decay move no client that rests."""
        resting, before = self._resting
        for parameter, value in zip(self._live if before else [], before, strict=True):
            parameter[resting] = value

    def start_epoch(self, epoch: int, seeds: Sequence[int]) -> None:  # noqa: ARG002
        """A round begins; each group restarts its dropout."""
        self._epoch = epoch

    @torch.no_grad()
    def end_epoch(self, epoch: int) -> None:  # noqa: ARG002
        """The server aggregates, and every client has the result; without a server, each keeps its model."""
        self._store()
        if self._rule != "local":
            for number, value in enumerate(self._aggregated()):
                self.get_buffer(f"state_{number}").copy_(value.expand(self._clients, *value.shape))
        self._load(0)
        self._now = -1

    def image_features(self, images: Tensor) -> Tensor:
        """Features of images grouped by client; in a test each image is shared out to the clients in turn."""
        if self.training:
            return super().image_features(images)
        return self._in_turn(images, super().image_features)

    def logits(self, features: Tensor) -> Tensor:
        """Logits ``[G, b, C]`` in training; in a test ``[1, B, C]``, of the clients' models in turn."""
        if self.training:
            return super().logits(features)
        head = super().logits
        return self._in_turn(features, lambda some: head(some).flatten(0, 1))[None]

    def losses(self, features: Tensor, truth: Tensor) -> Tensor:
        """The clients' mean losses ``[1]``: the gradient is that of their sum, the number their mean."""
        logits = self.logits(features)
        counts = self._step.counts.to(logits.device, logits.dtype)
        each = functional.cross_entropy(logits.flatten(0, 1), truth.flatten(), reduction="none").view_as(counts)
        own = (each * counts).sum(dim=1) / counts.sum(dim=1).clamp_min(1.0)
        total, active = own.sum(), counts.any(dim=1).sum()
        return (total + (total / active - total).detach())[None]

    def measured(self) -> Mapping[str, float]:
        """Megabytes (10^6 bytes) of fp32 that all clients send and get: in a round, and in all."""
        numbers = 0 if self._rule == "local" else sum(p[0].numel() for p in self._live)
        by_round = 2 * self._clients * numbers * _FLOAT / _MEGABYTE
        return {"sent_megabytes_by_round": by_round, "sent_megabytes": by_round * self.setting.epochs}

    @property
    def _tested(self) -> int:
        """Clients whose models are tested: one group is all where they are alike."""
        return int(self._clients if self._rule == "local" else self._group)

    def _batches(self, group: int, epoch: int, size: int) -> list[tuple[Tensor, Tensor]]:
        """Positions ``[G, b]`` of each step of a group, and which of them count."""
        orders = []
        for client in self._of(group):
            generator = self.setting.stream(f"client {client} round {epoch}")
            member = torch.from_numpy(self._members[client])
            orders.append(member[torch.randperm(len(member), generator=generator)])
        found = []
        for start in range(0, max(map(len, orders)), size):
            parts = [order[start : start + size] for order in orders]
            width = max(map(len, parts))
            counts = torch.tensor([[n < len(part) for n in range(width)] for part in parts])
            filled = [
                torch.cat([part, order[:1].expand(width - len(part))])
                for part, order in zip(parts, orders, strict=True)
            ]
            found.append((torch.stack(filled), counts))
        return found

    def _of(self, group: int) -> range:
        return range(group * self._group, (group + 1) * self._group)

    def _in_turn(self, rows: Tensor, apply: Callable[[Tensor], Tensor]) -> Tensor:
        """What the clients' models make of ``rows`` ``[B, ...]``: of row j, that of client ``j mod E``."""
        tested = self._tested
        filled = torch.cat([rows, rows[:1].expand(-len(rows) % tested, *rows.shape[1:])])
        grouped = filled.view(-1, tested, *rows.shape[1:]).transpose(0, 1)
        pieces = []
        for group, some in enumerate(torch.split(grouped, self._group)):
            self._stand_in(group)
            found = apply(some.flatten(0, 1))
            pieces.append(found.view(len(some), -1, *found.shape[1:]))
        return torch.cat(pieces).transpose(0, 1).flatten(0, 1)[: len(rows)]

    def _stand_in(self, group: int) -> None:
        """In a test of clients that differ, let a group's models be the live ones."""
        if self._rule == "local" and self._clients > self._group:
            self._copy_in(group)

    @torch.no_grad()
    def _copy_in(self, group: int) -> None:
        for number, live in enumerate(self._live):
            live.copy_(self.get_buffer(f"state_{number}")[self._of(group)])

    def _load(self, group: int) -> None:
        self._copy_in(group)
        self._now = group
        seeds = [
            self.setting.stream(f"client {client} dropout {self._epoch}").initial_seed() for client in self._of(group)
        ]
        set_dropout_seeds(self.adapted, seeds)

    @torch.no_grad()
    def _store(self) -> None:
        """What the group that has just trained came to."""
        if self._now < 0:
            return
        for number, live in enumerate(self._live):
            self.get_buffer(f"state_{number}")[self._of(self._now)] = live
        self._now = -1

    def _aggregated(self) -> list[Tensor]:
        """The server's new state of each trained parameter, ``[...]``."""
        states = {id(live): self.get_buffer(f"state_{number}") for number, live in enumerate(self._live)}
        new = {key: average(value, self.shares) for key, value in states.items()}
        if self._rule == "product":
            for branch in adapted_modules(self.adapted).values():
                down, up = id(branch.get_parameter("A")), id(branch.get_parameter("B"))
                new[down], new[up] = product_average(states[down], states[up], self.shares)
        return [new[id(live)] for live in self._live]
