"""MaPLe gives the official code's numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from clipbench.errors import UserError
from tests.parity.official_trial import SGD, Official, Trial, apart, images, official

FIXTURE = official("maple")
TEMPLATE = "a photo of a {}."


def trial(template: str = TEMPLATE, seeds: tuple[int, ...] = (1,), **fields: Any) -> Trial:
    says = FIXTURE.settings
    own = {"method": "maple", "context_tokens": says["n_ctx"], "prompt_depth": says["prompt_depth"]}
    given = {**SGD, **own, "context_dtype": "fp32", "lr": says["lr"], "batch_size": 4, **fields}
    return Trial(given, FIXTURE.classes, template, seeds=seeds)


def theirs(prefix: str, fixture: Official = FIXTURE) -> dict[str, Tensor]:
    """Official tensors by our names; blocks are stacked."""
    whole = fixture.part(f"{prefix}prompt_learner.")
    blocks = fixture.settings["prompt_depth"] - 1

    def stacked(name: str) -> Tensor:
        return torch.stack([whole[name.format(i)] for i in range(blocks)])

    return {
        "context": whole["ctx"],
        "deep": stacked("compound_prompts_text.{}"),
        "weight": whole["proj.weight"],
        "bias": whole["proj.bias"],
        "deep_weight": stacked("compound_prompt_projections.{}.weight"),
        "deep_bias": stacked("compound_prompt_projections.{}.bias"),
    }


def test_logits_gradients_and_three_steps() -> None:
    run, (batch, labels) = trial(), images()
    ids = run.method.prompts().ids
    assert torch.equal(ids, FIXTURE["tokens"][:, : ids.shape[1]])
    run.put(theirs("init."))
    assert apart({"": run.logits(batch)}, {"": FIXTURE["logits_init"]}) <= FIXTURE.within("logits")
    for step in (1, 2, 3):
        part = slice(4 * (step - 1), 4 * step)
        loss = run.step(batch[part], labels[part])
        assert abs(loss - float(FIXTURE[f"loss_step{step}"])) <= FIXTURE.within("losses and loss terms")
        if step == 1:
            assert apart(run.gradients(), theirs("grad.")) <= FIXTURE.within("gradients (absolute)")
        if step != 2:
            assert apart(run.learnables(), theirs(f"step{step}.")) <= FIXTURE.within("learnables after steps")
    assert apart({"": run.logits(batch)}, {"": FIXTURE["logits_step3"]}) <= FIXTURE.within("logits after 3 steps")


def test_the_start() -> None:
    """Words of the template; deep tokens of 0.02; maps as ``nn.Linear``, the deep ones all alike; seeds differ."""
    run = trial(seeds=(1, 2))
    own = {name: p.detach() for name, p in run.method.named_parameters() if p.requires_grad}
    assert torch.equal(own["context"][0], FIXTURE["official_ctx_init"])
    assert float(own["deep"].std()) == pytest.approx(0.02, rel=0.05)
    assert torch.equal(own["deep_weight"], own["deep_weight"][:, :1].expand_as(own["deep_weight"]))
    assert torch.equal(own["deep_bias"], own["deep_bias"][:, :1].expand_as(own["deep_bias"]))
    for name in ("weight", "bias", "deep_weight", "deep_bias"):
        assert 0.9 / 8 < float(own[name].abs().max()) <= 1 / 8
    assert not torch.equal(own["weight"][0], own["deep_weight"][0, 0])
    for name in set(own) - {"context"}:
        assert not torch.equal(own[name][0], own[name][1])
    assert sum(p[0].numel() for p in own.values()) == FIXTURE.settings["learnable_count"]


def test_half_precision_of_the_first_tokens_is_a_rounding_of_the_logits() -> None:
    """``context_dtype = fp16``: context and first map rounded, the rest not; then half-precision steps.

    The fixture rounds the prompts of every depth once more, so that the two agree to the size of the rounding only.
    """
    (batch, labels), run, whole = images(), trial(context_dtype="fp16"), trial()
    for one in (run, whole):
        one.put(theirs("init."))
    moved = float((run.logits(batch) - whole.logits(batch)).abs().max())
    rounding = float((FIXTURE["logits_init_prompts_fp16"] - FIXTURE["logits_init"]).abs().max())
    assert 0.05 * rounding < moved < 2 * rounding
    run.step(batch[:4], labels[:4])
    kept = {name: p.dtype for name, p in run.method.named_parameters() if p.requires_grad}
    assert {name for name, dtype in kept.items() if dtype == torch.float16} == {"context", "weight", "bias"}
    assert apart({k: v.float() for k, v in run.learnables().items()}, theirs("step1.")) < 5e-3


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match="has 0 tokens in front of the class name, and 2"):
        trial(template="{} texture.")
    with pytest.raises(UserError, match="13 blocks"):
        trial(prompt_depth=13)
    with pytest.raises(UserError, match="context_dtype fp16"):
        trial(context_dtype="fp16", precision="fp16")
