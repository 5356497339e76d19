"""Rows that tune a ResNet whole: their views against torchvision, mixtures, two stages, and resuming."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import functional as torchvision

from clipbench.engine.random import stream
from clipbench.methods.augment import centre, jittered, mixing_weight, relit, warped
from clipbench.methods.base import Setting
from clipbench.methods.eam import TwoStageMixup
from clipbench.models.resnet import load_backbone
from tests.engine.few_shot_for_tests import step_losses
from tests.engine.passes_for_tests import check_resuming, place, planned, run_planned
from tests.factory import protocol_of

SHORT: dict[str, dict[str, Any]] = {
    "resnet50-eam": {"epochs": 2, "first_epochs": 2, "unmixed_epochs": 1, "batch_size": 24},
    "mblanet": {"epochs": 3, "batch_size": 24, "centre_crop": 28},
    "emscnet-vit-b": {"epochs": 3, "batch_size": 24, "milestones": (1.0,), "image_size": 64},
}


def of_row(row: str, **fields: Any) -> Any:
    return planned(row, (1,), **{"limit": 4, "image_size": 32, **SHORT[row], **fields})


@pytest.mark.parametrize(("angle", "scale", "shear"), [(30.0, 1.0, 0.0), (-170.0, 0.9, 0.0), (75.0, 0.93, -31.0)])
def test_warps_are_torchvisions(angle: float, scale: float, shear: float) -> None:
    images = torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(1))
    black = torch.tensor([0.1, -0.2, 0.3]).view(1, 3, 1, 1)
    found = warped(images, *(torch.full((2,), value) for value in (angle, scale, shear)), black)
    due = torchvision.affine(images - black, angle, [0, 0], scale, [shear, 0.0]) + black
    # Where a position lies half-way between pixels, rounding decides: a few of 1,600.
    assert ((found - due).abs().amax(dim=1) > 1e-5).double().mean() < 5e-3


def test_colours_are_torchvisions() -> None:
    """One factor after the other, as its adjustments have them (contrast to within its rounded mean)."""
    images = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    factors = torch.Generator().manual_seed(2)
    due = images
    for adjust in (torchvision.adjust_brightness, torchvision.adjust_contrast, torchvision.adjust_saturation):
        drawn = torch.rand(3, generator=factors) * 0.8 + 0.6
        due = torch.stack([adjust(image, float(f)) for image, f in zip(due, drawn, strict=True)])
    found = jittered(images, 0.4, torch.Generator().manual_seed(2))
    torch.testing.assert_close(found, due, atol=5e-4, rtol=0)


def test_lighting_is_along_the_principal_colours() -> None:
    """The draws' covariance is that of the published eigenvectors and eigenvalues."""
    grey = torch.full((20000, 3, 1, 1), 0.5)
    shift = (relit(grey, 0.1, torch.Generator().manual_seed(1)) - grey).view(-1, 3).double() * 255
    vectors = torch.tensor(
        [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]], dtype=torch.float64
    )
    due = vectors @ torch.diag((0.1 * torch.tensor([55.46, 4.794, 1.148], dtype=torch.float64)) ** 2) @ vectors.T
    torch.testing.assert_close(shift.T.cov(), due, rtol=0.05, atol=0.02)


def test_centre_and_weights() -> None:
    image = torch.arange(3 * 256 * 256).view(1, 3, 256, 256)
    assert torch.equal(centre(image, 224), torchvision.center_crop(image, [224, 224]))
    weights = torch.Generator().manual_seed(1)
    drawn = torch.tensor([mixing_weight(1.0, weights) for _ in range(4000)])
    assert abs(float(drawn.mean()) - 0.5) < 0.02
    assert abs(float(drawn.var()) - 1 / 12) < 0.005


def eam(head: torch.nn.Module | None = None) -> TwoStageMixup:
    method = TwoStageMixup()
    protocol = protocol_of("lora-clip/table1", "resnet50-eam", "ucm-80")
    tower = load_backbone("clipbench-random-resnet-eam", "random")
    method.setup(Setting(tower, ["a"] * 4, "", protocol, (1,), torch.device("cpu"), head, 10, 100, _stream=stream))
    return method


class Head(torch.nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = (
            torch.nn.Parameter(torch.randn(1, 4, width)),
            torch.nn.Parameter(torch.zeros(1, 4)),
        )

    def forward(self, features: Tensor) -> Tensor:
        return torch.einsum("bd,rcd->rbc", features, self.weight) + self.bias


def test_mixtures_have_the_loss_of_mixed_labels() -> None:
    method = eam(Head(256))
    method.start_stage(1)
    method.start_epoch(3, [1])
    method.train()
    features = method.image_features(torch.randn(6, 3, 64, 64))
    truth = torch.tensor([[0, 1, 2, 3, 0, 1]])
    weight = method._weight
    assert 0.0 < weight < 1.0
    labels = weight * functional.one_hot(truth, 4) + (1 - weight) * functional.one_hot(truth.flip(1), 4)
    due = -(labels * method.logits(features).log_softmax(dim=-1)).sum(dim=-1).mean(dim=1)
    torch.testing.assert_close(method.losses(features, truth), due)
    method.start_epoch(79, [1])  # the 80th of 100, from which on nothing is mixed
    method.image_features(torch.randn(6, 3, 64, 64))
    assert method._weight == 1.0


def test_the_first_stage_is_the_plain_network() -> None:
    method = eam()
    tower, images = method.setting.model, torch.randn(2, 3, 64, 64)
    plain = load_backbone("clipbench-random-resnet", "random")
    plain.module.load_state_dict({k: v for k, v in tower.module.state_dict().items() if ".gate." not in k})
    method.new_stage(0)
    assert not any(p.requires_grad for n, p in tower.module.named_parameters() if ".gate." in n)
    torch.testing.assert_close(tower.encode_image(images), plain.encode_image(images))
    method.new_stage(1)
    assert all(p.requires_grad for p in tower.module.parameters())
    assert not torch.allclose(tower.encode_image(images), plain.encode_image(images))


def test_weight_decay_spares_biases_and_norms() -> None:
    method = eam(Head(256))
    decayed, spared = method.parameter_groups()
    assert (decayed["weight_decay"], spared["weight_decay"]) == (5e-4, 0.0)
    assert all(p.ndim == 1 or p is method.setting.head.bias for p in spared["params"])
    assert {p.ndim for p in decayed["params"]} == {2, 3, 4}
    assert sum(p.numel() for g in (decayed, spared) for p in g["params"]) == sum(p.numel() for p in method.trained())


@pytest.mark.parametrize("row", list(SHORT))
def test_resumed_is_uninterrupted_bit_for_bit(row: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after every epoch but the last, in both stages: statistics, views and mixtures go on."""
    check_resuming(of_row(row), tmp_path, monkeypatch, kills=3 if row == "resnet50-eam" else 2)


def test_both_stages_have_their_rates_and_best_and_last_epoch_are_measured(tmp_path: Path) -> None:
    (draft,) = run_planned(of_row("resnet50-eam"), place(tmp_path)).drafts
    lines = draft.record.history
    assert [line.stage for line in lines] == [0, 0, 1, 1]
    assert [line.accuracy is None for line in lines] == [True, True, False, False]
    assert lines[1].lr == pytest.approx(0.1 * lines[0].lr)
    assert lines[2].lr < lines[0].lr  # the warm-up's
    assert draft.record.metrics["accuracy"] == max(line.accuracy for line in lines[2:])
    assert step_losses(draft)[-1] > 0


def test_a_tuned_row_trains_all_and_a_probe_its_head(tmp_path: Path) -> None:
    (tuned,) = run_planned(of_row("mblanet", epochs=1), place(tmp_path)).drafts
    (probe,) = run_planned(planned("resnet50-probe", (1,)), place(tmp_path)).drafts
    assert tuned.record.model.trainable_parameters == tuned.record.model.total_parameters
    assert probe.record.model.trainable_parameters == (256 + 1) * 10
