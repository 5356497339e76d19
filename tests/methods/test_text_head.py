"""LoRA-CLIP's head beside text features: what each form computes, against plain loops; a run of each row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from clipbench.errors import UserError
from clipbench.methods.base import Setting, Support
from clipbench.methods.text_head import TextHead
from clipbench.models.image_text import load_image_text
from clipbench.models.load import load_image_tower
from clipbench.plan.select import make_plan
from clipbench.registry import Overrides
from clipbench.registry.protocol import Protocol
from tests.engine.passes_for_tests import curve, place, predictions, run_planned

NAMES = ["harbour", "forest", "airport"]


def protocol(how: str) -> Protocol:
    (planned,) = make_plan(["multimodal"], Overrides("smoke"), ["row=text-start", "dataset=ucm"], (1,)).runs
    return Protocol.of({**planned.run.protocol.as_dict(), "text_in_head": how})


def method(how: str, **more: Any) -> tuple[TextHead, torch.Tensor]:
    """The method on the tiny model for two seeds, and the features ``[2, 8, D]`` that it may look at."""
    model = load_image_text("clipbench-tiny", "embedded")
    features = (
        torch.randn(2, 8, model.width, generator=torch.Generator().manual_seed(3))
        * torch.tensor([3.0, 5.0])[:, None, None]
    )
    support = Support(torch.zeros(2, 8, dtype=torch.long), features)
    head = TextHead()
    head.setup(
        Setting(
            model,
            NAMES,
            "a satellite photo of {}.",
            protocol(how),
            (1, 2),
            torch.device("cpu"),
            _support=lambda *_: support,
            **more,
        )
    )
    return head, features


def test_a_start_from_text_predicts_what_zero_shot_does_and_at_its_scale() -> None:
    head, features = method("start")
    found = head.logits(features.flatten(0, 1))
    text = head.setting.model.encode_text(head.setting.model.prompts(head.texts()))[0].double()
    scale = float(head.setting.model.logit_scale)
    for run in range(2):
        norm = sum(float(f.double().norm()) for f in features[run]) / 8
        for image in range(8):
            f = features[run, image].double()
            cosines = torch.stack([f @ t / t.norm() for t in text])
            torch.testing.assert_close(found[run, image].double(), scale * cosines / norm, rtol=1e-4, atol=1e-4)
            assert found[run, image].argmax() == cosines.argmax()
    assert not head.bias.any()


def test_joined_logits_are_the_drawn_heads_plus_the_scaled_cosine() -> None:
    joined, features = method("joined")
    plain, _ = method("none")
    torch.testing.assert_close(joined.weight, plain.weight, rtol=0, atol=0)
    rows = features.flatten(0, 1)
    text = joined.setting.model.encode_text(joined.setting.model.prompts(joined.texts()))[0].double()
    scale = float(joined.setting.model.logit_scale)
    added = torch.zeros(2, 8, 3, dtype=torch.float64)
    for run in range(2):
        for image in range(8):
            for c in range(3):
                f = features[run, image].double()
                added[run, image, c] = scale * (f @ text[c]) / (f.norm() * text[c].norm())
    torch.testing.assert_close((joined.logits(rows) - plain.logits(rows)).double(), added, rtol=1e-4, atol=1e-4)
    due = torch.stack(
        [f.double() @ w.double().T + b.double() for f, w, b in zip(features, plain.weight, plain.bias, strict=True)]
    )
    torch.testing.assert_close(plain.logits(rows).double(), due, rtol=1e-4, atol=1e-4)


def test_an_image_tower_alone_is_refused() -> None:
    tower = load_image_tower("clipbench-tiny", "embedded", "patch-mean")
    with pytest.raises(UserError, match="needs a model with an image and a text tower"):
        TextHead().setup(Setting(tower, NAMES, "{}", protocol("none"), (1,), torch.device("cpu")))


@pytest.mark.parametrize("row", ["random", "text-start", "joined"])
def test_rows_train_and_two_seeds_in_one_pass_are_two_passes(row: str, tmp_path: Path) -> None:
    overrides = Overrides("smoke", fields={"limit": 4, "epochs": 2})
    runs = list(make_plan(["multimodal"], overrides, [f"row={row}", "dataset=ucm"], (1, 2)).runs)
    together = run_planned(runs, place(tmp_path)).drafts
    (alone,) = run_planned(runs[1:], place(tmp_path)).drafts
    assert curve(together[1])[-1][0] < curve(together[1])[0][0]
    assert curve(together[1])[-1][0] == pytest.approx(curve(alone)[-1][0], rel=1e-4)
    assert (predictions(together[1]) == predictions(alone)).mean() > 0.98
