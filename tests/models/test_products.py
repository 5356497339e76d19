"""Large float32 products on a CPU by oneDNN: the same numbers, chosen once per machine, and nothing else touched."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from open_clip.model import CLIP
from torch import Tensor, nn
from torch.nn.functional import linear

from clipbench.adapters import AdapterConfig, adapt, set_dropout_seeds
from clipbench.data.digests import cache_dir
from clipbench.errors import UserError
from clipbench.models import products as module
from clipbench.models.products import (
    AUTO,
    ONEDNN,
    PYTORCH,
    OneDnnProducts,
    choose_products,
    fastest,
    onednn_product,
    products,
    products_in_use,
)
from tests.adapters.models import gradients, perturb, relative

CPU = torch.device("cpu")
WIDTH = 256


def _open_clip() -> nn.Module:
    vision = {"layers": 2, "width": WIDTH, "head_width": 64, "image_size": 64, "patch_size": 8}
    text = {"layers": 1, "width": 32, "heads": 2, "context_length": 12, "vocab_size": 64}
    model: nn.Module = CLIP(64, vision, text, quick_gelu=True).visual
    return model


def _timm() -> nn.Module:
    from timm.models.vision_transformer import VisionTransformer

    sizes: dict[str, Any] = {"img_size": 64, "patch_size": 8, "embed_dim": WIDTH, "depth": 2, "num_heads": 4}
    return VisionTransformer(**sizes, num_classes=0)


def _hugging_face() -> nn.Module:
    from transformers import CLIPVisionConfig, CLIPVisionModel

    sizes: dict[str, Any] = {"num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 64, "patch_size": 8}
    return CLIPVisionModel(CLIPVisionConfig(hidden_size=WIDTH, intermediate_size=4 * WIDTH, **sizes))


def _features(model: nn.Module, images: Tensor) -> Tensor:
    found = model(images)
    features: Tensor = found if isinstance(found, Tensor) else found.pooler_output
    return features


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of all products that oneDNN took."""
    shapes: list[tuple[int, ...]] = []

    def watched(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor | None:
        found = onednn_product(a, b, bias)
        shapes.extend([(*a.shape, b.shape[1])] if found is not None else [])
        return found

    monkeypatch.setattr(module, "onednn_product", watched)
    return shapes


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("rows", [256, 311])
def test_a_product_and_its_gradient(rows: int, threads: int, served: list[tuple[int, ...]]) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        x, weight, bias = torch.randn(rows, 320, requires_grad=True), torch.randn(512, 320), torch.randn(512)
        grad = torch.randn(rows, 512)
        with products(ONEDNN):
            found = linear(x, weight, bias)
            found.backward(grad)  # type: ignore[no-untyped-call]
        expected = x.detach().double() @ weight.double().mT + bias.double()
        assert relative(found.detach().double(), expected) < 1e-6
        assert x.grad is not None
        assert relative(x.grad.double(), grad.double() @ weight.double()) < 1e-6
        assert served == [(rows, 320, 512), (rows, 512, 320)]
        assert found.is_contiguous()
        assert x.grad.is_contiguous()
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (torch.randn(255, 256), torch.randn(256, 256)),  # few rows: the copy of the weights would cost more
        (torch.randn(300, 4), torch.randn(4, 300)),  # a low rank
        (torch.randn(300, 300).mT, torch.randn(300, 300)),  # a weight's gradient would be copied first
        (torch.randn(300, 600)[:, ::2], torch.randn(300, 300)),
        (torch.randn(300, 300).double(), torch.randn(300, 300).double()),
        (torch.randn(300, 300).bfloat16(), torch.randn(300, 300).bfloat16()),
    ],
)
def test_other_products_stay_as_they_are(a: Tensor, b: Tensor) -> None:
    assert onednn_product(a, b) is None
    with products(ONEDNN):
        assert torch.equal(a @ b, torch.mm(a, b))


@pytest.mark.parametrize("options", [{"kind": "lora"}, {"kind": "dora"}, {"kind": "dora", "dropout": 0.25}])
@pytest.mark.parametrize("build", [_open_clip, _timm, _hugging_face])
def test_towers_with_adapters(
    build: Callable[[], nn.Module], options: dict[str, Any], served: list[tuple[int, ...]]
) -> None:
    """Fused and separate projections, two seeds in one pass: features and all gradients within 1e-5."""
    torch.manual_seed(0)
    model = adapt(build(), AdapterConfig(rank=2, replicas=2, init_seeds=(0, 1), **options))
    perturb(model).train()
    images = torch.randn(8, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    found = []
    for by in (PYTORCH, ONEDNN):
        model.zero_grad()
        set_dropout_seeds(model, (1, 2))
        with products(by):
            features = _features(model, images)
            (features * torch.linspace(-1, 1, features.shape[-1])).sum().backward()  # type: ignore[no-untyped-call]
        found.append([features.detach(), *gradients(model)])
    assert all(relative(b, a) < 1e-5 for a, b in zip(*found, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    # Two blocks of four frozen products or more, and as many gradients but for the first layer's input.
    assert len(served) >= 14


@pytest.mark.parametrize("build", [_open_clip, _timm, _hugging_face])
def test_frozen_towers(build: Callable[[], nn.Module], served: list[tuple[int, ...]]) -> None:
    """PyTorch's fused attention holds its products within one operator; oneDNN takes them all the same."""
    torch.manual_seed(0)
    model, images = build().eval().requires_grad_(False), torch.randn(8, 3, 64, 64)
    expected = _features(model, images)
    fast = torch.backends.mha.get_fastpath_enabled()
    with products(ONEDNN), torch.no_grad():
        assert relative(_features(model, images), expected) < 1e-5
    assert torch.backends.mha.get_fastpath_enabled() == fast
    assert len(served) >= 8


@pytest.mark.parametrize("build", [_open_clip, _timm, _hugging_face])
def test_gradients_through_frozen_towers(build: Callable[[], nn.Module], served: list[tuple[int, ...]]) -> None:
    """As prompts and other inputs get them."""
    torch.manual_seed(0)
    model, images = build().requires_grad_(False), torch.randn(8, 3, 64, 64, requires_grad=True)
    found = []
    for by in (PYTORCH, ONEDNN):
        with products(by):
            features = _features(model, images)
            (found_one,) = torch.autograd.grad((features * torch.linspace(-1, 1, features.shape[-1])).sum(), images)
        found.append(found_one)
    assert relative(found[1], found[0]) < 1e-5
    assert len(served) >= 16


def test_it_ends_with_its_body() -> None:
    assert products_in_use() == PYTORCH
    with products(ONEDNN):
        assert products_in_use() == ONEDNN
    assert products_in_use() == PYTORCH
    with pytest.raises(UserError), products(ONEDNN):
        raise UserError("the body fails")
    assert products_in_use() == PYTORCH
    with products(PYTORCH):
        assert products_in_use() == PYTORCH


@pytest.fixture
def rate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[float], None]:
    """Says how many times as fast oneDNN will be found, by a process of which none has measured before."""
    monkeypatch.setenv("CLIPBENCH_CACHE", str(tmp_path))

    def become(times: float) -> None:
        fastest.cache_clear()
        monkeypatch.setattr(module, "measured", lambda: times)

    return become


def test_the_first_measurement_on_a_machine_counts(rate: Callable[[float], None]) -> None:
    rate(2.0)
    assert fastest(1) == ONEDNN
    rate(0.5)
    assert fastest(1) == ONEDNN
    assert fastest(2) == PYTORCH  # other threads, another measurement
    rate(2.0)
    assert fastest(2) == PYTORCH
    kept = [json.loads(path.read_text()) for path in sorted((cache_dir() / "products").iterdir())]
    assert {(one["times_as_fast"], one["products"]) for one in kept} == {(2.0, ONEDNN), (0.5, PYTORCH)}
    assert all(torch.__version__ in one["machine"] for one in kept)


def test_a_process_that_measures_at_the_same_time_decides_alike(
    rate: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    rate(0.5)
    fastest(1)
    (path,) = (cache_dir() / "products").iterdir()
    content = path.read_text()
    path.unlink()

    def slow() -> float:
        path.write_text(content)  # the other process is done first
        return 2.0

    fastest.cache_clear()
    monkeypatch.setattr(module, "measured", slow)
    assert fastest(1) == PYTORCH
    assert list(path.parent.iterdir()) == [path]


def test_noise_does_not_decide(rate: Callable[[float], None]) -> None:
    rate(1.29)
    assert fastest(1) == PYTORCH


def test_a_cache_that_takes_no_files(rate: Callable[[float], None], tmp_path: Path) -> None:
    (tmp_path / "products").write_text("a file where a folder is due")
    rate(2.0)
    assert fastest(1) == ONEDNN


def test_a_damaged_file_is_no_answer(rate: Callable[[float], None]) -> None:
    rate(2.0)
    fastest(1)
    (path,) = (cache_dir() / "products").iterdir()
    for content in ("", "[]", '{"products": "abacus"}', "\0"):
        path.write_text(content)
        rate(0.5)
        assert fastest(1) == PYTORCH


def test_who_is_asked_for(rate: Callable[[float], None], monkeypatch: pytest.MonkeyPatch) -> None:
    rate(2.0)
    large, small = nn.Linear(WIDTH, WIDTH), nn.Linear(4096, 10)
    assert choose_products(AUTO, CPU, large) == ONEDNN
    assert choose_products(PYTORCH, CPU, large) == PYTORCH
    assert choose_products(AUTO, torch.device("cuda"), large) == ""
    assert choose_products(ONEDNN, torch.device("cuda"), large) == ""
    fastest.cache_clear()
    monkeypatch.setattr(module, "measured", lambda: pytest.fail("a small model is not measured for"))
    assert choose_products(AUTO, CPU, small) == PYTORCH


def test_the_measurement_takes_both_and_names_a_ratio() -> None:
    assert 0.05 < module.measured() < 20.0


def test_the_mode_is_torchs() -> None:
    """Whatever else runs within it is left to PyTorch, keyword arguments too."""
    x = torch.randn(300, 300)
    with OneDnnProducts():  # type: ignore[no-untyped-call]
        assert torch.equal(torch.addmm(x, x, x, beta=0.5), torch.baddbmm(x[None], x[None], x[None], beta=0.5)[0])
        assert torch.equal(x.cumsum(0), torch.cumsum(x, 0))
