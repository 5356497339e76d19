"""Methods on the tiny CLIP of the official numbers, for several runs, with support images and a schedule.

The method, its optimiser and its schedule are those of a run, in float32 on the CPU.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from clipbench.engine.optimiser import Optimiser
from clipbench.engine.random import stream
from clipbench.engine.schedule import learning_rate
from clipbench.methods import method as method_of
from clipbench.methods.base import Method, Setting, Support
from clipbench.registry import Protocol
from clipbench.registry.budget import budget
from tests.parity.official_clip import CPU, FOLDER, tiny_clip

COMMON: dict[str, Any] = {"task": "image-text", "precision": "fp32", "split_rule": "coop", "shots": 2}
COMMON |= {"schedule": "constant", "schedule_step": "epoch", "drop_last": True, "epochs": 1, "lr_min": 0.0}
SGD: dict[str, Any] = {"optimiser": "sgd", "momentum": 0.9, "dampening": 0.0, "nesterov": False, "weight_decay": 5e-4}
TORCH_ADAM: dict[str, Any] = {"betas": [0.9, 0.999], "eps": 1e-8}


@dataclass(frozen=True)
class Official:
    """One method's fixture: what its JSON says, and its tensors."""

    says: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Tensors below a prefix, by the rest of their names."""
        return {n.removeprefix(prefix): t for n, t in self.tensors.items() if n.startswith(prefix)}

    def within(self, what: str) -> float:
        """The suggested tolerance."""
        return float(self.says["suggested tolerances"][what])

    @property
    def settings(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.says["settings"]
        return found

    @property
    def classes(self) -> list[str]:
        return list(self.says["classnames"])


@cache
def official(name: str) -> Official:
    return Official(json.loads((FOLDER / f"{name}.json").read_text()), load_file(FOLDER / f"{name}.safetensors"))


@cache
def images() -> tuple[Tensor, Tensor]:
    """The 12 images ``[12, 3, 32, 32]`` and their labels."""
    found = load_file(FOLDER / "images.safetensors")
    return found["images"], found["labels"]


class Trial:
    """One method on the tiny CLIP, as a run has it: setting, optimiser, schedule.

    ``support`` maps ``(part, view)`` to images and labels; a list of image tensors gives the passes one by one.
    """

    def __init__(
        self,
        protocol: Mapping[str, Any],
        classes: Sequence[str],
        template: str,
        support: Mapping[tuple[str, str], tuple[Sequence[Tensor], Tensor]] | None = None,
        seeds: Sequence[int] = (1,),
    ) -> None:
        self.protocol = Protocol.of({**COMMON, **protocol})
        self.method: Method = method_of(self.protocol.need("method"))
        self.model, self.seeds, self._given = tiny_clip(), tuple(seeds), support or {}
        due = budget(self.protocol, 12)
        self.budget = due
        self.method.setup(
            Setting(
                self.model,
                classes,
                template,
                self.protocol,
                self.seeds,
                CPU,
                None,
                due.steps,
                due.epochs,
                _support=self._support,
                _stream=stream,
            )
        )
        self.optimiser = Optimiser(self.method.parameter_groups(), self.protocol, CPU, len(self.seeds))
        self.steps = 0

    def _support(self, part: str, view: str, repeats: int) -> Support:
        passes, labels = self._given[part, view]
        with torch.no_grad():
            each = [self.method.image_features(one.repeat(len(self.seeds), 1, 1, 1)) for one in passes[:repeats]]
        features = torch.cat([f.view(len(self.seeds), len(labels), -1) for f in each], dim=1)
        return Support(labels.repeat(repeats).expand(len(self.seeds), -1), features)

    def put(self, values: Mapping[str, Tensor]) -> None:
        """Start from these learnables, by our parameters' names, the same for every run."""
        own = dict(self.method.named_parameters())
        with torch.no_grad():
            for name, value in values.items():
                assert own[name].shape[1:] == value.shape, name
                own[name].copy_(value.expand_as(own[name]))

    def logits(self, batch: Tensor) -> Tensor:
        """``[B, C]`` of the first run, as in a test."""
        self.method.eval()
        with torch.no_grad():
            return self.method.logits(self.method.image_features(batch.repeat(len(self.seeds), 1, 1, 1)))[0]

    def losses(self, batch: Tensor, labels: Tensor) -> Tensor:
        """``[R]``, with a graph."""
        self.method.train()
        features = self.method.image_features(batch.repeat(len(self.seeds), 1, 1, 1))
        return self.method.losses(features, labels.expand(len(self.seeds), -1))

    def step(self, batch: Tensor, labels: Tensor) -> float:
        """One optimiser step at the schedule's rate; the loss before it."""
        losses = self.losses(batch, labels)
        self.optimiser.step(losses, learning_rate(self.protocol, self.steps, self.budget))
        self.steps += 1
        return float(losses[0].detach())

    def learnables(self) -> dict[str, Tensor]:
        """What is trained, of the first run."""
        return {name: p.detach()[0].clone() for name, p in self.method.named_parameters() if p.requires_grad}

    def gradients(self) -> dict[str, Tensor]:
        return {name: p.grad[0].clone() for name, p in self.method.named_parameters() if p.grad is not None}


def apart(found: Mapping[str, Tensor], due: Mapping[str, Tensor]) -> float:
    """The largest absolute difference over tensors of the same names."""
    assert set(found) == set(due)
    return max(float((found[name] - due[name]).abs().max()) for name in due)
