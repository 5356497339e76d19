"""Both towers with their cuts against open_clip's own encoders: values, gradients of adapters, recomputation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from clipbench.adapters import AdapterConfig, adapt, adapted_modules, set_dropout_seeds
from clipbench.errors import UserError
from clipbench.models import exact_cuts as last_block
from clipbench.models import image_text as dual
from clipbench.models.image_text import ImageText, load_image_text

WORDS = st.text("abcdefghij klmnop", min_size=0, max_size=90)
TWO = pytest.mark.parametrize("kind", ["lora", "dora"])


def encoder(kind: Any = None, replicas: int = 1, **options: Any) -> ImageText:
    """The tiny CLIP, with adapters in both towers that do something."""
    made = load_image_text("clipbench-tiny", "embedded")
    if kind is not None:
        seeds = tuple(range(replicas))
        adapt(made.module, AdapterConfig(kind, 2, targets="qkvo", replicas=replicas, init_seeds=seeds, **options))
        with torch.no_grad():
            for number, adapter in enumerate(adapted_modules(made.module).values()):
                draw = torch.Generator().manual_seed(number)
                adapter.B.copy_(0.3 * torch.randn(adapter.B.shape, generator=draw))
    return made


def gradients(made: ImageText, features: Tensor) -> list[Tensor]:
    """Of a fixed mix of the features, with respect to everything that is trained."""
    mix = torch.randn(features.shape, generator=torch.Generator().manual_seed(9))
    trained = [p for p in made.module.parameters() if p.requires_grad]
    found = torch.autograd.grad((features * mix).sum(), trained, allow_unused=True)
    return [torch.zeros(1) if g is None else g for g in found]


def close(found: Sequence[Tensor], due: Sequence[Tensor], tolerance: float = 1e-5) -> None:
    """Norm of the difference, relative to the norm."""
    for ours, theirs in zip(found, due, strict=True):
        assert (ours - theirs).norm() <= tolerance * theirs.norm().clamp_min(1e-6)


@TWO
@settings(deadline=None, max_examples=8)
@given(names=st.lists(WORDS, min_size=1, max_size=80))
def test_prompts_cut_and_grouped_are_the_form_of_77_tokens(kind: str, names: list[str]) -> None:
    """Features and the gradient of every adapter, to 1e-9 in double precision: the same function, not one near it."""
    made = encoder(kind)
    made.module.double()
    prompts = [f"a photo of a {name}." for name in names]
    module: Any = made.module
    found = made.encode_text(made.prompts(prompts))[0]
    due = module.encode_text(open_clip.tokenize(prompts, 77))
    close(list(found), list(due), 1e-9)
    close(gradients(made, found), gradients(made, due), 1e-9)


def test_prompts_of_many_lengths_run_in_several_groups() -> None:
    made = encoder("lora")
    prompts = [f"a photo of a {'very ' * (i % 40)}old cat." for i in range(200)]
    found = made.prompts(prompts)
    groups = found.groups
    assert 1 < len(groups) <= 4
    assert all(group.tokens.shape[1] == int(group.ends.max()) + 1 for group in groups)
    module: Any = made.module
    close(list(made.encode_text(found)[0]), list(module.encode_text(open_clip.tokenize(prompts, 77))))


@pytest.mark.parametrize("kind", [None, "lora", "dora"])
def test_images_are_open_clips_own(kind: str | None) -> None:
    """The last block for the class token alone is the whole block read at the class token."""
    made = encoder(kind)
    images = torch.randn(5, 3, 64, 64)
    module: Any = made.module
    found, due = made.encode_image(images), module.encode_image(images)
    close(list(found), list(due))
    if kind is not None:
        close(gradients(made, found), gradients(made, due))


@pytest.mark.parametrize("towers", ["vision", "text"])
def test_a_tower_without_adapters_is_open_clips_own(towers: Any) -> None:
    made = encoder("lora", towers=towers)
    module: Any = made.module
    images, prompts = torch.randn(2, 3, 64, 64), ["a cat", "a photo of a dog."]
    close(list(made.encode_image(images)), list(module.encode_image(images)))
    close(
        list(made.encode_text(made.prompts(prompts))[0]),
        list(module.encode_text(open_clip.tokenize(prompts, 77))),
    )


@TWO
def test_replicas_are_separate_models_with_their_own_dropout(kind: str) -> None:
    made = encoder(kind, replicas=3, dropout=0.25)
    made.module.train()
    prompts, images = ["a cat", "a photo of a dog."], torch.randn(6, 3, 64, 64)
    set_dropout_seeds(made.module, (5, 6, 7))
    text, seen = made.encode_text(made.prompts(prompts), replicas=3), made.encode_image(images).view(3, 2, -1)
    for replica in range(3):
        alone = encoder(kind, dropout=0.25)
        alone.module.train()
        theirs, ours = adapted_modules(alone.module), adapted_modules(made.module)
        with torch.no_grad():
            for name, adapter in theirs.items():
                for key, value in adapter.named_parameters():
                    value[0].copy_(ours[name].get_parameter(key)[replica])
        set_dropout_seeds(alone.module, (5 + replica,))
        close([text[replica]], [alone.encode_text(alone.prompts(prompts))[0]])
        close([seen[replica]], [alone.encode_image(images[2 * replica : 2 * replica + 2])])


PROMPTS = [
    *(f"a photo of a cat {i}." for i in range(30)),
    *(f"a photo of a very very long name of a dog {i}." for i in range(40)),
]


def _plainly(function: Callable[..., Tensor], *inputs: Tensor, use_reentrant: bool) -> Tensor:
    return function(*inputs)


@TWO
@pytest.mark.parametrize("dropout", [0.0, 0.25])
@pytest.mark.parametrize(("kept", "at_once"), [(0, 60), (100, 100), (350, 60)])
def test_recomputed_activations_give_the_same_gradients(
    kind: str, dropout: float, kept: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing, a part of one group, or one group and a part of the other kept; the same masks in both passes."""
    monkeypatch.setattr(dual, "_TOKENS_KEPT", kept)
    monkeypatch.setattr(dual, "_TOKENS_AT_ONCE", at_once)
    recomputed = []
    checkpoint = dual.checkpoint

    def counted(function: Callable[..., Tensor], *inputs: Tensor, use_reentrant: bool) -> Tensor:
        recomputed.append(inputs[0].shape[0] * inputs[0].shape[1])
        found: Tensor = checkpoint(function, *inputs, use_reentrant=use_reentrant)
        return found

    results = []
    for way in (counted, _plainly):
        monkeypatch.setattr(dual, "checkpoint", way)
        made = encoder(kind, replicas=2, dropout=dropout)
        made.module.train()
        found = made.prompts(PROMPTS)
        assert len(found.groups) == 2
        set_dropout_seeds(made.module, (1, 2))
        features = made.encode_text(found, replicas=2)
        results.append((features, gradients(made, features)))
    assert torch.equal(results[0][0], results[1][0])
    close(results[0][1], results[1][1], 1e-6)
    assert len(recomputed) > 1
    assert max(recomputed) <= 2 * at_once  # of two replicas
    tokens = sum(group.tokens.numel() for group in found.groups)
    assert tokens - kept <= sum(recomputed) / 2 <= tokens - kept + max(g.tokens.shape[1] for g in found.groups)


def test_nothing_is_recomputed_without_a_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dual, "_TOKENS_KEPT", 0)
    made = encoder("lora")
    due = made.encode_text(made.prompts(PROMPTS))
    monkeypatch.delattr(dual, "checkpoint")
    with torch.no_grad():
        close(list(made.encode_text(made.prompts(PROMPTS))[0]), list(due[0]))


def test_a_block_that_somebody_watches_runs_in_full() -> None:
    """A method's hook on the last block sees every token, as open_clip would show them."""
    made, seen = encoder("lora"), list[tuple[int, ...]]()
    module: Any = made.module
    images = torch.randn(2, 3, 64, 64)
    due = module.encode_image(images)
    for tower in (module.visual.transformer, module.transformer):
        tower.resblocks[-1].register_forward_hook(lambda _, __, out: seen.append(tuple(out.shape)))
    close(list(made.encode_image(images)), list(due))
    made.encode_text(made.prompts(["a cat"]))
    assert seen == [(2, 65, 96), (1, 4, 96)]


@pytest.mark.parametrize(
    "change",
    [
        lambda visual: setattr(visual, "pool_type", "avg"),
        lambda visual: setattr(visual.transformer, "grad_checkpointing", True),
        lambda visual: setattr(visual.transformer.resblocks, "3", _Doubled(visual.transformer.resblocks[3])),
    ],
    ids=["average", "checkpointing", "another block"],
)
def test_other_towers_run_as_they_are(change: Callable[[Any], None]) -> None:
    made = encoder("lora")
    module: Any = made.module
    change(module.visual)
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(made.encode_image(images), module.encode_image(images))


class _Doubled(nn.Module):
    """A block of a method's own."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        found: Tensor = 2.0 * self.block(x, attn_mask=attn_mask)
        return found


def test_the_last_block_is_cut_where_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests above would hold without the cut: that it is made shows in what the last norm sees."""
    made, seen = encoder("lora"), list[tuple[int, ...]]()
    module: Any = made.module
    for tower in (module.visual.transformer, module.transformer):
        tower.resblocks[-1].ln_2.register_forward_hook(lambda _, __, out: seen.append(tuple(out.shape)))
    made.encode_image(torch.randn(2, 3, 64, 64))
    made.encode_text(made.prompts(["a cat", "two dogs"]))
    assert seen == [(2, 1, 96), (2, 1, 96)]
    monkeypatch.setattr(last_block, "can_be_cut", lambda _: False)
    made.encode_image(torch.randn(2, 3, 64, 64))
    assert seen[-1] == (2, 65, 96)


def test_a_prompt_that_does_not_fit_is_refused() -> None:
    made = encoder()
    assert made.prompts(["cat " * 74]).ids.shape == (1, 76)
    with pytest.raises(UserError, match=r"does not fit into the 77 tokens of clipbench-tiny"):
        made.prompts(["a cat", "cat " * 76])


def test_text_parameters_are_those_that_a_prompt_depends_on() -> None:
    made = encoder()
    module: Any = made.module
    module.requires_grad_(True)
    features = made.encode_text(made.prompts(["a photo of a cat."]))
    features.square().sum().backward()
    reached = {id(p) for p in module.parameters() if p.grad is not None}
    assert reached == {id(p) for p in made.text_parameters()}
