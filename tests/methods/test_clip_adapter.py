"""CLIP-Adapter gives the official code's numbers."""

from __future__ import annotations

import pytest
import torch

from tests.parity.official_trial import SGD, Trial, apart, images, official

FIXTURE = official("clip_adapter")
NAMES = {"down": "adapter.fc.0.weight", "up": "adapter.fc.2.weight"}


def trial(**fields: object) -> Trial:
    says = FIXTURE.settings
    own = {"method": "clip-adapter", "adapter_ratio": says["ratio"], "adapter_reduction": says["reduction"]}
    return Trial({**SGD, **own, "lr": says["lr"], "batch_size": 12, **fields}, FIXTURE.classes, says["template"])


def test_features_logits_gradients_and_three_steps() -> None:
    run, (batch, labels) = trial(), images()
    run.put({ours: FIXTURE[f"init.{theirs}"] for ours, theirs in NAMES.items()})
    ids = run.method.prompts().ids
    assert torch.equal(ids, FIXTURE["tokens"][:, : ids.shape[1]])
    with torch.no_grad():
        raw = run.method.image_features(batch)
        mixed = run.method.adapted(raw)  # type: ignore[operator]
    assert float((raw - FIXTURE["image_features_raw"]).abs().max()) <= FIXTURE.within("features")
    due = 0.2 * FIXTURE["adapter_output_init"] + 0.8 * FIXTURE["image_features_raw"]
    assert float((mixed - due).abs().max()) <= FIXTURE.within("features")
    assert float((run.logits(batch) - FIXTURE["logits_init"]).abs().max()) <= FIXTURE.within("logits")
    for step in (1, 2, 3):
        loss = run.step(batch, labels)
        assert abs(loss - float(FIXTURE[f"loss_step{step}"])) <= FIXTURE.within("losses and loss terms")
        if step == 1:
            due = {ours: FIXTURE[f"grad.{theirs}"] for ours, theirs in NAMES.items()}
            assert apart(run.gradients(), due) <= 1e-5
        if step != 2:
            due = {ours: FIXTURE[f"step{step}.{theirs}"] for ours, theirs in NAMES.items()}
            assert apart(run.learnables(), due) <= FIXTURE.within("learnables after steps")
    assert float((run.logits(batch) - FIXTURE["logits_step3"]).abs().max()) <= FIXTURE.within("logits after 3 steps")


def test_the_layers_start_as_nn_linear_does() -> None:
    """Uniform within one over the root of the inputs; seeds differ."""
    run = trial(adapter_reduction=2)
    two = Trial(run.protocol.as_dict(), FIXTURE.classes, "a {}.", seeds=(1, 2))
    for name, inputs in (("down", 32), ("up", 16)):
        drawn = dict(two.method.named_parameters())[name].detach()
        assert torch.equal(drawn[0], dict(run.method.named_parameters())[name][0])
        assert not torch.equal(drawn[0], drawn[1])
        bound = inputs**-0.5
        assert 0.95 * bound < float(drawn.abs().max()) <= bound
        assert float(drawn.std()) == pytest.approx(bound / 3**0.5, rel=0.05)
