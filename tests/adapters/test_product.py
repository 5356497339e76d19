"""The hand-written products against their dense definition: values, gradients, and no matrix of the size of W."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from clipbench.adapters import AdapterConfig
from clipbench.adapters.hosts import AdaptedLinear
from tests.adapters.models import perturb, relative

PROPERTY = settings(deadline=None, derandomize=True, max_examples=40)
BLOCKS = {"q": (0, 4), "v": (8, 12)}  # k, in rows 4 to 8, has no branch


def _host(dtype: torch.dtype = torch.float64, bias: bool = True, **options: Any) -> AdaptedLinear:
    torch.manual_seed(0)
    layer = nn.Linear(5, 12, bias=bias, dtype=dtype).requires_grad_(False)
    config = AdapterConfig(rank=2, **options)
    shared = config.branch_type.share([(4, 5)] * len(BLOCKS), config)
    host = AdaptedLinear(layer, BLOCKS, config, shared=shared)
    for name in BLOCKS:
        host.branch(name).draw([torch.Generator().manual_seed(r) for r in range(host.config.replicas)], layer.weight)
    return perturb(host)


def _dense(host: AdaptedLinear, x: Tensor, masks: dict[str, Tensor] | None = None) -> Tensor:
    """The definition, with every matrix written out; `x [R, M, in]`, masks already divided by the share kept."""
    outputs = []
    for r, rows in enumerate(x):
        weight, parts = host.weight, []
        for name, (start, stop) in {"q": (0, 4), "k": (4, 8), "v": (8, 12)}.items():
            block = weight[start:stop]
            if name not in BLOCKS:
                parts.append(rows @ block.mT)
                continue
            parts.append(_block(host, name, r, block, rows, rows if masks is None else rows * masks[name][r]))
        outputs.append(torch.cat(parts, -1) + (0.0 if host.bias is None else host.bias))
    return torch.stack(outputs)


def _block(host: AdaptedLinear, name: str, r: int, block: Tensor, x: Tensor, dropped: Tensor) -> Tensor:
    branch, config = host.branch(name), host.config
    if config.kind == "vera":
        down, up = branch.shared.like(x)
        return x @ block.mT + dropped @ (branch.b[r][:, None] * up[:4] * branch.d[r] @ down[:, :5]).mT
    update = config.scale * branch.B[r] @ branch.A[r]
    if config.kind == "lora":
        return x @ block.mT + dropped @ update.mT
    by_input = config.norm_axis == "input"
    norm = (block + update).norm(dim=0 if by_input else 1)
    gain = branch.magnitude[r] / (norm.detach() if config.detach_norm else norm)
    if by_input and config.dora_dropout == "branch":
        return x @ (block * gain).mT + dropped @ (update * gain).mT
    if by_input:
        return x @ block.mT + dropped @ (block * (gain - 1) + update * gain).mT
    if config.dora_dropout == "branch":
        return gain * (x @ block.mT + dropped @ update.mT)
    return x @ block.mT + (gain - 1) * (dropped @ block.mT) + gain * (dropped @ update.mT)


def _compare(host: AdaptedLinear, masks: dict[str, Tensor] | None = None) -> None:
    x = torch.randn(host.config.replicas, 6, 5, dtype=torch.float64, requires_grad=True)
    target = torch.randn(host.config.replicas, 6, 12, dtype=torch.float64)
    leaves = [x, *(p for p in host.parameters() if p.requires_grad)]
    found = host(x.flatten(0, 1)).view_as(target)
    expected = _dense(host, x, masks)
    assert relative(found, expected) < 1e-13
    mine = torch.autograd.grad((found * target).sum(), leaves)
    for grad, dense in zip(mine, torch.autograd.grad((expected * target).sum(), leaves), strict=True):
        assert relative(grad, dense) < 1e-12


@pytest.mark.parametrize("kind", ["lora", "dora"])
@pytest.mark.parametrize("replicas", [1, 3])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("detach_norm", [True, False])
def test_values_and_gradients_are_those_of_the_definition(
    kind: Any, replicas: int, bias: bool, detach_norm: bool
) -> None:
    _compare(_host(kind=kind, replicas=replicas, bias=bias, detach_norm=detach_norm))


@pytest.mark.parametrize("replicas", [1, 3])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("detach_norm", [True, False])
def test_a_magnitude_per_input_too(replicas: int, bias: bool, detach_norm: bool) -> None:
    _compare(_host(kind="dora", norm_axis="input", replicas=replicas, bias=bias, detach_norm=detach_norm))


@pytest.mark.parametrize("replicas", [1, 3])
@pytest.mark.parametrize("bias", [True, False])
def test_two_vectors_between_shared_matrices(replicas: int, bias: bool) -> None:
    _compare(_host(kind="vera", replicas=replicas, bias=bias))


@pytest.mark.parametrize("dora_dropout", ["official", "branch"])
@pytest.mark.parametrize("replicas", [1, 3])
def test_dropout_with_a_magnitude_per_input(monkeypatch: Any, dora_dropout: Any, replicas: int) -> None:
    host = _host(kind="dora", norm_axis="input", replicas=replicas, dropout=0.25, dora_dropout=dora_dropout).train()
    masks = {name: torch.randint(0, 2, (replicas, 6, 5), dtype=torch.uint8) for name in BLOCKS}
    monkeypatch.setattr(host, "_masks", lambda _, blocks: (0.75, [masks[name] for name in blocks]))
    _compare(host, {name: mask.double() / 0.75 for name, mask in masks.items()})


@pytest.mark.parametrize(
    ("kind", "dora_dropout"), [("lora", "official"), ("dora", "official"), ("dora", "branch"), ("vera", "official")]
)
@pytest.mark.parametrize("replicas", [1, 3])
def test_dropout_is_that_of_the_definition(monkeypatch: Any, kind: Any, dora_dropout: Any, replicas: int) -> None:
    host = _host(kind=kind, replicas=replicas, dropout=0.25, dora_dropout=dora_dropout).train()
    masks = {name: torch.randint(0, 2, (replicas, 6, 5), dtype=torch.uint8) for name in BLOCKS}
    monkeypatch.setattr(host, "_masks", lambda _, blocks: (0.75, [masks[name] for name in blocks]))
    _compare(host, {name: mask.double() / 0.75 for name, mask in masks.items()})


@PROPERTY
@given(
    st.sampled_from(["lora", "dora"]),
    st.integers(1, 3),
    st.integers(1, 5),
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(1, 4),
    st.sampled_from(["output", "input"]),
)
def test_any_shape_equals_the_merged_matrix(
    kind: Any, replicas: int, rows: int, i: int, o: int, rank: int, norm_axis: Any
) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(i, o, dtype=torch.float64).requires_grad_(False)
    config = AdapterConfig(kind, rank=rank, replicas=replicas, norm_axis=norm_axis)
    host = perturb(AdaptedLinear(layer, {"linear": (0, o)}, config))
    x = torch.randn(replicas * rows, 2, i, dtype=torch.float64)
    merged = [host.branch("linear").merged(layer.weight, r) for r in range(replicas)]
    parts = [nn.functional.linear(p, w, layer.bias) for p, w in zip(x.chunk(replicas), merged, strict=True)]
    assert relative(host(x), torch.cat(parts)) < 1e-12


class _DenseTrap(TorchDispatchMode):
    """Collects the shapes of whatever is as large as W, is not W itself, and has no axis of tokens."""

    def __init__(self, weight: Tensor, tokens: int) -> None:
        super().__init__()
        self.weight, self.tokens = weight, tokens
        self.found: list[tuple[int, ...]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, Tensor) and self._is_dense(tensor):
                self.found.append(tuple(tensor.shape))
        return out

    def _is_dense(self, tensor: Tensor) -> bool:
        own = tensor.untyped_storage().data_ptr() == self.weight.untyped_storage().data_ptr()
        return tensor.numel() >= self.weight.numel() and not own and self.tokens not in tensor.shape


@pytest.mark.parametrize(("kind", "axis"), [("lora", "output"), ("dora", "output"), ("dora", "input")])
@pytest.mark.parametrize("dropout", [0.0, 0.25])
def test_no_dense_matrix_is_made(kind: Any, axis: Any, dropout: float) -> None:
    layer = nn.Linear(64, 64).requires_grad_(False)
    config = AdapterConfig(kind, rank=2, dropout=dropout, detach_norm=False, norm_axis=axis)
    host = AdaptedLinear(layer, {"o": (0, 64)}, config).train()
    x = torch.randn(1, 7, 64, requires_grad=True)
    with _DenseTrap(layer.weight, 7) as trap:
        host(x).square().sum().backward()
    assert trap.found == []
    with _DenseTrap(layer.weight, 7) as trap:
        host.branch("o").merged(layer.weight, 0)
    assert trap.found != []
