"""CLIPSeg's own forward against transformers' own, and where its gradient goes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from clipbench.adapters import AdapterConfig, adapt, adapted_modules, set_dropout_seeds
from clipbench.models.clipseg.network import Segmenter
from clipbench.models.clipseg.prompts import tokenise
from clipbench.models.clipseg.training import train_beside
from tests.models.clipseg_for_tests import PROMPTS, images, small_clipseg

TOLERANCE = 1e-5


def _theirs(model: Any, pixels: Tensor, ids: Tensor, mask: Tensor | None) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(pixel_values=pixels, input_ids=ids, attention_mask=mask).logits
    return logits


@pytest.mark.parametrize("encoder_gradient", [True, False])
@pytest.mark.parametrize("size", [32, 48, 80])
def test_equal_to_transformers(encoder_gradient: bool, size: int) -> None:
    """At the size of the position embeddings and at others, with a prompt of its own for every image."""
    model, (ids, mask) = small_clipseg(), tokenise(PROMPTS)
    ours = Segmenter(model, encoder_gradient=encoder_gradient)(images(size=size), ids, mask)
    theirs = _theirs(model, images(size=size), ids, mask)
    assert ours.shape == (4, size, size)
    assert ours.requires_grad
    assert torch.allclose(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE * theirs.abs().max().item())


@pytest.mark.parametrize("encoder_gradient", [True, False])
def test_equal_to_transformers_without_a_graph(encoder_gradient: bool) -> None:
    """Each different prompt is then encoded once."""
    model, (ids, mask) = small_clipseg(), tokenise(PROMPTS)
    with torch.no_grad():
        ours = Segmenter(model, encoder_gradient=encoder_gradient)(images(), ids, mask)
    theirs = _theirs(model, images(), ids, mask)
    assert torch.allclose(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE * theirs.abs().max().item())


@pytest.mark.parametrize("eos", [2, 49407])
def test_padding_changes_nothing(eos: int) -> None:
    """Whatever the pad token, mask or length, and in both of transformers' ways to find the end token."""
    model, (ids, mask) = small_clipseg(eos_token_id=eos), tokenise(PROMPTS)
    network = Segmenter(model, encoder_gradient=True)
    due = network(images(), ids, mask)
    padded_with_zero = torch.where(mask.bool(), ids, 0)
    for other in ((ids, None), (padded_with_zero, mask), (padded_with_zero, None), (ids[:, :8], mask[:, :8])):
        assert torch.allclose(network(images(), *other), due, atol=1e-6)
    assert torch.allclose(_theirs(model, images(), padded_with_zero, mask), due, atol=1e-5)


def test_gradient_reaches_what_the_decoder_reads() -> None:
    model = small_clipseg()
    Segmenter(model, encoder_gradient=True)(images(), *tokenise(PROMPTS)).square().mean().backward()
    without = {name for name, p in model.named_parameters() if p.grad is None}
    unread = ("vision_model.encoder.layers.4.", "post_layernorm", "visual_projection", "logit_scale")
    assert without == {name for name, _ in model.named_parameters() if any(word in name for word in unread)}


def test_gradient_stops_where_transformers_stops_it() -> None:
    """Gradients of the decoder are transformers' own; the towers have none in either."""
    ours, theirs, (ids, mask) = small_clipseg(), small_clipseg(), tokenise(PROMPTS)
    pixels = images()
    Segmenter(ours, encoder_gradient=False)(pixels, ids, mask).square().mean().backward()
    theirs(pixel_values=pixels, input_ids=ids, attention_mask=mask).logits.square().mean().backward()
    largest = max(p.grad.abs().max().item() for p in theirs.parameters() if p.grad is not None)
    for (name, mine), (_, due) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert (mine.grad is None) == (due.grad is None) == name.startswith("clip."), name
        if mine.grad is not None:
            assert torch.allclose(mine.grad, due.grad, rtol=1e-3, atol=1e-5 * largest), name


def _adapted(replicas: int, seeds: tuple[int, ...], dropout: float = 0.0) -> Any:
    model = adapt(
        small_clipseg(),
        AdapterConfig(kind="dora", rank=2, towers="all", replicas=replicas, init_seeds=seeds, dropout=dropout),
    )
    train_beside(model, "up-convolution", replicas=replicas)
    return model


def _perturb(model: Any, replica: int, source: int) -> None:
    """What training could have made of the replica, drawn from ``source``."""
    draw = torch.Generator().manual_seed(source)
    convolution = model.decoder.transposed_convolution
    with torch.no_grad():
        for adapter in adapted_modules(model).values():
            for parameter in (adapter.A, adapter.B, adapter.magnitude):
                assert parameter is not None
                parameter[replica] += 0.05 * torch.randn(parameter.shape[1:], generator=draw)
        stacked = hasattr(convolution, "stacked")
        own = [p[replica] for p in convolution.stacked] if stacked else convolution.parameters()
        for parameter in own:
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=draw))


@pytest.mark.parametrize("dropout", [0.0, 0.25])
def test_two_replicas_are_two_models(dropout: float) -> None:
    """Logits and gradients of R = 2 are those of two runs of R = 1, up-convolution and dropout included."""
    both, seeds, (ids, mask) = _adapted(2, (3, 4), dropout), (7, 8), tokenise(PROMPTS)
    pixels = images(8)
    rows = torch.cat([ids, ids.flip(0)]), torch.cat([mask, mask.flip(0)])
    for replica in (0, 1):
        _perturb(both, replica, source=50 + replica)
    network = Segmenter(both, encoder_gradient=True, replicas=2).train()
    set_dropout_seeds(both, seeds)
    together = network(pixels, *rows)
    together.square().mean(dim=(1, 2)).sum().backward()
    for replica in (0, 1):
        alone = _adapted(1, ((3, 4)[replica],), dropout)
        _perturb(alone, 0, source=50 + replica)
        set_dropout_seeds(alone, seeds[replica : replica + 1])
        part = slice(4 * replica, 4 * replica + 4)
        single = Segmenter(alone, encoder_gradient=True).train()(pixels[part], rows[0][part], rows[1][part])
        assert torch.allclose(together[part], single, rtol=1e-4, atol=1e-5)
        single.square().mean(dim=(1, 2)).sum().backward()
        _same_gradients(both, alone, replica)


def _same_gradients(both: Any, alone: Any, replica: int) -> None:
    for name, adapter in adapted_modules(alone).items():
        for parameter, joint in zip(adapter.parameters(), adapted_modules(both)[name].parameters(), strict=True):
            if parameter.grad is None:
                assert joint.grad is None
                assert "layers.4." in name
            else:
                assert joint.grad is not None
                scale = parameter.grad.abs().max().item()
                assert torch.allclose(joint.grad[replica], parameter.grad[0], rtol=1e-3, atol=1e-5 * scale), name
    mine, due = both.decoder.transposed_convolution.stacked, alone.decoder.transposed_convolution
    for parameter, single in zip(mine, (p for p in due.parameters() if p.requires_grad), strict=True):
        found, scale = parameter.grad[replica].view_as(single.grad), single.grad.abs().max().item()
        assert torch.allclose(found, single.grad, rtol=1e-3, atol=1e-5 * scale)


def test_prompts_encoded_once_with_replicas() -> None:
    both, ids = _adapted(2, (3, 4)), tokenise(PROMPTS)[0]
    for replica in (0, 1):
        _perturb(both, replica, source=50 + replica)
    network = Segmenter(both, encoder_gradient=True, replicas=2).eval()
    pixels, rows = images(8), torch.cat([ids, ids.flip(0)])
    due = network(pixels, rows)
    with torch.no_grad():
        assert torch.allclose(network(pixels, rows), due, atol=1e-6)


def test_fresh_adapters_leave_the_output() -> None:
    due = _theirs(small_clipseg(), images(), *tokenise(PROMPTS))
    ours = Segmenter(_adapted(1, (3,)), encoder_gradient=True)(images(), *tokenise(PROMPTS))
    assert torch.allclose(ours, due, rtol=TOLERANCE, atol=TOLERANCE * due.abs().max().item())


def test_half_precision_is_near() -> None:
    """bfloat16 autocast of the adapted model, gradients included: medvlsm trains in mixed precision."""
    model, (ids, mask) = _adapted(1, (3,)), tokenise(PROMPTS)
    _perturb(model, 0, source=50)
    network = Segmenter(model, encoder_gradient=True)
    due = network(images(), ids, mask)
    with torch.autocast("cpu", torch.bfloat16):
        half = network(images(), ids, mask)
    half.float().square().mean().backward()
    assert (half.float() - due).abs().mean() < 0.05 * due.abs().mean()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
