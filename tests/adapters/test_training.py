"""Training as people do it: autocast, torch.compile, gradient checkpointing, DistributedDataParallel, AdamW."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from clipbench.adapters import AdapterConfig, adapt, adapted_modules, save, set_dropout_seeds, trainable_parameters
from tests.adapters.models import adapter_parameters, gradients, images, perturb, relative, tokens

KINDS = pytest.mark.parametrize("kind", ["lora", "dora"])
BY_INPUT = ("dora", {"norm_axis": "input"})


def _step(model: Any, x: Tensor, t: Tensor) -> Tensor:
    features = torch.cat([model.encode_image(x, normalize=True), model.encode_text(t, normalize=True)], 1)
    features.float().square()[:, ::3].sum().backward()
    return features.detach()


@pytest.mark.parametrize(("kind", "options"), [("lora", {}), ("dora", {}), BY_INPUT])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("dropout", [0.0, 0.25])
def test_autocast_stays_near_fp32(
    tiny: Callable[[], Any], kind: Any, options: Any, dtype: torch.dtype, dropout: float
) -> None:
    x, results = images(4), []
    for enabled in (False, True):
        torch.manual_seed(0)
        config = AdapterConfig(kind, 2, replicas=2, init_seeds=(0, 1), dropout=dropout, **options)
        model = perturb(adapt(tiny(), config)).train()
        set_dropout_seeds(model, (1, 2))
        with torch.autocast("cpu", dtype, enabled=enabled):
            features = model.encode_image(x, normalize=True)
        features.float()[:, ::3].sum().backward()
        branch = adapted_modules(model)["visual.transformer.resblocks.0.attn.q"]
        if kind == "dora":
            with torch.autocast("cpu", dtype):
                assert branch.gain(torch.randn(32, 32)).dtype == torch.float32
        grads = [p.grad for p in adapter_parameters(model) if p.grad is not None]
        assert all(g.dtype == torch.float32 and g.isfinite().all() for g in grads)
        results.append((features.float().detach(), torch.cat([g.flatten() for g in grads])))
    assert relative(results[1][0], results[0][0]) < 0.03
    assert relative(results[1][1], results[0][1]) < 0.15


def test_a_half_precision_model_keeps_its_norms_in_fp32(tiny: Callable[[], Any]) -> None:
    model = adapt(tiny().bfloat16(), AdapterConfig("dora"))
    assert {p.dtype for p in adapter_parameters(model)} == {torch.float32}
    assert model.encode_image(images(2).bfloat16()).dtype == torch.bfloat16  # type: ignore[operator]


@KINDS
def test_gradient_checkpointing_gives_the_same_gradients(tiny: Callable[[], Any], kind: Any) -> None:
    results = []
    for checkpointing in (False, True):
        model = perturb(adapt(tiny(), AdapterConfig(kind, init_seeds=(0,)))).train()
        model.set_grad_checkpointing(checkpointing)
        results.append((_step(model, images(2), tokens(2)), gradients(model)))
    assert torch.equal(results[0][0], results[1][0])
    assert all(relative(a, b) < 1e-6 for a, b in zip(results[0][1], results[1][1], strict=True))


@pytest.mark.parametrize(("kind", "options"), [("lora", {}), ("dora", {}), ("dora", {"dropout": 0.25}), BY_INPUT])
def test_compiles_without_a_graph_break(tiny: Callable[[], Any], kind: Any, options: Any) -> None:
    torch._dynamo.reset()
    config = AdapterConfig(kind, 2, replicas=2, init_seeds=(0, 1), layers=(0, 1), **options)
    plain, model = (perturb(adapt(tiny().visual, config)).train() for _ in range(2))
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    for m in (plain, model):
        set_dropout_seeds(m, (1, 2))
    for step in range(2):
        x = images(4, seed=step)
        found, expected = compiled(x), plain(x)
        assert relative(found, expected) < 1e-6
    found.square().sum().backward()
    expected.square().sum().backward()
    assert all(relative(a, b) < 1e-5 for a, b in zip(gradients(compiled), gradients(plain), strict=True))


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_compiles_without_gradients(tiny: Callable[[], Any], kind: Any) -> None:
    """With one target, whose factors are two."""
    torch._dynamo.reset()
    config = AdapterConfig(kind, 2, replicas=2, init_seeds=(0, 1), layers=(0, 1), targets=("q",))
    model = perturb(adapt(tiny().visual, config)).eval()
    with torch.no_grad():
        found = torch.compile(model, backend="aot_eager", fullgraph=True)(images(4))
        assert relative(found, model(images(4))) < 1e-6


class _Scores(nn.Module):
    """DistributedDataParallel needs a forward."""

    def __init__(self, clip: nn.Module) -> None:
        super().__init__()
        self.clip: Any = clip

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return torch.cat([self.clip.encode_image(x), self.clip.encode_text(t)], 1)


@KINDS
def test_distributed_data_parallel(tiny: Callable[[], Any], kind: Any) -> None:
    """One process will do: its reducer must get every adapter's gradient, and must have nothing else to wait for."""
    plain, model = (perturb(adapt(tiny(), AdapterConfig(kind, 2, init_seeds=(0,)))) for _ in range(2))
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        parallel = DistributedDataParallel(_Scores(model))
        for step in range(2):
            parallel(images(2, seed=step), tokens(2, seed=step)).square().sum().backward()
    finally:
        distributed.destroy_process_group()
    for step in range(2):
        _Scores(plain)(images(2, seed=step), tokens(2, seed=step)).square().sum().backward()
    assert all(relative(a, b) < 1e-6 for a, b in zip(gradients(model), gradients(plain), strict=True))


def test_adapters_are_found_inside_wrappers(tiny: Callable[[], Any], tmp_path: Any) -> None:
    model = adapt(tiny().visual, AdapterConfig())
    compiled = torch.compile(model, backend="eager")
    assert adapted_modules(compiled).keys() == adapted_modules(model).keys()
    assert save(compiled, tmp_path / "a").exists()


@KINDS
def test_replicas_train_apart_from_each_other(tiny: Callable[[], Any], kind: Any) -> None:
    """Five steps of AdamW on two replicas are five steps on each of two models."""
    options: dict[str, Any] = {"kind": kind, "rank": 2, "alpha": 2.0}
    joint = adapt(tiny(), AdapterConfig(**options, replicas=2, init_seeds=(1, 2)))
    singles = [adapt(tiny(), AdapterConfig(**options, init_seeds=(seed,))) for seed in (1, 2)]
    for model, part in ((joint, slice(None)), (singles[0], slice(0, 2)), (singles[1], slice(2, 4))):
        model.double()
        optimiser = torch.optim.AdamW(trainable_parameters(model).parameters, 1e-2)
        for step in range(5):
            optimiser.zero_grad()
            _step(model, images(4, seed=step)[part].double(), tokens(4, seed=step)[part])
            optimiser.step()
    for many, *ones in zip(*(adapter_parameters(m) for m in (joint, *singles)), strict=True):
        assert relative(many, torch.cat(ones)) < 1e-6
