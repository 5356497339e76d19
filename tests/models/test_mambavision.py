"""MambaVision against independent implementations: the scan in a loop over time, the network in plain sums."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from clipbench.adapters import AdapterConfig, adapt, adapted_modules, merge, trainable_parameters
from clipbench.errors import MissingWeightsError, UserError
from clipbench.models import TINY_MAMBA, family, image_size
from clipbench.models.load import load_backbone
from clipbench.models.mambavision import _TINY
from clipbench.models.mambavision.network import SIZES, MambaVision, Size, classified, on_meta
from clipbench.models.mambavision.scan import fused_kernel, selective_scan
from clipbench.models.weights.sources import Sources


def loop_scan(x: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """Step by step in float64."""
    x, delta, a, b, c, d = (part.double() for part in (x, delta, a, b, c, d))
    state = torch.zeros(x.shape[0], *a.shape, dtype=torch.float64)
    out = []
    for t in range(x.shape[2]):
        state = torch.exp(delta[:, :, t, None] * a) * state + (delta * x)[:, :, t, None] * b[:, None, :, t]
        out.append((state * c[:, None, :, t]).sum(-1) + d * x[:, :, t])
    return torch.stack(out, dim=2)


def scan_inputs(length: int, fade: float = 1.0, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    g = torch.Generator().manual_seed(length)
    x, delta = torch.randn(2, 3, length, generator=g), torch.rand(2, 3, length, generator=g) * fade
    a = -torch.rand(3, 4, generator=g) * 8
    b, c, d = (
        torch.randn(2, 4, length, generator=g),
        torch.randn(2, 4, length, generator=g),
        torch.randn(3, generator=g),
    )
    return [part.to(dtype).requires_grad_() for part in (x, delta, a, b, c, d)]


@pytest.mark.parametrize("length", [1, 4, 15, 16, 17, 49, 196])
@pytest.mark.parametrize("fade", [1e-3, 0.3, 50.0])
def test_the_scan_and_its_gradients_against_a_loop_over_time(length: int, fade: float) -> None:
    """From states that hardly fade to states whose product of decays underflows."""
    inputs = scan_inputs(length, fade)
    exact = [part.detach().double().requires_grad_() for part in inputs]
    found, due = selective_scan(*inputs), loop_scan(*exact)
    grad = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
    found.backward(grad)
    due.backward(grad.double())
    assert found.dtype == torch.float32
    pairs = [(found, due), *((p.grad, q.grad) for p, q in zip(inputs, exact, strict=True))]
    for got, want in pairs:
        scale = want.detach().norm() + 1e-12  # type: ignore[union-attr]
        assert (got.detach().double() - want.detach()).norm() / scale < 2e-6  # type: ignore[union-attr]


def test_the_adjoint_against_finite_differences() -> None:
    assert torch.autograd.gradcheck(selective_scan, scan_inputs(19, 0.5, torch.float64))


def test_the_scan_stays_in_float32_under_autocast() -> None:
    inputs = scan_inputs(20, 0.3)
    with torch.autocast("cpu", torch.bfloat16):
        found = selective_scan(inputs[0].bfloat16(), *inputs[1:])
    due = loop_scan(inputs[0].bfloat16(), *inputs[1:])
    assert found.dtype == torch.float32
    assert (found - due).norm() / due.norm() < 1e-6


def test_the_kernel_of_mamba_ssm_is_taken_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    interface = SimpleNamespace(selective_scan_fn=len)
    monkeypatch.setitem(sys.modules, "mamba_ssm", SimpleNamespace(__spec__=SimpleNamespace()))
    monkeypatch.setitem(sys.modules, "mamba_ssm.ops", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "mamba_ssm.ops.selective_scan_interface", interface)
    fused_kernel.cache_clear()
    assert fused_kernel() is len
    monkeypatch.undo()
    fused_kernel.cache_clear()


# --- the network, from its state dict alone, with explicit windows, heads and a loop over time, in float64 ------------


def plain(s: dict[str, Tensor], size: Size, x: Tensor) -> Tensor:
    def norm(name: str, maps: Tensor, eps: float) -> Tensor:
        mean, var, w, b = (s[f"{name}.{k}"][:, None, None] for k in ("running_mean", "running_var", "weight", "bias"))
        return (maps - mean) / (var + eps).sqrt() * w + b

    for conv, batch_norm in (("0", "1"), ("3", "4")):
        x = functional.conv2d(x, s[f"patch_embed.conv_down.{conv}.weight"], stride=2, padding=1)
        x = norm(f"patch_embed.conv_down.{batch_norm}", x, 1e-4).relu()
    for i, depth in enumerate(size.depths):
        for j in range(depth):
            p = f"levels.{i}.blocks.{j}."
            if i < 2:
                h = functional.conv2d(x, s[p + "conv1.weight"], s[p + "conv1.bias"], padding=1)
                h = functional.gelu(norm(p + "norm1", h, 1e-5), approximate="tanh")
                h = functional.conv2d(h, s[p + "conv2.weight"], s[p + "conv2.bias"], padding=1)
                x = x + norm(p + "norm2", h, 1e-5)
        if i >= 2:
            x = windows(s, size, i, x)
        if i < 3:
            x = functional.conv2d(x, s[f"levels.{i}.downsample.reduction.0.weight"], stride=2, padding=1)
    return norm("norm", x, 1e-5).mean((2, 3))


def windows(s: dict[str, Tensor], size: Size, level: int, x: Tensor) -> Tensor:
    side, (high, wide) = size.windows[level - 2], x.shape[2:]
    out = functional.pad(x, (0, -wide % side, 0, -high % side))
    for top in range(0, out.shape[2], side):
        for left in range(0, out.shape[3], side):
            part = out[:, :, top : top + side, left : left + side]
            tokens = part.flatten(2).transpose(1, 2)
            for j in range(size.depths[level]):
                tokens = block(s, f"levels.{level}.blocks.{j}.", size.heads[level], tokens)
            out[:, :, top : top + side, left : left + side] = tokens.transpose(1, 2).reshape(part.shape)
    return out[:, :, :high, :wide]


def block(s: dict[str, Tensor], p: str, heads: int, x: Tensor) -> Tensor:
    width = x.shape[-1]
    gains = [s.get(f"{p}gamma_{k}", torch.ones(width, dtype=x.dtype)) for k in (1, 2)]
    h = functional.layer_norm(x, (width,), s[p + "norm1.weight"], s[p + "norm1.bias"])
    x = x + gains[0] * (attention(s, p, heads, h) if p + "mixer.qkv.weight" in s else mixer(s, p + "mixer.", h))
    h = functional.layer_norm(x, (width,), s[p + "norm2.weight"], s[p + "norm2.bias"])
    h = functional.gelu(h @ s[p + "mlp.fc1.weight"].T + s[p + "mlp.fc1.bias"])
    return x + gains[1] * (h @ s[p + "mlp.fc2.weight"].T + s[p + "mlp.fc2.bias"])


def attention(s: dict[str, Tensor], p: str, heads: int, x: Tensor) -> Tensor:
    q, k, v = (x @ s[p + "mixer.qkv.weight"].T + s[p + "mixer.qkv.bias"]).chunk(3, -1)
    deep, out = x.shape[-1] // heads, []
    for h in range(heads):
        part = slice(h * deep, (h + 1) * deep)
        weights = (q[..., part] @ k[..., part].transpose(1, 2) / deep**0.5).softmax(-1)
        out.append(weights @ v[..., part])
    return torch.cat(out, -1) @ s[p + "mixer.proj.weight"].T + s[p + "mixer.proj.bias"]


def mixer(s: dict[str, Tensor], p: str, tokens: Tensor) -> Tensor:
    both = (tokens @ s[p + "in_proj.weight"].T).transpose(1, 2)
    half = both.shape[1] // 2
    sides = []
    for name, part in (("x", both[:, :half]), ("z", both[:, half:])):
        padded, w = functional.pad(part, (1, 1)), s[p + f"conv1d_{name}.weight"]
        sides.append(functional.silu(sum(padded[:, :, k : k + part.shape[2]] * w[:, 0, k, None] for k in range(3))))
    x, z = sides
    projected = x.transpose(1, 2) @ s[p + "x_proj.weight"].T
    rank = projected.shape[-1] - 16
    step, b, c = projected[..., :rank], projected[..., rank:-8], projected[..., -8:]
    delta = functional.softplus(step @ s[p + "dt_proj.weight"].T + 2 * s[p + "dt_proj.bias"]).transpose(1, 2)
    y = loop_scan(x, delta, -s[p + "A_log"].exp(), b.transpose(1, 2), c.transpose(1, 2), s[p + "D"])
    return torch.cat([y, z], 1).transpose(1, 2) @ s[p + "out_proj.weight"].T


def shaken(size: Size) -> Any:
    """A network in which every parameter and statistic matters."""
    torch.manual_seed(4)
    model = MambaVision(size).eval()
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                noise = torch.rand(value.shape) * 0.4
                value.copy_(0.5 + noise if "running_var" in name or "gamma" in name else value + noise - 0.2)
    return model


@pytest.mark.parametrize("side", [64, 72])
def test_the_network_against_plain_sums(side: int) -> None:
    """At 72 px the windows do not fit and are padded."""
    size = Size(16, 8, (1, 1, 3, 2), (1, 1, 2, 4), windows=(4, 2), scale=0.5)
    model = shaken(size)
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = model(images)
        due = plain({k: v.double() for k, v in model.state_dict().items()}, size, images.double())
    assert (found - due).norm() / due.norm() < 1e-5


@pytest.mark.parametrize(
    ("name", "total"),
    [
        ("mambavision_tiny", 31_794_248),
        ("mambavision_small", 50_140_584),
        ("mambavision_base", 97_685_288),
        ("mambavision_large", 227_961_048),
    ],
)
def test_parameter_counts(name: str, total: int) -> None:
    """The official model cards say 31.8 M, 50.1 M, 97.7 M and (cut off, not rounded) 227.9 M."""
    assert classified(on_meta(SIZES[name]), SIZES[name]) == total


def test_seven_attention_blocks_and_the_counts_of_lora() -> None:
    """PROTOCOLS 5.5: attention in the second half of levels 3 and 4."""
    targets = {"attention": 28, "attention+mixer": 44}
    for word, matrices in targets.items():
        model = adapt(on_meta(SIZES["mambavision_base"]), AdapterConfig(rank=8, targets=word, towers="vision"))
        assert len(adapted_modules(model)) == matrices
    per_attention = {w: 8 * 8 * w for w in (512, 1024)}  # q, k, v, o: 4 matrices of r (in + out)
    per_mixer = {w: 8 * 4 * w for w in (512, 1024)}
    due = 5 * per_attention[512] + 2 * per_attention[1024] + 5 * per_mixer[512] + 3 * per_mixer[1024]
    assert trainable_parameters(model).total == due


OFFICIAL = {
    "patch_embed.conv_down.4.running_var", "levels.0.blocks.2.conv2.bias", "levels.1.downsample.reduction.0.weight",
    "levels.2.blocks.4.mixer.A_log", "levels.2.blocks.4.mixer.D", "levels.2.blocks.0.mixer.x_proj.weight",
    "levels.2.blocks.0.mixer.dt_proj.bias", "levels.2.blocks.0.mixer.conv1d_x.weight", "levels.2.blocks.5.gamma_1",
    "levels.2.blocks.0.mixer.conv1d_z.weight",
    "levels.2.blocks.5.mixer.qkv.bias", "levels.3.blocks.3.mixer.proj.weight",
    "levels.3.blocks.2.mixer.in_proj.weight", "levels.3.blocks.4.mlp.fc2.bias", "norm.num_batches_tracked",
}  # fmt: skip


def test_key_names_are_the_official_ones() -> None:
    keys = set(on_meta(SIZES["mambavision_base"]).state_dict())
    assert keys >= OFFICIAL
    assert not {k for k in keys if "in_proj.bias" in k or ("conv1d" in k and k.endswith("bias"))}
    assert not any("gamma" in k for k in on_meta(SIZES["mambavision_tiny"]).state_dict())


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The smoke size under an official name, so that a file of it loads as an official one would."""
    monkeypatch.setitem(SIZES, "mambavision_tiny", _TINY)
    return shaken(_TINY)


def test_official_files_load_strictly_with_their_wrappers_and_heads(small: Any, tmp_path: Path) -> None:
    for prefix in ("", "module.", "model."):
        path = tmp_path / f"{prefix}x.pth.tar"
        state = {prefix + k: v for k, v in small.state_dict().items()} | {f"{prefix}head.weight": torch.ones(2, 2)}
        torch.save({"state_dict": state}, path)
        backbone = load_backbone("mambavision_tiny", "sha256:0", Sources(weights=path))
        images = torch.randn(2, 3, 64, 64)
        with torch.no_grad():
            torch.testing.assert_close(backbone.features(images, "backbone"), small(images), rtol=1e-5, atol=1e-5)
    torch.save({k: v for k, v in small.state_dict().items() if "A_log" not in k}, path)
    with pytest.raises(MissingWeightsError, match="A_log"):
        load_backbone("mambavision_tiny", "sha256:0", Sources(weights=path))


def test_names_and_tags() -> None:
    with pytest.raises(MissingWeightsError, match="mamba_vision_B-1K, mamba_vision_B-21K"):
        load_backbone("mambavision_base", "openai")
    with pytest.raises(UserError, match="mambavision_large"):
        load_backbone("mambavision_huge", "random")
    with pytest.raises(UserError, match="random"):
        load_backbone(TINY_MAMBA, "embedded")
    assert {family(n) for n in ("mambavision_base", TINY_MAMBA)} == {"mambavision"}
    assert (image_size("mambavision_base"), image_size(TINY_MAMBA)) == (224, 64)


def test_statistics_stay_in_training_and_replicas_stay_apart() -> None:
    config = AdapterConfig(rank=2, targets="attention+mixer", towers="vision", replicas=2, init_seeds=(1, 2))
    model = adapt(shaken(_TINY), config)
    with torch.no_grad():
        for module in adapted_modules(model).values():
            module.B.normal_(0, 0.1, generator=torch.Generator().manual_seed(3))
    model.train()
    before = {k: v.clone() for k, v in model.state_dict().items() if "running" in k or "tracked" in k}
    images = torch.randn(6, 3, 64, 64, generator=torch.Generator().manual_seed(5))
    joint = model(images).detach()
    assert all(torch.equal(before[k], model.state_dict()[k]) for k in before)
    for replica, rows in enumerate(images.chunk(2)):
        alone = merge(adapt_like(model, config), replica=replica)
        with torch.no_grad():
            torch.testing.assert_close(alone(rows), joint.chunk(2)[replica], rtol=1e-4, atol=1e-5)


def adapt_like(model: Any, config: AdapterConfig) -> Any:
    twin = adapt(shaken(_TINY), config)
    twin.load_state_dict(model.state_dict())
    return twin
