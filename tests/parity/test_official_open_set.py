"""Open-set rules against numbers of their official code (tests/parity/official, each with its JSON)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from clipbench.engine.optimiser import Optimiser
from clipbench.errors import MissingWeightsError
from clipbench.methods import method as method_of
from clipbench.methods.base import Setting, Support
from clipbench.methods.clipn import NoTower, clipn_loss, decide, yes_probability
from clipbench.methods.openmax import OpenMax, eucos, fit_tails, recalibrated
from clipbench.methods.osda import OSDA
from clipbench.models.image_text import ImageText
from clipbench.models.towers import TextTower
from clipbench.registry import Protocol
from tests.parity.official_clip import FOLDER, tiny_clip

CPU = torch.device("cpu")
SETTINGS = json.loads((FOLDER / "clipn.json").read_text(encoding="utf-8"))["settings"]


@pytest.mark.parametrize("kind", ["clip", "centred"])
@pytest.mark.parametrize(("tail", "alpha"), [(20, 10), (10, 3)])
def test_openmax_is_osdns(kind: str, tail: int, alpha: int) -> None:
    """Means and distances to 1e-12; the likeliest Weibull against libMR's root search, 4e-6 of scale and shape."""
    numbers = {k: v.numpy() for k, v in load_file(FOLDER / "openmax.safetensors").items()}
    train = numbers[f"{kind}.train"]
    classes, count, _ = train.shape
    labels = np.repeat(np.arange(classes), count)
    flat = train.reshape(-1, classes)
    tails = fit_tails(flat, labels, tail)
    np.testing.assert_allclose(tails.mean, numbers[f"{kind}.mav"], atol=1e-12)
    far = np.stack([eucos(train[c], tails.mean[c]) for c in range(classes)])
    due = numbers[f"{kind}.train_distance.eucos"]  # -1 where the image is not told right
    np.testing.assert_allclose(np.where(due < 0, -1.0, far), due, atol=1e-12)
    test, where = numbers[f"{kind}.test"], f"{kind}.tail{tail}_alpha{alpha}"
    due = numbers[f"{where}.weibull"]
    np.testing.assert_allclose(tails.scale, due[:, 0], rtol=3e-6)
    np.testing.assert_allclose(tails.shape, due[:, 1], rtol=4e-6)
    np.testing.assert_allclose(np.stack([tails.scale, tails.shape], 1), numbers[f"{where}.weibull_mle"], rtol=1e-6)
    np.testing.assert_allclose(tails.scores(test), numbers[f"{where}.w_score"], atol=3e-6)
    left, lost = recalibrated(test, tails, alpha)
    np.testing.assert_allclose(left, numbers[f"{where}.recalibrated"], rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(lost, numbers[f"{where}.removed"], rtol=1e-5, atol=1e-4)
    probabilities = torch.from_numpy(np.concatenate([left, lost.sum(1, keepdims=True)], 1)).softmax(-1).numpy()
    np.testing.assert_allclose(probabilities, numbers[f"{where}.openmax"], atol=1e-4)
    assert probabilities.argmax(1).tolist() == numbers[f"{where}.prediction"].tolist()


def test_openmax_through_the_seam_is_the_same() -> None:
    """Two runs with activations of their own: what ``finish`` fits and ``logits`` gives is each run's alone."""
    numbers = load_file(FOLDER / "openmax.safetensors")
    train, test = numbers["centred.train"], numbers["centred.test"]
    classes, count, _ = train.shape
    labels = torch.arange(classes).repeat_interleave(count)

    class Given(OpenMax):
        def activations(self, features: Tensor) -> Tensor:
            return features.view(2, -1, classes)

    protocol = Protocol.of(
        {"method": "openmax", "openmax_tail": 20, "openmax_alpha": 10, "openmax_activations": "centred"}
    )
    both = torch.stack([train.flatten(0, 1), train.flatten(0, 1) * 0.9])
    model = SimpleNamespace(module=nn.Identity())
    setting = Setting(
        model, [""] * classes, "", protocol, (1, 2), CPU, _support=lambda *_: Support(labels.expand(2, -1), both)
    )
    method = Given()
    method.setup(setting)
    method.finish()
    found = method.logits(torch.cat([test, test * 0.9]))
    assert found.shape == (2, len(test), classes + 1)
    due = numbers["centred.tail20_alpha10.prediction"]
    assert found[0].argmax(-1).tolist() == due.tolist()


def test_equal_distances_and_absent_classes_break_nothing() -> None:
    activations = np.repeat(np.eye(3) * 5.0, 4, axis=0)
    tails = fit_tails(activations, np.repeat([0, 1, 0], 4), 20)
    assert np.isinf(tails.scale[2])
    left, lost = recalibrated(activations + 0.1, tails, 10)
    assert np.isfinite(left).all()
    assert np.isfinite(lost).all()


def _osda(numbers: dict[str, Tensor], *, masks: bool) -> OSDA:
    protocol = Protocol.of(
        {
            "method": "osda-bp", "osda_width": 24, "osda_dropout": 0.5 if masks else 0.0, "osda_unknowns": "target",
            "weight_decay": 5e-4, "lr": 1e-3, "optimiser": "sgd", "momentum": 0.9, "dampening": 0.0, "nesterov": True,
            "precision": "fp32",
        }
    )  # fmt: skip
    method = method_of("osda-bp")
    assert isinstance(method, OSDA)
    model = SimpleNamespace(module=nn.Identity(), width=32)
    method.setup(Setting(model, [str(i) for i in range(6)], "", protocol, (1,), CPU))
    for layer, number in ((method.first, 1), (method.second, 2)):
        values = {
            "weight": f"linear{number}.weight", "bias": f"linear{number}.bias", "gamma": f"bn{number}.weight",
            "beta": f"bn{number}.bias", "mean": f"bn{number}.running_mean", "variance": f"bn{number}.running_var",
        }  # fmt: skip
        with torch.no_grad():
            for name, key in values.items():
                getattr(layer, name).copy_(numbers[f"init.g.{key}"])
    with torch.no_grad():
        method.weight.copy_(numbers["init.c.classifier.0.weight"])
        method.bias.copy_(numbers["init.c.classifier.0.bias"])
    method.unlabelled = lambda *_: numbers["x_target"][None]  # type: ignore[method-assign]
    if masks:
        for which, layer in enumerate((method.first, method.second)):
            given = iter([numbers[f"dropout_mask.{which}"], numbers[f"dropout_mask.{which + 2}"]] * 3)
            layer.dropped = lambda x, given=given, layer=layer: x * next(given) * 2.0 if layer.training else x  # type: ignore[method-assign]
    return method


def _values(method: OSDA) -> dict[str, Tensor]:
    found: dict[str, Any] = {"c.classifier.0.weight": method.weight, "c.classifier.0.bias": method.bias}
    for number, layer in ((1, method.first), (2, method.second)):
        found |= {
            f"g.linear{number}.weight": layer.weight, f"g.linear{number}.bias": layer.bias,
            f"g.bn{number}.weight": layer.gamma, f"g.bn{number}.bias": layer.beta,
        }  # fmt: skip
    return found


@pytest.mark.parametrize("case", ["plain", "dropout"])
def test_osda_is_its_official_code(case: str) -> None:
    """Losses, summed gradients, parameters and running statistics after one and three steps, and the test: 1e-6."""
    numbers = load_file(FOLDER / "osda_bp.safetensors")
    method = _osda(numbers, masks=case == "dropout").train()
    optimiser = Optimiser(method.parameter_groups(), method.setting.protocol, CPU)
    source, truth = numbers["x_source"], numbers["y_source"][None]
    for step in range(3):
        optimiser.step(method.losses(source, truth), 1e-3)
        if step == 0:
            for name, parameter in _values(method).items():
                assert parameter.grad is not None
                torch.testing.assert_close(parameter.grad[0], numbers[f"{case}.grad_sum.{name}"], rtol=0, atol=1e-6)
        if step in (0, 2):
            for name, parameter in _values(method).items():
                torch.testing.assert_close(parameter[0], numbers[f"{case}.step{step + 1}.{name}"], rtol=0, atol=1e-6)
            for number, layer in ((1, method.first), (2, method.second)):
                for ours, theirs in (("mean", "running_mean"), ("variance", "running_var")):
                    due = numbers[f"{case}.step{step + 1}.g.bn{number}.{theirs}"]
                    torch.testing.assert_close(getattr(layer, ours)[0], due, rtol=0, atol=1e-6)
    found = method.eval().logits(numbers["x_test"])[0]
    torch.testing.assert_close(found, numbers[f"{case}.test_logits"], rtol=0, atol=1e-6)
    assert found.argmax(-1).tolist() == numbers[f"{case}.test_prediction"].tolist()


def test_osdas_losses_are_the_official_ones() -> None:
    numbers = load_file(FOLDER / "osda_bp.safetensors")
    method = _osda(numbers, masks=False).train()
    source = numbers["x_source"][None]
    logits = method.classify(method.head(source))
    torch.testing.assert_close(logits[0], numbers["plain.logits_source"], rtol=0, atol=1e-6)
    loss = method.loss(logits, numbers["y_source"][None])
    torch.testing.assert_close(loss[0], numbers["plain.loss_source"], rtol=0, atol=1e-6)
    target = method.boundary(numbers["x_target"][None])
    torch.testing.assert_close(target[0], numbers["plain.loss_target"], rtol=0, atol=1e-6)


@pytest.fixture
def clipn() -> tuple[ImageText, NoTower, dict[str, Tensor]]:
    numbers = load_file(FOLDER / "clipn.safetensors")
    model = tiny_clip()
    tower = NoTower(model.text.tower).requires_grad_(True)  # a method of another test may have frozen the model
    with torch.no_grad():
        tower.prompt.copy_(numbers["prompt_no"])
    return model, tower, numbers


def test_clipns_no_tower_is_the_official_one(clipn: tuple[ImageText, NoTower, dict[str, Tensor]]) -> None:
    """Features in evaluation and with the drawn prompts, cut behind the longest prompt or in full: 1e-5."""
    model, tower, numbers = clipn
    prompts = model.prompts([str(text) for text in SETTINGS["prompts"]])
    found = tower.features(TextTower(tower), prompts.ids, prompts.ends)
    torch.testing.assert_close(found, numbers["text_no"], rtol=1e-5, atol=1e-5)
    whole = numbers["tokens"]
    ends = whole.argmax(dim=-1)
    drawn = tower.features(TextTower(tower), whole, ends, numbers["prompt_index"])
    torch.testing.assert_close(drawn, numbers["text_no_train"], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(model.encode_text(prompts)[0], numbers["text_yes"], rtol=1e-5, atol=1e-5)


def test_clipns_loss_and_its_gradients_are_the_official_ones(
    clipn: tuple[ImageText, NoTower, dict[str, Tensor]],
) -> None:
    _, tower, numbers = clipn
    whole = numbers["tokens"]
    no = tower.features(TextTower(tower), whole, whole.argmax(dim=-1), numbers["prompt_index"])
    normalised = functional.normalize(no, dim=-1)
    normalised.retain_grad()
    yes = functional.normalize(numbers["text_yes"], dim=-1)
    terms = clipn_loss(numbers["image_features"], yes, normalised, float(SETTINGS["logit scale in the loss"]))
    for found, name in zip(terms, ("loss_yes", "loss_no", "loss_opposite"), strict=True):
        torch.testing.assert_close(found, numbers[name], rtol=1e-5, atol=1e-6)
    loss = 0.5 * sum(terms)
    assert isinstance(loss, Tensor)
    torch.testing.assert_close(loss, numbers["loss"], rtol=1e-5, atol=1e-6)
    loss.backward()
    assert normalised.grad is not None
    torch.testing.assert_close(normalised.grad, numbers["grad.text_no_normalised"], rtol=1e-4, atol=1e-6)
    for name, parameter in (
        ("prompt_no", tower.prompt),
        ("ln_final_no.weight", tower.ln_final.weight),
        ("text_projection_no", tower.text_projection),
    ):
        torch.testing.assert_close(parameter.grad, numbers[f"grad.{name}"], rtol=1e-4, atol=1e-5)


def test_clipns_decisions_are_the_official_scores() -> None:
    numbers = load_file(FOLDER / "clipn.safetensors")
    yes, no = numbers["logits_yes"], numbers["logits_no"]
    torch.testing.assert_close(yes_probability(yes, no), numbers["yes_probability"], rtol=1e-5, atol=1e-7)
    for rule, name in (
        ("competing-to-win", "unknown_ctw"),
        ("agreeing-to-differ", "unknown_atd_vs_yes_softmax"),
        ("agreeing-to-differ-softmax", "unknown_atd_vs_softmax"),
    ):
        found = decide(yes, no, rule).argmax(dim=-1)
        unknown = found == yes.shape[-1]
        assert unknown.tolist() == numbers[name].bool().tolist()
        if rule != "agreeing-to-differ":
            assert found[~unknown].tolist() == numbers["prediction_known"][~unknown].tolist()


def test_clipn_runs_from_a_file_with_both_towers(
    clipn: tuple[ImageText, NoTower, dict[str, Tensor]], tmp_path: Path
) -> None:
    model, tower, _ = clipn
    path = tmp_path / "clipn.safetensors"
    second = {f"module.{NoTower.key(name)}": value.contiguous() for name, value in tower.state_dict().items()}
    first = {f"module.{name}": value.contiguous() for name, value in model.module.state_dict().items()}
    save_file(first | second, path)
    read = tiny_clip(path)
    torch.testing.assert_close(read.module.state_dict(), model.module.state_dict(), rtol=0, atol=0)
    method = method_of("clipn")
    protocol = Protocol.of({"method": "clipn", "clipn_decision": "competing-to-win", "logit_scale": 100.0})
    names = ["cat", "dog", "river"]
    method.setup(Setting(model, names, "a photo of a {}.", protocol, (1, 2), CPU, weights_file=path))
    assert method.logits(torch.randn(8, model.width)).shape == (2, 4, 4)
    assert method.trained() == []
    with pytest.raises(MissingWeightsError, match="needs weights of its own"):
        method_of("clipn").setup(Setting(model, names, "a photo of a {}.", protocol, (1,), CPU))
    save_file(first, path)
    with pytest.raises(MissingWeightsError, match="no 'no' text tower"):
        method_of("clipn").setup(Setting(model, names, "a photo of a {}.", protocol, (1,), CPU, weights_file=path))


def test_clipns_stand_in_is_a_copy_with_random_prompts(
    clipn: tuple[ImageText, NoTower, dict[str, Tensor]],
) -> None:
    model, _, _ = clipn
    method = method_of("clipn")
    protocol = Protocol.of(
        {"method": "clipn", "clipn_decision": "competing-to-win", "clipn_tower": "stand-in", "logit_scale": 100.0}
    )
    method.setup(Setting(model, ["cat", "dog"], "a photo of a {}.", protocol, (1,), CPU))
    apart = method.no_features() - model.encode_text(method.prompts())[0]  # type: ignore[operator]
    assert 0 < float(apart.abs().max()) < 1
    assert method.trained() == []


def _with_unknowns(kind: str) -> OSDA:
    method = _osda(load_file(FOLDER / "osda_bp.safetensors"), masks=False).train()
    setting = method.setting
    values = {**setting.protocol.as_dict(), "osda_unknowns": kind}
    method.setting = replace(setting, protocol=Protocol.of(values))
    method.start_epoch(0, (1,))
    return method


def test_osda_learns_nothing_of_a_class_that_is_held_out() -> None:
    """Its images enter the boundary alone: the gradient of their class's output is that of the unknown's loss."""
    numbers = load_file(FOLDER / "osda_bp.safetensors")
    source, truth = numbers["x_source"], numbers["y_source"][None]
    method, last = _with_unknowns("source-class"), 5
    held = truth[0] == last
    assert held.any()
    loss = method.losses(source, truth)
    logits = method.classify(method.head(source[None]))[0]
    unknown = logits.softmax(-1)[held, -1].clamp(1e-6, 1 - 1e-6)
    due = functional.cross_entropy(logits[~held], truth[0][~held]) - 0.5 * (unknown.log() + (1 - unknown).log()).mean()
    torch.testing.assert_close(loss[0], due, rtol=1e-5, atol=1e-5)
    none = method.losses(source, torch.where(truth == last, 0, truth))
    plain = functional.cross_entropy(logits, torch.where(held, 0, truth[0]))
    torch.testing.assert_close(none[0], plain, rtol=1e-5, atol=1e-5)


def test_osdas_mixtures_lie_between_two_classes() -> None:
    numbers = load_file(FOLDER / "osda_bp.safetensors")
    source, truth = numbers["x_source"][None], numbers["y_source"][None]
    mixed = _with_unknowns("mixtures")._mixed(source, truth)
    for row, label, found in zip(source[0], truth[0].tolist(), mixed[0], strict=True):
        halves = [(row + other) / 2 for other, its in zip(source[0], truth[0].tolist(), strict=True) if its != label]
        assert any(torch.allclose(found, half) for half in [*halves, row])
    assert not torch.equal(mixed, source)
