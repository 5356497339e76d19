"""Fused nn.MultiheadAttention: the model stays itself, replicas are separate models, merging is exact."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clipbench.adapters import AdapterConfig, adapt, adapted_modules, merge, remove, trainable_parameters, unmerge
from clipbench.errors import UserError
from tests.adapters.models import adapter_parameters, gradients, images, perturb, relative, tokens

KINDS = pytest.mark.parametrize("kind", ["lora", "dora"])


@KINDS
def test_vit_b32_is_unchanged_at_the_start_and_merged_equals_unmerged(vit_b32: Any, kind: Any) -> None:
    x, t = images(2, 224), tokens(2, 77, 49408)
    shapes = {name: value.shape for name, value in vit_b32.state_dict().items()}
    with torch.no_grad():
        plain = vit_b32.encode_image(x), vit_b32.encode_text(t)
        adapt(vit_b32, AdapterConfig(kind=kind, rank=4))
        adapted = vit_b32.encode_image(x), vit_b32.encode_text(t)
        perturb(vit_b32)
        trained = vit_b32.encode_image(x), vit_b32.encode_text(t)
        merge(vit_b32)
        merged = vit_b32.encode_image(x), vit_b32.encode_text(t)
    for a, p, moved, m in zip(adapted, plain, trained, merged, strict=True):
        assert relative(a, p) < 1e-6
        assert relative(moved, p) > 1e-2
        assert relative(m, moved) < 2e-6
    assert {name: value.shape for name, value in vit_b32.state_dict().items()} == shapes


@KINDS
def test_vit_b32_text_tower_is_unchanged_without_a_mask_too(vit_b32: Any, kind: Any) -> None:
    t = tokens(1, 77, 49408)
    causal, vit_b32.attn_mask = vit_b32.attn_mask, None
    try:
        with torch.no_grad():
            plain = vit_b32.encode_text(t)
            assert relative(adapt(vit_b32, AdapterConfig(kind=kind)).encode_text(t), plain) < 1e-6
    finally:
        vit_b32.attn_mask = causal
    with torch.no_grad():
        assert relative(vit_b32.encode_text(t), plain) > 1e-4


@KINDS
def test_three_replicas_of_vit_b32_are_three_models(vit_b32: Any, kind: Any) -> None:
    options = {"kind": kind, "rank": 2, "alpha": 1.0, "scaling": "alpha/sqrt(r)"}
    _check_replicas(vit_b32, options, images(3, 224), tokens(3, 77, 49408), 1e-6)


@KINDS
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"detach_norm": False},
        {"norm_axis": "input"},
        {"targets": "qv"},
        {"targets": "all-linear"},
        {"targets": "o", "layers": (1, 2)},
    ],
    ids=str,
)
def test_three_replicas_of_a_small_model(tiny: Callable[[], Any], kind: Any, options: dict[str, Any]) -> None:
    _check_replicas(tiny(), {"kind": kind, "rank": 3, "alpha": 3.0, **options}, images(6), tokens(9), 1e-6)
    _check_replicas(
        tiny().double(), {"kind": kind, "rank": 3, "alpha": 3.0, **options}, images(6).double(), tokens(9), 1e-14
    )


def _check_replicas(model: Any, options: dict[str, Any], x: Tensor, t: Tensor, tolerance: float) -> None:
    """One model with three replicas against three models, one after another: outputs and gradients."""
    perturb(adapt(model, AdapterConfig(replicas=3, init_seeds=(5, 6, 7), **options)))
    values = [p.detach().clone() for p in adapter_parameters(model)]
    joint = (*_features(model, x, t), *gradients(model))
    parts = []
    for r, (rows, prompts) in enumerate(zip(x.chunk(3), t.chunk(3), strict=True)):
        adapt(remove(model), AdapterConfig(init_seeds=(5 + r,), **options))
        for parameter, value in zip(adapter_parameters(model), values, strict=True):
            parameter.data.copy_(value[r : r + 1])
        parts.append((*_features(model, rows, prompts), *gradients(model)))
    expected = [torch.cat(values) for values in zip(*parts, strict=True)]
    for found, separate in zip(joint[:2], expected[:2], strict=True):
        assert relative(found, separate) < tolerance
    # As one vector, as an optimiser's step sees it: single gradients that nearly vanish are rounding noise in fp32.
    assert relative(_flat(joint[2:]), _flat(expected[2:])) < tolerance


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


def _features(model: Any, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Features of both towers; a backward pass has filled the gradients."""
    f, g = model.encode_image(x), model.encode_text(t)
    (f.square().sum() + g.square().sum()).backward()
    return f.detach(), g.detach()


def test_replicas_draw_what_single_models_draw(tiny: Callable[[], Any]) -> None:
    joint = adapted_modules(adapt(tiny(), AdapterConfig(replicas=2, init_seeds=(3, 9))))
    single = adapted_modules(adapt(tiny(), AdapterConfig(init_seeds=(9,))))
    for name, adapter in joint.items():
        assert torch.equal(adapter.A[1], single[name].A[0])
        assert not torch.equal(adapter.A[0], adapter.A[1])
        assert adapter.A.abs().max() <= adapter.A.shape[-1] ** -0.5
        assert not adapter.B.any()


@KINDS
def test_original_weights_are_frozen_and_untouched(tiny: Callable[[], Any], kind: Any) -> None:
    plain, model = tiny(), tiny()
    before = {name: p.data_ptr() for name, p in model.named_parameters()}
    adapt(model, AdapterConfig(kind=kind, targets="all-linear", rank=2))
    optimiser = torch.optim.AdamW(trainable_parameters(model).parameters, 0.1, weight_decay=0.5)
    _features(model, images(2), tokens(2))
    optimiser.step()
    for name, p in plain.named_parameters():
        mine = model.get_parameter(name)
        assert mine.data_ptr() == before[name]
        assert torch.equal(mine, p)
        assert not mine.requires_grad
        assert mine.grad is None


@KINDS
@pytest.mark.parametrize("targets", ["qkvo", "o", "k", "all-linear"])
def test_merge_restores_the_architecture_and_unmerge_the_bits(tiny: Callable[[], Any], kind: Any, targets: str) -> None:
    model = adapt(tiny(), AdapterConfig(kind=kind, targets=targets, rank=2, replicas=2))
    perturb(model)
    x = images(2).repeat(2, 1, 1, 1)
    with torch.no_grad():
        expected: Tensor = model.encode_image(x)
        frozen = {n: p.clone() for n, p in model.named_parameters()}
        merge(model, replica=1)
        assert {n: type(m) for n, m in model.named_modules()} == {n: type(m) for n, m in tiny().named_modules()}
        tiny().load_state_dict(model.state_dict(), strict=True)
        assert relative(model.encode_image(x[:2]), expected[2:]) < 1e-6
        unmerge(model)
        assert torch.equal(model.encode_image(x), expected)
    assert frozen.keys() == dict(model.named_parameters()).keys()
    assert all(torch.equal(frozen[n], p) for n, p in model.named_parameters())


def test_remove_gives_the_plain_model_back(tiny: Callable[[], Any]) -> None:
    plain, model = tiny(), adapt(tiny(), AdapterConfig(kind="dora"))
    perturb(model)
    merge(model)
    remove(model)
    assert all(torch.equal(p, model.get_parameter(n)) for n, p in plain.named_parameters())
    assert len(list(model.parameters())) == len(list(plain.parameters()))
    adapt(model, AdapterConfig(kind="lora"))


def test_the_two_draws_of_a(tiny: Callable[[], Any]) -> None:
    """Replica by replica from its seed: PyTorch's own initialiser, or a normal of standard deviation 1/r."""
    for init, bound in (("kaiming-uniform-sqrt5", None), ("normal-over-r", 1 / 3)):
        config = AdapterConfig(rank=3, replicas=2, init_seeds=(3, 9), init=init)  # type: ignore[arg-type]
        first = next(iter(adapted_modules(adapt(tiny(), config)).values()))
        for drawn, seed in zip(first.A, (3, 9), strict=True):
            generator = torch.Generator().manual_seed(seed)
            limit = first.A.shape[2] ** -0.5
            plain = torch.empty(drawn.shape)
            plain.uniform_(-limit, limit, generator=generator) if bound is None else plain.normal_(
                0.0, bound, generator=generator
            )
            torch.testing.assert_close(drawn.detach(), plain, rtol=1e-6, atol=0)
        assert not first.B.any()


def test_a_tower_alone_and_the_same_tower_in_the_model_draw_alike(tiny: Callable[[], Any]) -> None:
    config = AdapterConfig(init_seeds=(1,))
    whole = adapted_modules(adapt(tiny(), config))
    tower = adapted_modules(adapt(tiny().visual, config))
    assert len(tower) == 8
    assert all(torch.equal(adapter.A, whole[f"visual.{name}"].A) for name, adapter in tower.items())


def _masks(rows: int, heads: int) -> dict[str, Tensor | None]:
    causal = torch.ones(5, 5, dtype=torch.bool).triu(1)
    as_float = torch.zeros(5, 5).masked_fill(causal, float("-inf"))
    return {"none": None, "bool": causal, "float": as_float, "per head": as_float.expand(rows * heads, 5, 5)}


@pytest.mark.parametrize("name", ["none", "bool", "float", "per head"])
@pytest.mark.parametrize("padded", [False, True])
def test_attention_heeds_every_mask(name: str, padded: bool) -> None:
    torch.manual_seed(0)
    plain = nn.MultiheadAttention(12, 3, batch_first=True)
    padding = torch.tensor([[False] * 5, [False] * 3 + [True] * 2]) if padded else None
    call = {"attn_mask": _masks(2, 3)[name], "key_padding_mask": padding}
    q, kv = torch.randn(2, 5, 12), torch.randn(2, 5, 12)
    expected = [plain(q, q, q, **call), plain(q, kv, kv, average_attn_weights=False, **call)]
    attention = adapt(
        nn.ModuleDict({"transformer": _blocks(plain), "conv1": nn.Identity()}), AdapterConfig(kind="dora")
    )
    adapted = attention.get_submodule("transformer.resblocks.0.attn")
    found = [adapted(q, q, q, **call), adapted(q, kv, kv, average_attn_weights=False, **call)]
    for (y, w), (y0, w0) in zip(found, expected, strict=True):
        assert relative(y, y0) < 1e-5
        assert relative(w, w0) < 1e-5


def test_cross_attention_equals_self_attention_of_equal_inputs() -> None:
    torch.manual_seed(0)
    holder = nn.ModuleDict(
        {"transformer": _blocks(nn.MultiheadAttention(12, 3, batch_first=True)), "conv1": nn.Identity()}
    )
    model = perturb(adapt(holder, AdapterConfig(kind="dora", targets="qvo")))
    attention = model.get_submodule("transformer.resblocks.0.attn")
    x = torch.randn(2, 5, 12)
    fused, separate = attention(x, x, x, need_weights=False)[0], attention(x, x.clone(), x.clone())[0]
    assert relative(separate, fused) < 1e-6
    causal = attention(x, x, x, need_weights=False, is_causal=True)[0]
    mask = torch.ones(5, 5, dtype=torch.bool).triu(1)
    assert torch.equal(causal, attention(x, x, x, need_weights=False, attn_mask=mask)[0])


def _blocks(attention: nn.MultiheadAttention) -> nn.Module:
    return nn.ModuleDict({"resblocks": nn.ModuleList([nn.ModuleDict({"attn": attention})])})


def test_mistakes_end_in_one_clear_paragraph(tiny: Callable[[], Any]) -> None:
    model = adapt(tiny(), AdapterConfig(replicas=2))
    with pytest.raises(UserError, match="3 input rows"):
        model.encode_image(images(3))
    with pytest.raises(UserError, match="adapters already"):
        adapt(model, AdapterConfig())
    with pytest.raises(UserError, match="Say which one, from 0 to 1"):
        merge(model)
    with pytest.raises(UserError, match="nothing is merged"):
        unmerge(model)
    with pytest.raises(UserError, match="no adapters"):
        merge(tiny())
    with pytest.raises(UserError, match="2 vision blocks, 3 text blocks"):
        adapt(tiny(), AdapterConfig(layers="7-9"))
    with pytest.raises(UserError, match="sequence first"):
        adapt(
            nn.ModuleDict({"transformer": _blocks(nn.MultiheadAttention(8, 2)), "conv1": nn.Identity()}),
            AdapterConfig(),
        )
    model = adapt(tiny(), AdapterConfig())
    next(p for n, p in model.named_parameters() if n.endswith("in_proj_weight")).requires_grad_(True)
    with pytest.raises(UserError, match="frozen"):
        model.encode_image(images(1))
