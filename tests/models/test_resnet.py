"""ResNets against torchvision's, public parameter counts, and their gates against plain loops in float64."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from clipbench.errors import MissingWeightsError, UserError
from clipbench.models import TINY_RESNET, family, image_size
from clipbench.models.load import load_backbone, load_image_tower
from clipbench.models.resnet import named
from clipbench.models.resnet.eam import EnhancedAttention
from clipbench.models.resnet.mbla import LocalAttention
from clipbench.models.resnet.network import BODIES, GATES, Bottleneck, ResNet
from clipbench.models.weights.sources import Sources


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """torchvision's own network, with norms that are no identities, and its file."""
    torch.manual_seed(1)
    model = torchvision.models.resnet50(num_classes=7).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    path = tmp_path_factory.mktemp("resnet") / "resnet50.pth"
    torch.save(model.state_dict(), path)
    return model, path


def from_file(name: str, path: Path) -> Any:
    return load_image_tower(name, f"sha256:{name}", "backbone", Sources(weights=path))


@torch.no_grad()
def test_the_features_are_torchvisions_at_any_size(plain: tuple[Any, Path]) -> None:
    theirs, path = plain
    tower = from_file("resnet50", path)
    for side in (96, 64):
        images = torch.randn(2, 3, side, side)
        due = nn.Sequential(*list(theirs.children())[:-1])(images).flatten(1)
        torch.testing.assert_close(tower.encode_image(images), due, rtol=1e-5, atol=1e-5)
        tower.check_size(side)


@torch.no_grad()
def test_the_first_form_strides_in_the_first_convolution(plain: tuple[Any, Path]) -> None:
    theirs, path = plain
    tower = from_file("resnet50-v1", path)
    images = torch.randn(2, 3, 96, 96)
    body = nn.Sequential(*list(theirs.children())[:-1])
    assert not torch.allclose(tower.encode_image(images), body(images).flatten(1), rtol=1e-2)
    strided = [block for block in theirs.modules() if getattr(block, "stride", 1) == 2 and hasattr(block, "conv3")]
    assert len(strided) == 3
    for block in strided:
        block.conv1.stride, block.conv2.stride = (2, 2), (1, 1)
    due = body(images).flatten(1)
    for block in strided:
        block.conv1.stride, block.conv2.stride = (1, 1), (2, 2)
    torch.testing.assert_close(tower.encode_image(images), due, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "count"),
    [("resnet50", 25_557_032), ("resnet50-v1", 25_557_032), ("resnet50-mbla", 45_699_608), ("resnet101", 44_549_160)],
)
def test_parameters_are_those_of_the_public_code(name: str, count: int) -> None:
    """With the classifier for 1000 classes; of MBLANet's, by its own get_n_params (att.py:13-20)."""
    with torch.device("meta"):
        model = ResNet(named(name))
    assert sum(p.numel() for p in model.parameters()) + 1000 * (model.width + 1) == count


def test_parameters_of_the_enhanced_attention() -> None:
    """Written out: mix 3; layers 2 C (C/16) and their norm C/8; two separable convolutions on C, one on 2 C to C."""
    for channels in (256, 512):
        hidden = channels // 16
        channel = 3 + 2 * channels * hidden + 2 * hidden
        spatial = 2 * (9 * channels + 2 * channels + channels**2) + 2 * channels * 11 + 2 * channels**2
        assert sum(p.numel() for p in EnhancedAttention(channels).parameters()) == channel + spatial


def redrawn(gate: nn.Module) -> Any:
    torch.manual_seed(2)
    gate.double().eval()
    for name, value in gate.state_dict().items():
        if "running_var" in name:
            value.uniform_(0.5, 2)
        elif "tracked" not in name:
            value.normal_(0, 0.7)
    return gate


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def normed(value: float, norm: Any, channel: int) -> float:
    scale = float(norm.weight[channel]) / math.sqrt(float(norm.running_var[channel]) + norm.eps)
    return (value - float(norm.running_mean[channel])) * scale + float(norm.bias[channel])


def convolved(x: Tensor, kernel: Tensor, row: int, column: int, dilation: int) -> float:
    """One 3x3 kernel ``[c, 3, 3]`` around a position of maps ``[c, H, W]``, zeros outside."""
    total = 0.0
    for channel in range(x.shape[0]):
        for i in range(3):
            for j in range(3):
                r, c = row + (i - 1) * dilation, column + (j - 1) * dilation
                if 0 <= r < x.shape[1] and 0 <= c < x.shape[2]:
                    total += float(x[channel, r, c] * kernel[channel, i, j])
    return total


@torch.no_grad()
@pytest.mark.parametrize("pools", [("max", "max"), ("mean", "max")])
def test_local_attention_is_the_plain_loop(pools: tuple[str, str]) -> None:
    gate = redrawn(LocalAttention(4, pools))
    x = torch.randn(2, 4, 6, 6, dtype=torch.float64)
    found = gate(x)
    mix, (first, _, second), (conv, norm) = gate.pair.mix, gate.channel, gate.spatial
    for n in range(2):
        pooled = [[float(x[n, c].mean() if pool == "mean" else x[n, c].max()) for c in range(4)] for pool in pools]
        w, b = mix.weight.flatten().tolist(), float(mix.bias)
        mixed = torch.tensor([w[0] * pooled[0][c] + w[1] * pooled[1][c] + b for c in range(4)], dtype=torch.float64)
        channel = second.weight @ (first.weight @ mixed + first.bias).clamp_min(0) + second.bias
        cells = torch.zeros(2, 3, 3, dtype=torch.float64)
        for r in range(3):
            for c in range(3):
                cell = x[n, :, 2 * r : 2 * r + 2, 2 * c : 2 * c + 2]
                cells[:, r, c] = torch.stack([cell.max(), cell.mean()])
        for r in range(6):
            for c in range(6):
                spatial = normed(convolved(cells, conv.weight[0], r // 2, c // 2, 3), norm, 0)
                for k in range(4):
                    due = sigmoid(sigmoid(float(channel[k])) * sigmoid(spatial))
                    assert float(found[n, k, r, c]) == pytest.approx(due, abs=1e-12)


@torch.no_grad()
def test_enhanced_attention_is_the_plain_loop() -> None:
    gate = redrawn(EnhancedAttention(16))
    x = torch.randn(2, 16, 6, 6, dtype=torch.float64)
    found = gate(x)
    first, norm, _, second = gate.channel
    for n in range(2):
        w, b = gate.pair.mix.weight.flatten().tolist(), float(gate.pair.mix.bias)
        mixed = torch.stack([w[0] * x[n, c].mean() + w[1] * x[n, c].max() + b for c in range(16)])
        hidden = max(normed(float(first.weight[0] @ mixed), norm, 0), 0.0)
        channel = second.weight[:, 0] * hidden
        halves = [_separable(gate.near, x[n], 2, 2), _separable(gate.far, x[n], 4, 2)]
        small = _separable(gate.joined, torch.cat(halves), 1, 1)
        for r in range(6):
            for c in range(6):
                for k in range(16):
                    due = sigmoid(float(channel[k]) * _between(small[k], r * 2 / 5, c * 2 / 5))
                    assert float(found[n, k, r, c]) == pytest.approx(due, abs=1e-12)


def _separable(layers: Any, x: Tensor, dilation: int, stride: int) -> Tensor:
    depthwise, norm, pointwise = layers
    side = -(-x.shape[1] // stride)
    out = torch.zeros(x.shape[0], side, side, dtype=torch.float64)
    for k in range(x.shape[0]):
        for r in range(side):
            for c in range(side):
                at = convolved(x[k : k + 1], depthwise.weight[k], r * stride, c * stride, dilation)
                out[k, r, c] = normed(at, norm, k)
    return torch.einsum("oi,irc->orc", pointwise.weight[:, :, 0, 0], out)


def _between(x: Tensor, row: float, column: float) -> float:
    """Bilinear, corners on corners."""
    r, c = min(int(row), x.shape[0] - 2), min(int(column), x.shape[1] - 2)
    a, b = row - r, column - c
    top = (1 - b) * x[r, c] + b * x[r, c + 1]
    return float((1 - a) * top + a * ((1 - b) * x[r + 1, c] + b * x[r + 1, c + 1]))


@pytest.mark.parametrize("gate", GATES)
def test_a_gate_stands_behind_the_last_norm_of_every_block(gate: str) -> None:
    """And multiplies in front of the sum: gradients reach it and the block, for batches in training too."""
    tower = load_backbone(f"{TINY_RESNET}-{gate}", "random")
    blocks = [m for m in tower.module.modules() if isinstance(m, Bottleneck)]
    assert len(blocks) == 4
    assert all(block.gate is not None for block in blocks)
    tower.module.train()
    tower.features(torch.randn(4, 3, 64, 64), "backbone").square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in tower.module.parameters())
    block = blocks[0].eval()
    x = torch.randn(1, 16, 8, 8)
    with torch.no_grad():
        branch = block.bn3(block.conv3(block.bn2(block.conv2(block.bn1(block.conv1(x)).relu())).relu()))
        assert block.gate is not None
        assert block.downsample is not None
        torch.testing.assert_close(block(x), (branch * block.gate(branch) + block.downsample(x)).relu())


def test_weights_of_the_plain_network_fill_one_with_gates(plain: tuple[Any, Path]) -> None:
    theirs, path = plain
    found = from_file("resnet50-v1-eam", path).module.state_dict()
    for name, value in theirs.state_dict().items():
        assert name.startswith("fc.") or torch.equal(found[name], value)


def test_files_that_do_not_fit_say_why(plain: tuple[Any, Path], tmp_path: Path) -> None:
    theirs, path = plain
    with pytest.raises(MissingWeightsError, match=r"resnet50.pth does not hold a resnet101: it lacks layer3.10.bn1"):
        from_file("resnet101", path)
    torch.save({**theirs.state_dict(), "layer1.0.se.weight": torch.ones(1)}, tmp_path / "se.pth")
    with pytest.raises(MissingWeightsError, match=r"does not hold a resnet50: it has besides layer1.0.se.weight"):
        from_file("resnet50", tmp_path / "se.pth")
    with pytest.raises(MissingWeightsError, match=r"timm has no weights 'openai' for resnet50; it has a1_in1k"):
        load_backbone("resnet50", "openai")


def test_names_and_sizes() -> None:
    assert {family(name) for name in ("resnet50", "resnet50-v1-eam", TINY_RESNET, f"{TINY_RESNET}-mbla")} == {"resnet"}
    assert family("RN50") == "open_clip"
    assert [image_size(name) for name in ("resnet50-v1-eam", f"{TINY_RESNET}-mbla")] == [224, 64]
    assert named("resnet50-v1-mbla-mean").gate == "mbla-mean"
    for wrong in ("resnet18", "resnet50-eam-v1", "resnet50-cbam", "resnet500"):
        with pytest.raises(UserError, match=f"no ResNet is called '{wrong}'; there are {', '.join(BODIES)}"):
            named(wrong)
