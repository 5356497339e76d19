"""PromptSRC gives the official code's numbers: towers, four terms, steps, and the average over epochs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from clipbench.methods.promptsrc import PromptSRC
from clipbench.methods.templates import templates_of
from tests.parity.official_trial import SGD, Trial, apart, images, official

FIXTURE = official("promptsrc")
TEMPLATE = "a photo of a {}."
TERMS = ("ce", "text", "image", "logits")


def trial(seeds: tuple[int, ...] = (1,), **fields: Any) -> Trial:
    says = FIXTURE.settings
    own = {
        "method": "promptsrc",
        "context_tokens": says["n_ctx_text"],
        "prompt_depth": says["depth_text"],
        "image_tokens": says["n_ctx_vision"],
        "image_depth": says["depth_vision"],
        "context_dtype": "fp32",
        "teacher_templates": "imagenet-60",
        "text_loss_weight": 25.0,
        "image_loss_weight": 10.0,
        "epoch_mean": says["gpa"]["this_run"]["mean"],
        "epoch_std": says["gpa"]["this_run"]["std"],
    }
    return Trial({**SGD, **own, "lr": says["lr"], "batch_size": 4, **fields}, FIXTURE.classes, TEMPLATE, seeds=seeds)


def theirs(prefix: str) -> dict[str, Tensor]:
    """Official tensors by our names; blocks are stacked."""

    def blocks(tower: str, depth: int) -> Tensor:
        names = [f"{prefix}{tower}.transformer.resblocks.{i}.VPT_shallow" for i in range(1, depth)]
        return torch.stack([FIXTURE[name] for name in names])

    return {
        "context": FIXTURE[f"{prefix}prompt_learner.ctx"],
        "deep": blocks("text_encoder", FIXTURE.settings["depth_text"]),
        "image_context": FIXTURE[f"{prefix}image_encoder.VPT"],
        "image_deep": blocks("image_encoder", FIXTURE.settings["depth_vision"]),
    }


def started(**fields: Any) -> Trial:
    run = trial(**fields)
    run.put(theirs("init."))
    return run


def src(run: Trial) -> PromptSRC:
    assert isinstance(run.method, PromptSRC)
    return run.method


def within(found: Tensor, due: Tensor, what: str) -> None:
    assert float((found.detach() - due).abs().max()) <= FIXTURE.within(what)


def test_the_teacher() -> None:
    run = trial()
    assert list(templates_of("imagenet-60", "")) == FIXTURE.settings["frozen_templates"]
    within(src(run).teacher, FIXTURE["first_batch.fixed_text_features"], "features")
    assert torch.equal(run.learnables()["context"], FIXTURE["official_ctx_init"])
    assert sum(p.numel() for p in run.learnables().values()) == FIXTURE.settings["learnable_count"]


def test_terms_logits_gradients_and_three_steps() -> None:
    run, (batch, labels) = started(), images()
    within(run.logits(batch), FIXTURE["logits_init"], "logits")
    for step in (1, 2, 3):
        part = slice(4 * (step - 1), 4 * step)
        run.method.train()
        terms = src(run).terms(run.method.image_features(batch[part]), labels[None, part])[:, 0]
        due = torch.stack([FIXTURE[f"loss_step{step}.{name}"] for name in TERMS])
        within(terms, due, "losses and loss terms")
        loss = run.step(batch[part], labels[part])
        assert abs(loss - float(FIXTURE[f"loss_step{step}.total"])) <= FIXTURE.within("losses and loss terms")
        if step == 1:
            assert apart(run.gradients(), theirs("grad.")) <= FIXTURE.within("gradients (absolute)")
        if step != 2:
            assert apart(run.learnables(), theirs(f"step{step}.")) <= FIXTURE.within("learnables after steps")
    within(run.logits(batch), FIXTURE["logits_step3"], "logits after 3 steps")


@pytest.mark.parametrize("name", FIXTURE.settings["gpa"])
def test_weights_of_the_epochs(name: str) -> None:
    says = FIXTURE.settings["gpa"][name]
    run = trial(epoch_mean=says["mean"], epoch_std=says["std"])
    run.method.setting = replace(run.method.setting, epochs=says["epochs"])
    due = FIXTURE[f"gpa_weights.{name}"]
    torch.testing.assert_close(torch.tensor(src(run).epoch_weights()), due, atol=1e-7, rtol=0)


def test_the_average_over_three_epochs() -> None:
    run, (batch, labels) = (
        started(epochs=3, schedule="cosine", warmup_epochs=1, warmup_lr=1e-5, warmup_shape="constant"),
        images(),
    )
    for epoch in range(3):
        for step in range(3):
            run.step(batch[4 * step : 4 * step + 4], labels[4 * step : 4 * step + 4])
        assert apart(run.learnables(), theirs(f"epoch{epoch + 1}.")) <= FIXTURE.within("learnables after steps")
        run.method.end_epoch(epoch)
    assert apart(run.learnables(), theirs("gpa.")) <= FIXTURE.within("learnables after steps")
    within(run.logits(batch), FIXTURE["logits_gpa"], "logits after 3 steps")
