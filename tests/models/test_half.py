"""Half-precision weights: what flows between blocks, features and logits are float16, and near those of float32."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clipbench.adapters import AdapterConfig, adapt
from clipbench.engine.tasks import classification
from clipbench.errors import UserError
from clipbench.methods.base import Method, Setting
from clipbench.models.half import HALF, halve
from clipbench.models.image_text import ImageText, load_image_text
from clipbench.registry import Protocol
from tests.engine.few_shot_for_tests import few_shot, step_losses
from tests.engine.passes_for_tests import place, planned, run_planned


def tiny() -> ImageText:
    return load_image_text("clipbench-tiny", "embedded")


def encoded(model: ImageText, *, half: bool) -> tuple[Tensor, Tensor, set[torch.dtype]]:
    """Image and text features, and the types that left the blocks."""
    seen: set[torch.dtype] = set()

    def note(_: nn.Module, __: Any, found: Tensor) -> None:
        seen.add(found.dtype)

    for tower in (model.module.visual.transformer, model.module.transformer):  # type: ignore[union-attr]
        for block in tower.resblocks:  # type: ignore[union-attr]
            block.register_forward_hook(note)
    images = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        image = model.encode_image(images.half() if half else images)
        text = model.encode_text(model.prompts(["a photo of a cat.", "a photo of a dog in the snow."]))[0]
    return image, text, seen


def test_the_residual_stream_and_the_features_are_half() -> None:
    image, text, seen = encoded(tiny(), half=False)
    assert seen == {torch.float32}
    halved = tiny()
    halve(halved.module)
    half_image, half_text, half_seen = encoded(halved, half=True)
    assert half_seen == {torch.float16}
    assert (half_image.dtype, half_text.dtype) == (torch.float16, torch.float16)
    for whole, half in ((image, half_image), (text, half_text)):
        cosine = nn.functional.cosine_similarity(whole, half.float())
        assert (1.0 - cosine < 1e-4).all()
        assert not torch.equal(whole, half.float())


def test_norms_and_adapters_stay_float32() -> None:
    model = tiny().module
    halve(model)
    adapt(model, AdapterConfig(rank=2))
    kinds = {name: p.dtype for name, p in model.named_parameters()}
    trained = [p for p in model.parameters() if p.requires_grad]
    assert trained
    assert {p.dtype for p in trained} == {torch.float32}
    assert {kind for name, kind in kinds.items() if "ln_" in name} == {torch.float32}
    assert kinds["token_embedding.weight"] == kinds["visual.conv1.weight"] == torch.float16


def test_logits_are_rounded_to_half() -> None:
    model = tiny()
    protocol = Protocol(logit_scale=100.0, precision="fp32")
    method = Method()
    setting = Setting(model, ["cat", "dog"], "a {}.", protocol, (1,), torch.device("cpu"))
    method.setup(setting)
    generator = torch.Generator().manual_seed(1)
    features, classes = torch.randn(5, 32, generator=generator), torch.randn(1, 2, 32, generator=generator)
    whole = method.cosine(features, classes)
    method.setup(replace(setting, protocol=replace(protocol, precision=HALF)))
    half = method.cosine(features, classes)
    assert torch.equal(half, half.half().float())
    assert not torch.equal(whole, whole.half().float())
    assert torch.allclose(half, whole, atol=0.1)


@pytest.mark.parametrize("row", ["clip-lora-1shot", "clip-dora-1shot", "zero-shot"])
def test_a_run_trains_on_them(row: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the autocast of a GPU played by a CPU's, which takes float16 too: it starts near and learns."""
    monkeypatch.setattr(classification, "autocast", lambda *_: torch.autocast("cpu", dtype=torch.float16))
    fields = {} if row == "zero-shot" else {"steps_per_shot": 24, "adapter_dropout": 0.0}
    runs = {precision: few_shot(row, (1,), precision=precision, **fields) for precision in ("fp16", HALF)}
    (plain,), (halved,) = (run_planned(group, place(tmp_path)).drafts for group in runs.values())
    assert halved.record.id != plain.record.id
    if row == "zero-shot":
        assert halved.record.metrics["nll"] == pytest.approx(plain.record.metrics["nll"], rel=0.01)
        assert halved.record.metrics["nll"] != plain.record.metrics["nll"]
        return
    losses = step_losses(halved)
    assert losses[0] == pytest.approx(step_losses(plain)[0], rel=0.02)
    # The loss scale has to fall first: a gradient through a stream of float16 overflows sooner.
    assert losses[-4:].mean() < losses[:4].mean() - 0.1


def test_what_is_trained_needs_float32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classification, "autocast", lambda *_: torch.autocast("cpu", dtype=torch.float16))
    with pytest.raises(UserError, match="fp16-weights is for frozen weights"):
        run_planned(planned("full", (1,), precision=HALF), place(tmp_path))
