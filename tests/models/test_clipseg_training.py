"""What is trained in CLIPSeg: counted on rd64 itself (meta device), against the closed form and the official counts."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from clipbench.audit.architecture import trainable_and_total
from clipbench.errors import UserError
from clipbench.methods import method
from clipbench.methods.base import Setting
from clipbench.models.clipseg.configs import ARCHITECTURES
from clipbench.models.clipseg.load import build
from clipbench.models.clipseg.network import Segmenter
from clipbench.models.clipseg.prompts import tokenise
from clipbench.models.clipseg.training import PerReplica
from clipbench.models.tiny import load_tiny
from clipbench.registry import Protocol
from tests.models.clipseg_for_tests import PROMPTS, images, small_clipseg

RD64 = "clipseg-rd64-refined"
TOTAL, DECODER = 150_747_746, 1_127_009
DORA: dict[str, Any] = {
    "task": "segmentation", "method": "dora", "backbone": RD64, "rank": 8, "alpha": 1.0, "scaling": "alpha",
    "targets": "qkvo", "towers": "both", "also_trained": "up-convolution", "encoder_gradient": True,
    "adapter_dropout": 0.0, "adapter_init": "kaiming-uniform-sqrt5", "detach_norm": True, "dora_dropout": "official",
    "norm_axis": "output",
}  # fmt: skip


def attach(model: Any, protocol: Protocol, seeds: list[int]) -> None:
    method(protocol.need("method")).setup(Setting(model, (), "", protocol, seeds, torch.device("cpu")))


def _rd64() -> Any:
    pytest.importorskip("transformers")
    with torch.device("meta"):
        return build(ARCHITECTURES[RD64].sizes)


def _counts(model: Any) -> tuple[int, int]:
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return trained, sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(("flows", "due"), [(True, TOTAL), (False, DECODER)])
def test_full_tuning(flows: bool, due: int) -> None:
    model = _rd64()
    attach(model, Protocol(task="segmentation", method="full", encoder_gradient=flows), [1])
    assert _counts(model) == (due, TOTAL)
    protocol = Protocol(task="segmentation", method="full", backbone=RD64, encoder_gradient=flows)
    assert trainable_and_total(protocol, 0) == (due, TOTAL)


@pytest.mark.parametrize(
    ("changes", "due"),
    [
        ({}, 1_114_721),
        ({"towers": "vision"}, 696_929),
        ({"towers": "all"}, 1_127_777),
        ({"targets": "all-linear"}, 2_420_321),
        ({"targets": "qkv+mlp", "towers": "all"}, 2_276_705),
        ({"method": "lora", "targets": "all-linear"}, 2_282_081),
        ({"method": "lora", "targets": "all-linear", "towers": "all", "also_trained": None}, 2_325_504),
        ({"also_trained": None}, 1_044_480),
    ],
)
def test_placements(changes: dict[str, Any], due: int) -> None:
    protocol, model = Protocol(**(DORA | changes)), _rd64()
    attach(model, protocol, [1])
    trained, every = _counts(model)
    assert trained == due == trainable_and_total(protocol, 0)[0]
    up = 70_241 if protocol.also_trained else 0
    assert every - trained == TOTAL - up


def test_replicas_share_what_is_frozen() -> None:
    model = _rd64()
    attach(model, Protocol(**DORA), [1, 2, 3])
    trained, every = _counts(model)
    assert trained == 3 * 1_114_721
    assert every - trained == TOTAL - 70_241


def test_what_moves_when_everything_is_trained() -> None:
    """The last block and the image projection are not read: they count, and stay where they are."""
    model = small_clipseg()
    attach(model, Protocol(task="segmentation", method="full", encoder_gradient=True), [1])
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3, weight_decay=0.1)
    Segmenter(model, encoder_gradient=True)(images(), *tokenise(PROMPTS)).square().mean().backward()
    optimiser.step()
    still = {name for name, p in model.named_parameters() if torch.equal(p, before[name])}
    assert "clip.vision_model.encoder.layers.4.mlp.fc1.weight" in still
    assert "clip.vision_model.encoder.layers.3.mlp.fc1.weight" not in still
    assert "clip.text_model.encoder.layers.0.mlp.fc1.weight" not in still


def test_stopped_adapters_do_not_learn() -> None:
    """Hugging Face's forward as it is: of DoRA in the encoders and the up-convolution, only the latter moves."""
    model = small_clipseg()
    attach(model, Protocol(**(DORA | {"encoder_gradient": False})), [1])
    Segmenter(model, encoder_gradient=False)(images(), *tokenise(PROMPTS)).square().mean().backward()
    moving = {name for name, p in model.named_parameters() if p.grad is not None}
    assert moving
    assert all(name.startswith("decoder.transposed_convolution.") for name in moving)


def test_copies_are_the_module_and_learn_apart() -> None:
    """Two copies give what the module gives; a gradient of one's rows leaves the other alone."""
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.ConvTranspose2d(4, 1, 2, 2)
    )
    copies = PerReplica(module, 2)
    x = torch.randn(6, 3, 8, 8)
    torch.testing.assert_close(copies(x), module(x))
    copies(x)[3:].sum().backward()
    assert {p.shape[0] for p in copies.parameters()} == {2}
    assert all(p.grad is not None and not p.grad[0].any() and p.grad[1].any() for p in copies.parameters())


def test_what_is_refused() -> None:
    with pytest.raises(UserError, match="does not say rank"):
        attach(small_clipseg(), Protocol(method="dora"), [1])
    with pytest.raises(UserError, match="one seed at a time"):
        attach(small_clipseg(), Protocol(method="full"), [1, 2])
    with pytest.raises(UserError, match="only the up-convolution"):
        attach(small_clipseg(), Protocol(**(DORA | {"also_trained": "decoder"})), [1])
    with pytest.raises(UserError, match="no segmentation decoder"):
        attach(load_tiny(), Protocol(method="full", encoder_gradient=True), [1])
