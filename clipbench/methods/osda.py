"""Open-set domain adaptation by back-propagation (Saito et al., ECCV 2018; ksaito-ut/OPDA_BP) on frozen features.

It looks at unlabelled images of the domain that it is tested on: adaptation to a domain, not generalisation to it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from clipbench.errors import UserError
from clipbench.methods.base import Method, Setting
from clipbench.models.transfer import sent
from clipbench.registry.field import Field

_EPS, _NORM_EPS, _MOMENTUM = 1e-6, 1e-5, 0.1
_ROWS = 128


class _Reversed(torch.autograd.Function):
    """The identity, whose gradient is taken with the other sign (models/basenet.py:7-18)."""

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        return -gradient


class Layer(nn.Module):
    """One layer of the head for R runs: linear, batch norm, ReLU, dropout (models/basenet.py:123-147)."""

    def __init__(self, weight: Tensor, bias: Tensor, rate: float) -> None:
        super().__init__()
        runs, width = bias.shape
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)
        self.gamma, self.beta = nn.Parameter(torch.ones(runs, width)), nn.Parameter(torch.zeros(runs, width))
        self.register_buffer("mean", torch.zeros(runs, width))
        self.register_buffer("variance", torch.ones(runs, width))
        self._rate = rate
        self.generators: list[torch.Generator] = []

    def forward(self, x: Tensor) -> Tensor:
        """``[R, B, in]`` to ``[R, B, out]``."""
        x = torch.baddbmm(self.bias.unsqueeze(1), x, self.weight.transpose(1, 2))
        mean, variance = self.statistics(x)
        x = (x - mean.unsqueeze(1)) * torch.rsqrt(variance.unsqueeze(1) + _NORM_EPS)
        return self.dropped(functional.relu(x * self.gamma.unsqueeze(1) + self.beta.unsqueeze(1)))

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance ``[R, out]``: of the batch in training, which moves the running ones; else these."""
        if not self.training:
            return self.mean, self.variance  # type: ignore[return-value]
        mean, variance = x.mean(dim=1), x.var(dim=1, unbiased=False)
        with torch.no_grad():
            self.mean.lerp_(mean, _MOMENTUM)  # type: ignore[operator]
            self.variance.lerp_(variance * x.shape[1] / max(x.shape[1] - 1, 1), _MOMENTUM)  # type: ignore[operator]
        return mean, variance

    def dropped(self, x: Tensor) -> Tensor:
        """Dropout with the runs' own streams."""
        if not self.training or self._rate == 0.0:
            return x
        kept = torch.stack([torch.rand(x.shape[1:], generator=g) >= self._rate for g in self.generators])
        return x * sent(kept, x.device) / (1.0 - self._rate)


class OSDA(Method):
    """A head with K + 1 outputs: cross-entropy on the source, and on the target a boundary that the head works against.

    The classifier pulls the unknown's probability of target images towards 0.5; the gradient reaches the head reversed.
    """

    seed_axis: ClassVar[bool] = True
    rejects: ClassVar[bool] = True
    fields: ClassVar[Sequence[Field]] = (
        Field("osda_width", int, "OSDA: width of the head's two layers", low=1),
        Field("osda_dropout", float, "OSDA: dropout behind each layer", low=0.0, below=1.0),
        Field(
            "osda_unknowns",
            str,
            "OSDA: the images of no known class: the target domain's without labels, mixtures of source images of two "
            "classes, or a class of the source that is set aside",
            words=("target", "mixtures", "source-class"),
        ),
    )

    def setup(self, setting: Setting) -> None:
        """Draw the head; features of the images without labels are computed once, since the tower is frozen."""
        super().setup(setting)
        width, rate = setting.protocol.need("osda_width"), float(setting.protocol.need("osda_dropout"))
        streams = [setting.stream("osda", run) for run in range(len(setting.seeds))]
        self.first = Layer(*_linear(setting.model.width, width, streams), rate)
        self.second = Layer(*_linear(width, width, streams), rate)
        weight, bias = _linear(width, len(setting.classes) + 1, streams)
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)
        self._target: Tensor | None = None
        self._draws: list[torch.Generator] = []

    def start_epoch(self, epoch: int, seeds: Sequence[int]) -> None:
        """Restart each run's streams: dropout, and which unlabelled images stand beside a batch."""
        setting, runs = self.setting, range(len(seeds))
        self._draws = [setting.stream(f"osda unknowns {epoch}", run) for run in runs]
        for number, layer in enumerate((self.first, self.second)):
            layer.generators = [setting.stream(f"osda dropout {number} {epoch}", run) for run in runs]

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Everything decays, batch norms and biases too (utils/utils.py:18-28)."""
        return [{"params": list(self.parameters()), "weight_decay": self.setting.protocol.need("weight_decay")}]

    def losses(self, features: Tensor, truth: Tensor) -> Tensor:
        """Source cross-entropy plus target loss, ``[R]``, of features ``[R*B, D]`` (trainer_osda.py:114-135)."""
        source = features.float().view(len(self.weight), -1, features.shape[-1])
        if self.setting.protocol.need("osda_unknowns") == "source-class":
            return self._last_class_unknown(source, truth)
        return self.loss(self.classify(self.head(source)), truth) + self.boundary(self.unlabelled(source, truth))

    def boundary(self, target: Tensor, chosen: Tensor | None = None) -> Tensor:
        """Target loss ``[R]`` of features ``[R, B, D]``: binary cross-entropy of the unknown's probability and 0.5.

        Its mean is over all images, or over those ``chosen`` ``[R, B]`` (0 where there is none).
        """
        found = self.classify(_Reversed.apply(self.head(target))).softmax(dim=-1)
        unknown = found[..., -1]
        each = -0.5 * (torch.log(unknown + _EPS) + torch.log(1.0 - unknown + _EPS))
        return each.mean(dim=1) if chosen is None else _mean_of(each, chosen)

    def head(self, x: Tensor) -> Tensor:
        """``[R, B, D]`` to ``[R, B, width]``."""
        found: Tensor = self.second(self.first(x))
        return found

    def classify(self, x: Tensor) -> Tensor:
        """``[R, B, width]`` to logits ``[R, B, C + 1]``."""
        return torch.baddbmm(self.bias.unsqueeze(1), x, self.weight.transpose(1, 2))

    def logits(self, features: Tensor) -> Tensor:
        """Logits ``[R, B, C + 1]`` of features ``[R*B, D]``, the unknown's last."""
        return self.classify(self.head(features.float().view(len(self.weight), -1, features.shape[-1])))

    def unlabelled(self, source: Tensor, truth: Tensor) -> Tensor:
        """Features ``[R, B, D]`` of images whose class is not looked at, as many as in the batch."""
        if self.setting.protocol.need("osda_unknowns") == "target":
            return self._from_target(source.shape[1])
        return self._mixed(source, truth)

    def _from_target(self, count: int) -> Tensor:
        if self._target is None:
            self._target = self._features_of_target()
        index = torch.stack([torch.randint(self._target.shape[1], (count,), generator=g) for g in self._draws])
        index = sent(index, self._target.device)[..., None]
        return torch.gather(self._target, 1, index.expand(-1, -1, self._target.shape[-1]))

    @torch.no_grad()
    def _features_of_target(self) -> Tensor:
        images, runs = self.setting.images("test"), len(self.weight)
        pieces = []
        for some in torch.split(torch.arange(images.count), _ROWS):
            found = self.image_features(images.batch(some.expand(runs, -1)))
            pieces.append(found.float().view(runs, len(some), -1))
        return torch.cat(pieces, dim=1)

    def _mixed(self, source: Tensor, truth: Tensor) -> Tensor:
        """Halfway between images of two classes; a batch of one class has none, and is taken as it is."""
        order = sent(torch.stack([torch.randperm(source.shape[1], generator=g) for g in self._draws]), source.device)
        other = torch.gather(source, 1, order[..., None].expand_as(source))
        differ = (torch.gather(truth, 1, order) != truth)[..., None]
        return torch.where(differ, (source + other) / 2.0, source)

    def _last_class_unknown(self, source: Tensor, truth: Tensor) -> Tensor:
        """The loss ``[R]`` with the last known class held out: the others are learned, its images are the unknown."""
        unknown = truth == len(self.setting.classes) - 1
        logits = self.classify(self.head(source))
        each = functional.cross_entropy(logits.flatten(0, 1), truth.flatten(), reduction="none").view(truth.shape)
        return _mean_of(each, ~unknown) + self.boundary(source, unknown)


def _mean_of(values: Tensor, chosen: Tensor) -> Tensor:
    """Mean ``[R]`` of the chosen ones of ``[R, B]``; 0 where there is none."""
    return (values * chosen).sum(dim=1) / chosen.sum(dim=1).clamp(min=1)


def _linear(inputs: int, outputs: int, streams: Sequence[torch.Generator]) -> tuple[Tensor, Tensor]:
    """PyTorch's own start of a linear layer, for each run: weight ``[R, out, in]``, bias ``[R, out]``."""
    if not inputs:
        raise UserError("OSDA needs a model with a joint space; this one has none.")
    bound = 1.0 / math.sqrt(inputs)
    weight = torch.stack([torch.empty(outputs, inputs).uniform_(-bound, bound, generator=g) for g in streams])
    return weight, torch.stack([torch.empty(outputs).uniform_(-bound, bound, generator=g) for g in streams])
