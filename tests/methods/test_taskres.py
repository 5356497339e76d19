"""TaskRes gives the official code's numbers, from its own start at zero and from a random one."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from clipbench.errors import UserError
from tests.parity.official_trial import TORCH_ADAM, Trial, images, official

FIXTURE = official("taskres")
OWN = "prompt_learner.text_feature_residuals"


def trial(template: str = FIXTURE.settings["template"], classes: list[str] = FIXTURE.classes, **fields: Any) -> Trial:
    says = FIXTURE.settings
    own = {"method": "taskres", "optimiser": "adam", "residual_alpha": says["alpha"], "residual_templates": "one"}
    given = {**TORCH_ADAM, **own, "lr": says["lr"], "weight_decay": says["weight_decay"], "batch_size": 12}
    return Trial({**given, **fields}, classes, template)


def apart(found: torch.Tensor, due: torch.Tensor) -> float:
    return float((found.detach() - due).abs().max())


@pytest.mark.parametrize("start", ["zero_start.", ""])
def test_logits_gradients_and_three_steps(start: str) -> None:
    run, (batch, labels) = trial(), images()
    if start:
        assert torch.equal(run.learnables()["residual"], FIXTURE[f"{start}init.{OWN}"])
    else:
        run.put({"residual": FIXTURE[f"init.{OWN}"]})
    assert apart(run.method.base, FIXTURE["base_text_features"]) <= FIXTURE.within("features")  # type: ignore[arg-type]
    assert apart(run.logits(batch), FIXTURE[f"{start}logits_init"]) <= FIXTURE.within("logits")
    for step in (1, 2, 3):
        loss = run.step(batch, labels)
        assert abs(loss - float(FIXTURE[f"{start}loss_step{step}"])) <= FIXTURE.within("losses and loss terms")
        if step == 1:
            assert apart(run.gradients()["residual"], FIXTURE[f"{start}grad.{OWN}"]) <= 1e-5
        if step != 2:
            due = FIXTURE[f"{start}step{step}.{OWN}"]
            assert apart(run.learnables()["residual"], due) <= FIXTURE.within("learnables after steps")
    assert apart(run.logits(batch), FIXTURE[f"{start}logits_step3"]) <= FIXTURE.within("logits after 3 steps")


def test_imagenets_eight_templates_are_averaged_as_they_come() -> None:
    run = trial(residual_templates="imagenet-8")
    due = FIXTURE["imagenet_base_text_features"]
    assert apart(run.method.base, due) <= FIXTURE.within("features")  # type: ignore[arg-type]
    written = trial(residual_templates=" | ".join(FIXTURE.settings["imagenet_templates"]))
    assert torch.equal(run.method.base, written.method.base)  # type: ignore[arg-type]


def test_a_list_of_templates_that_is_not_there_is_refused() -> None:
    with pytest.raises(UserError, match=r"'imagenet-80'.*Did you mean imagenet-8"):
        trial(residual_templates="imagenet-80")
    with pytest.raises(UserError, match=r"needs \{\} once"):
        trial(residual_templates="a {} and a {}.|a {}.")
