"""Learned embeddings and deep tokens through both towers, against a plain loop over open_clip's modules in float64."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from clipbench.errors import UserError
from clipbench.models import image_text
from clipbench.models.image_text import ImageText, load_image_text

TEXTS = ["X X X X cat.", "X X X X a rather long name of a dog.", "X X X X bird, a type of animal that flies."]


@pytest.fixture
def made() -> ImageText:
    """The tiny CLIP in double precision, every parameter trained."""
    found = load_image_text("clipbench-tiny", "embedded")
    found.module.double().requires_grad_(True)
    return found


def drawn(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (0.1 * torch.randn(shape, generator=generator, dtype=torch.float64)).requires_grad_()


def plain_image(model: Any, images: Tensor, deep: Mapping[int, Tensor]) -> Tensor:
    """All tokens through all blocks."""
    visual, features = model.visual, []
    for row, image in enumerate(images):
        patches = visual.conv1(image[None]).flatten(2)[0].T
        tokens = torch.cat([visual.class_embedding[None], patches]) + visual.positional_embedding
        if 0 in deep:
            tokens = torch.cat([tokens, deep[0][row]])
        states = visual.ln_pre(tokens)[None]
        for number, block in enumerate(visual.transformer.resblocks):
            if number and number in deep:
                states = torch.cat([states[:, : -deep[number].shape[1]], deep[number][row][None]], dim=1)
            states = block(states)
        features.append(visual.ln_post(states)[0, 0] @ visual.proj)
    return torch.stack(features)


def plain_text(model: Any, ids: Tensor, embedded: Tensor, deep: Mapping[int, Tensor]) -> Tensor:
    """Replica by replica and prompt by prompt, at the full context of 77."""
    features = []
    for replica in range(len(embedded)):
        for row in range(len(ids)):
            tail = model.token_embedding(ids.new_zeros(77 - ids.shape[1]))
            states = (torch.cat([embedded[replica, row], tail]) + model.positional_embedding)[None]
            for number, block in enumerate(model.transformer.resblocks):
                if number in deep:
                    tokens = deep[number][replica][None]
                    states = torch.cat([states[:, :1], tokens, states[:, 1 + tokens.shape[1] :]], dim=1)
                states = block(states, attn_mask=model.attn_mask)
            features.append(model.ln_final(states)[0, ids[row].argmax()] @ model.text_projection)
    return torch.stack(features).view(len(embedded), len(ids), -1)


def same(made: ImageText, found: Tensor, due: Tensor, inputs: list[Tensor]) -> None:
    """Values and all gradients, relative to their norm."""
    mix = drawn(9, *found.shape).detach()
    trained = [*inputs, *(p for p in made.module.parameters() if p.requires_grad)]
    pairs = [(found, due)]
    gradients = [
        torch.autograd.grad((x * mix).sum(), trained, allow_unused=True, retain_graph=True) for x in (found, due)
    ]
    for ours, theirs in zip(*gradients, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None and theirs is not None:
            pairs.append((ours, theirs))
    assert len(pairs) > len(inputs) + 20
    for ours, theirs in pairs:
        assert (ours - theirs).norm() <= 1e-9 * theirs.norm().clamp_min(1e-6)


@pytest.mark.parametrize("layers", [(0,), (0, 1, 3), (1, 2)])
def test_deep_image_tokens(made: ImageText, layers: tuple[int, ...]) -> None:
    images = drawn(1, 3, 3, 64, 64)
    deep = {layer: drawn(layer, 3, 2, made.image_width) for layer in layers}
    same(made, made.encode_image(images, deep), plain_image(made.module, images, deep), [images, *deep.values()])


@pytest.mark.parametrize("layers", [(), (1, 2)])
@pytest.mark.parametrize("kept", [8192, 0])
def test_embedded_prompts_and_deep_text_tokens(
    made: ImageText, layers: tuple[int, ...], kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two replicas with a context of their own; all activations kept, or every piece computed twice."""
    monkeypatch.setattr(image_text, "_TOKENS_KEPT", kept)
    monkeypatch.setattr(image_text, "_TOKENS_AT_ONCE", 20)
    prompts = made.prompts(TEXTS)
    context = drawn(0, 2, 4, made.text_width)
    plain = made.embed(prompts).expand(2, -1, -1, -1)
    embedded = torch.cat([plain[:, :, :1], context[:, None].expand(-1, 3, -1, -1), plain[:, :, 5:]], dim=2)
    deep = {layer: drawn(layer, 2, 3, made.text_width) for layer in layers}
    found = made.encode_text(prompts, embedded, deep, replicas=2)
    assert found.shape == (2, 3, made.width)
    same(made, found, plain_text(made.module, prompts.ids, embedded, deep), [context, *deep.values()])


def test_embeddings_of_the_tokens_change_nothing(made: ImageText) -> None:
    """Of one form for all replicas, across several groups of lengths."""
    prompts = made.prompts([f"a photo of a {'very ' * (i % 40)}old cat." for i in range(130)])
    assert len(prompts.groups) > 1
    with torch.no_grad():
        due = made.encode_text(prompts, replicas=2)
        torch.testing.assert_close(made.encode_text(prompts, made.embed(prompts), replicas=2), due, rtol=0, atol=1e-12)
        torch.testing.assert_close(due[0], due[1], rtol=0, atol=1e-12)


def test_sizes_and_scale_are_the_checkpoints(made: ImageText) -> None:
    model: Any = made.module
    assert (made.width, made.image_width, made.text_width, made.image_layers, made.text_layers) == (96, 96, 96, 4, 3)
    torch.testing.assert_close(made.logit_scale, model.logit_scale.detach().exp().float())
    assert made.logit_bias is None
    assert not made.logit_scale.requires_grad
    names = {id(p) for p in made.image_parameters() + made.text_parameters()}
    assert {n for n, p in model.named_parameters() if id(p) not in names} == {"logit_scale"}


def test_what_deep_tokens_do_not_fit_into_is_refused(made: ImageText) -> None:
    prompts = made.prompts(["cat"])
    with pytest.raises(UserError, match="3 deep tokens do not fit into prompts of 3 tokens"):
        made.encode_text(prompts, deep={1: drawn(1, 1, 3, 96)})
    visual: Any = made.module.visual
    visual.pool_type = "avg"
    other = ImageText(**{**made.__dict__, "vision": image_text.vision_tower(visual)})
    with pytest.raises(UserError, match="clipbench-tiny has no image tower that prompts could be put into"):
        other.encode_image(torch.zeros(1, 3, 64, 64), {1: drawn(1, 1, 2, 96)})
