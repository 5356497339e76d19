"""A ResNet of bottlenecks (He et al., CVPR 2016), with a gate behind the last norm of every block if there is one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from clipbench.errors import MissingWeightsError
from clipbench.models import TINY_RESNET
from clipbench.models.resnet.eam import EnhancedAttention
from clipbench.models.resnet.mbla import LocalAttention

GATES: Mapping[str, Callable[[int], nn.Module]] = {
    "eam": EnhancedAttention,
    "mbla": LocalAttention,
    "mbla-mean": lambda channels: LocalAttention(channels, pools=("mean", "max")),
}
"""What multiplies a block's map, by the end of the name: ``[N, C, H, W]`` to a gate of the same shape."""

BODIES: Mapping[str, tuple[int, int, tuple[int, ...]]] = {
    "resnet50": (64, 64, (3, 4, 6, 3)),
    "resnet101": (64, 64, (3, 4, 23, 3)),
    TINY_RESNET: (16, 8, (1, 1, 1, 1)),
}
"""Channels behind the stem, channels inside the blocks of the first stage, and blocks of each stage."""
_EXPANSION = 4


@dataclass(frozen=True)
class Form:
    """One of the networks: the body, whether blocks stride in their first convolution, the gate (empty for none)."""

    body: str
    stride_in_first: bool
    gate: str

    @property
    def image_size(self) -> int:
        """Side of the images that it is used with unless a protocol says otherwise."""
        return 64 if self.body == TINY_RESNET else 224


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1, each with a batch norm; the ``gate``, if any, multiplies them in front of the sum."""

    def __init__(self, inputs: int, planes: int, stride: int, form: Form) -> None:
        super().__init__()
        outputs = _EXPANSION * planes
        first, second = (stride, 1) if form.stride_in_first else (1, stride)
        self.conv1, self.bn1 = nn.Conv2d(inputs, planes, 1, first, bias=False), nn.BatchNorm2d(planes)
        self.conv2, self.bn2 = nn.Conv2d(planes, planes, 3, second, 1, bias=False), nn.BatchNorm2d(planes)
        self.conv3, self.bn3 = nn.Conv2d(planes, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.gate = GATES[form.gate](outputs) if form.gate else None
        self.gated = True
        self.downsample = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
            if stride > 1 or inputs != outputs
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]`` to ``[N, C', H', W']``."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        if self.gate is not None and self.gated:
            out = out * self.gate(out)
        summed: Tensor = self.relu(out + (x if self.downsample is None else self.downsample(x)))
        return summed


class ResNet(nn.Module):
    """Images to the last map. Parameters have torchvision's names; there is no classifier."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        inputs, planes, depths = BODIES[form.body]
        self.conv1, self.bn1 = nn.Conv2d(3, inputs, 7, 2, 3, bias=False), nn.BatchNorm2d(inputs)
        self.relu, self.maxpool = nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        for stage, depth in enumerate(depths):
            blocks = []
            for number in range(depth):
                blocks.append(Bottleneck(inputs, planes, 2 if stage and not number else 1, form))
                inputs = _EXPANSION * planes
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
            planes *= 2
        self.width = inputs
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def gates(self) -> list[nn.Module]:
        """The gates of all blocks, none of a plain network."""
        return [m.gate for m in self.modules() if isinstance(m, Bottleneck) and m.gate is not None]

    def use_gates(self, used: bool) -> None:
        """Let the gates act and train, or have the network be the plain one, whose gates stay as they are."""
        for module in self.modules():
            if isinstance(module, Bottleneck):
                module.gated = used
        for gate in self.gates():
            gate.requires_grad_(used)

    def forward(self, images: Tensor) -> Tensor:
        """Images ``[N, 3, S, S]`` to the last map ``[N, D, S/32, S/32]``."""
        x: Tensor = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        for stage in range(4):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        return x


def load_body(model: nn.Module, tensors: Mapping[str, Tensor], name: str, source: str) -> None:
    """Fill the network, or all of it but its gates where ``tensors`` has none; a classifier in them is dropped.

    Raises ``MissingWeightsError`` for tensors that are not those of ``name``.
    """
    body = {key: value for key, value in tensors.items() if not key.startswith("fc.")}
    gated, own = any(".gate." in key for key in body), model.state_dict().keys()
    due = {key for key in own if (gated or ".gate." not in key) and not key.endswith("num_batches_tracked")}
    missing, foreign = sorted(due - body.keys()), sorted(body.keys() - own)
    try:
        if missing or foreign:
            raise RuntimeError(f"it {'lacks' if missing else 'has besides'} {', '.join((missing or foreign)[:3])}")
        model.load_state_dict(dict(body), strict=False)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise MissingWeightsError(
            f"{source} does not hold a {name}: {reason}. Check that --backbone names its architecture."
        ) from None
