"""Other vision-language models in a run: the small ones are of the same architectures, SigLIP's loss is SigLIP's."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from clipbench.adapters import AdapterConfig, adapt, adapted_modules
from clipbench.errors import UserError
from clipbench.methods.base import Method
from clipbench.models.clip import build
from clipbench.models.image_text import load_image_text
from clipbench.models.model_config import model_config
from clipbench.plan.select import make_plan
from clipbench.registry import Overrides
from tests.engine.passes_for_tests import curve, place, run_planned

LARGE = {
    "siglip": "ViT-B-16-SigLIP", "siglip2": "ViT-B-16-SigLIP2", "eva02": "EVA02-B-16", "mobileclip": "MobileCLIP-B",
    "convnext": "convnext_base", "pe-core": "PE-Core-B-16",
}  # fmt: skip


@pytest.mark.parametrize(("small", "large"), LARGE.items())
def test_a_small_model_has_the_modules_and_the_text_tower_of_the_large_one(small: str, large: str) -> None:
    with torch.device("meta"):
        ours, theirs = (build(model_config(n), n) for n in (f"clipbench-random-{small}", large))
    # Stochastic depth, which a model that is only adapted does not use.
    kinds = [{type(m).__name__ for m in model.modules()} - {"DropPath"} for model in (ours, theirs)]
    assert kinds[0] == kinds[1]
    reads = ("pool_type", "no_causal_mask", "proj_bias", "act_kwargs")
    configs = [model_config(n)["text_cfg"] for n in (f"clipbench-random-{small}", large)]
    assert [configs[0].get(k) for k in reads] == [configs[1].get(k) for k in reads]


@pytest.mark.parametrize("small", LARGE)
def test_a_small_model_takes_images_prompts_and_adapters(small: str) -> None:
    model = load_image_text(f"clipbench-random-{small}", "random")
    images = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    assert model.encode_image(images).shape == (3, 48)
    assert model.encode_text(model.prompts(["a dog.", "a cat of another length."])).shape == (1, 2, 48)
    assert (model.logit_bias is not None) == small.startswith("siglip")
    towers = "text" if small == "convnext" else "both"
    adapt(model.module, AdapterConfig("dora", 2, 1.0, "alpha", targets="qkvo", towers=towers))
    assert len(adapted_modules(model.module)) == (8 if small == "convnext" else 16)


def test_no_small_model_hides_one_of_timms() -> None:
    from clipbench.models.tiny.architectures import TOWERS

    assert all(timm.is_model(name) and name.startswith("clipbench_") for name in TOWERS)


def _losing(bias: Tensor | None) -> Any:
    method = Method()
    model = SimpleNamespace(logit_bias=bias, name="ViT-B-16")
    method.setting = SimpleNamespace(protocol=SimpleNamespace(loss="sigmoid"), model=model)  # type: ignore[assignment]
    return method


def test_the_sigmoid_loss_is_that_of_a_plain_loop() -> None:
    generator = torch.Generator().manual_seed(5)
    logits = (10 * torch.randn(2, 4, 3, generator=generator, dtype=torch.float64)).requires_grad_()
    truth = torch.randint(3, (2, 4), generator=generator)
    found = _losing(torch.tensor(-12.9, dtype=torch.float64)).loss(logits, truth)
    for run in range(2):
        due = 0.0
        for image in range(4):
            for c in range(3):
                z = float(logits.detach()[run, image, c]) - 12.9
                due += math.log1p(math.exp(-z if c == truth[run, image] else z)) / 4
        assert float(found[run]) == pytest.approx(due, rel=1e-12)
    (gradient,) = torch.autograd.grad(found.sum(), logits)
    right = torch.nn.functional.one_hot(truth, 3)
    torch.testing.assert_close(gradient, (torch.sigmoid(logits - 12.9) - right) / 4, rtol=1e-10, atol=1e-14)


def test_the_sigmoid_loss_needs_a_bias() -> None:
    with pytest.raises(UserError, match=r"loss = sigmoid needs the bias .* ViT-B-16 has none"):
        _losing(None).loss(torch.zeros(1, 2, 3), torch.zeros(1, 2, dtype=torch.long))


@pytest.mark.parametrize("row", ["lora-siglip-sigmoid", "dora-eva02", "dora-convnext", "lora-pe-core"])
def test_the_loss_falls(row: str, tmp_path: Path) -> None:
    planned = list(make_plan(["models"], Overrides("smoke"), [f"row={row}", "dataset=dtd"], (1,)).runs)
    (draft,) = run_planned(planned, place(tmp_path)).drafts
    assert curve(draft)[-1][0] < curve(draft)[0][0]
    assert draft.record.model.weights == "random"


def test_the_full_profile_asks_for_published_weights() -> None:
    runs = list(make_plan(["models"], Overrides("full"), ["dataset=dtd"], (1,)).runs)
    found = {(r.run.protocol.backbone, r.run.protocol.weights) for r in runs}
    assert len(runs) == 16
    assert ("ViT-B-16-SigLIP", "webli") in found
    assert len(found) == 7
    by_row = {r.run.protocol.backbone: r.run.protocol for r in runs}
    assert by_row["convnext_base"].towers == "text"
    assert {b for b, p in by_row.items() if p.logit_scale is None} == set(LARGE.values())
