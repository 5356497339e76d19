"""What only a GPU can show: the numbers of the CPU, seeds that share a pass under fp16, steps that wait for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch

from clipbench.adapters import AdapterConfig, adapt
from clipbench.engine.context import Context
from clipbench.engine.device import make_deterministic
from clipbench.engine.loop import Loop
from tests.adapters.models import adapter_parameters, images, perturb, relative, tokens
from tests.engine.few_shot_for_tests import few_shot, step_losses
from tests.engine.passes_for_tests import place, predictions, run_planned

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
SEEDS = (1, 2, 3)
ROWS = ["clip-lora-1shot", "clip-dora-1shot"]


@pytest.fixture(autouse=True)
def exact() -> Iterator[None]:
    make_deterministic()
    yield
    torch.use_deterministic_algorithms(False)


def _gpu(folder: Path, **more: Any) -> Context:
    return replace(place(folder, **more), device=torch.device("cuda"))


@pytest.mark.parametrize(
    "options", [{"kind": "lora"}, {"kind": "dora"}, {"kind": "dora", "norm_axis": "input"}], ids=str
)
def test_adapters_give_what_they_give_on_the_cpu(options: dict[str, Any]) -> None:
    """Features and gradients of both towers in float32: 1e-4."""
    torch.manual_seed(0)
    model = open_clip.create_model("ViT-B-32-quickgelu", pretrained=None).eval()
    perturb(adapt(model, AdapterConfig(rank=4, replicas=2, init_seeds=(1, 2), **options)))
    x, t, found = images(2, 224), tokens(2, 77, 49408), []
    for device in ("cpu", "cuda"):
        model.to(device).zero_grad()
        features = torch.cat([model.encode_image(x.to(device)), model.encode_text(t.to(device))])
        features[:, ::3].square().sum().backward()
        grads = [p.grad.flatten() for p in adapter_parameters(model) if p.grad is not None]
        found.append((features.detach().cpu(), torch.cat(grads).cpu()))
    for there, here in zip(*found, strict=True):
        assert relative(here, there) < 1e-4


@pytest.mark.parametrize("row", ROWS)
def test_fp32_trains_as_the_cpu_does(row: str, tmp_path: Path) -> None:
    """The first losses to 1e-4: dropout is drawn by another generator there, and off here."""
    group = few_shot(row, (1,), adapter_dropout=0.0)
    (here,) = run_planned(group, _gpu(tmp_path)).drafts
    (there,) = run_planned(group, place(tmp_path)).drafts
    np.testing.assert_allclose(step_losses(here)[:4], step_losses(there)[:4], rtol=1e-4)


@pytest.mark.parametrize("precision", ["fp16", "bf16", "fp32"])
@pytest.mark.parametrize("row", ROWS)
def test_three_seeds_in_one_pass_are_three_passes(row: str, precision: str, tmp_path: Path) -> None:
    """Losses to 1e-3 in float32 and 5e-2 in half (another batch size takes other kernels); and the same twice."""
    fields = {"precision": precision, "adapter_dropout": 0.25}
    together, again = (run_planned(few_shot(row, SEEDS, **fields), _gpu(tmp_path)).drafts for _ in range(2))
    for seed, draft, twin in zip(SEEDS, together, again, strict=True):
        (alone,) = run_planned(few_shot(row, (seed,), **fields), _gpu(tmp_path)).drafts
        np.testing.assert_array_equal(step_losses(draft), step_losses(twin))
        np.testing.assert_array_equal(predictions(draft), predictions(twin))
        tolerance = 1e-3 if precision == "fp32" else 5e-2
        np.testing.assert_allclose(step_losses(draft), step_losses(alone), rtol=tolerance)


@pytest.mark.parametrize("precision", ["fp16", "bf16", "fp32"])
@pytest.mark.parametrize("row", [*ROWS, "linear-probe-1shot"])
def test_no_step_waits_for_the_gpu(row: str, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch raises at whatever makes the host wait, from the first batch of an epoch to its last step."""
    plain = Loop._train_epoch

    def watched(self: Loop, *arguments: Any) -> None:
        torch.cuda.set_sync_debug_mode("error")
        try:
            plain(self, *arguments)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(Loop, "_train_epoch", watched)
    assert run_planned(few_shot(row, SEEDS, precision=precision), _gpu(tmp_path)).drafts
