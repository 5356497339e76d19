"""Every kind of adapter against numbers of its source's own code (tests/parity/official, each with its JSON)."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from clipbench.adapters import (
    AdapterConfig,
    adapt,
    adapted_modules,
    after_step,
    before_step,
    merge,
    nf4,
    parameter_groups,
    regularisation,
    set_rank,
    unmerge,
)
from clipbench.adapters.kinds import AdaLoRA, DyLoRA, LoRA, VeRA
from clipbench.adapters.kinds.adalora import AdaLoRAOptions, budget
from clipbench.adapters.kinds.dylora import DyLoRAOptions
from clipbench.adapters.laplace import Laplace, probabilities, probit_probabilities

OFFICIAL = Path(__file__).parent / "official"


def _official(name: str) -> dict[str, Tensor]:
    return load_file(OFFICIAL / f"{name}.safetensors")


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight.data.copy_(weight)
    layer.bias.data.copy_(bias)
    return layer


def _close(found: Tensor, expected: Tensor, tolerance: float) -> None:
    torch.testing.assert_close(found.detach(), expected, rtol=0, atol=tolerance)


# --- VeRA ---


def _vera(numbers: dict[str, Tensor]) -> nn.Module:
    """Both layers, which share A and B; the smaller uses a corner of them."""
    model = nn.ModuleDict(
        {
            "large": _linear(numbers["weight"], numbers["bias"]),
            "small": _linear(numbers["small.weight"], numbers["small.bias"]),
        }
    )
    return adapt(model, AdapterConfig("vera", 8, targets=(), patterns=("large", "small")))


def test_vera_draws_the_shared_matrices_of_peft() -> None:
    numbers = _official("vera")
    branch = cast(VeRA, adapted_modules(_vera(numbers))["small.linear"])
    A, B = branch.shared.like(branch.d)
    _close(A, numbers["vera_A"], 0.0)
    _close(B, numbers["vera_B"], 0.0)
    assert (branch.d == 0.1).all()
    assert not branch.b.any()


@pytest.mark.parametrize("start", ["init", "start"])
def test_vera_outputs_gradients_and_steps(start: str) -> None:
    numbers = _official("vera")
    model = _vera(numbers)
    branch = cast(VeRA, adapted_modules(model)["large.linear"])
    branch.d.data[0] = numbers[f"{start}.lambda_d"]
    branch.b.data[0] = numbers[f"{start}.lambda_b"]
    optimiser = torch.optim.AdamW([branch.d, branch.b], 1e-2, weight_decay=0.01)
    for step in (1, 2, 3):
        output = model["large"](numbers["x"])  # type: ignore[index, operator]
        loss = mse_loss(output, numbers["target"])
        optimiser.zero_grad()
        loss.backward()
        if step == 1:
            _close(output, numbers[f"{start}.output"], 1e-6)
            _close(loss, numbers[f"{start}.loss"], 1e-6)
            assert branch.d.grad is not None
            assert branch.b.grad is not None
            _close(branch.d.grad[0], numbers[f"{start}.grad.lambda_d"], 1e-6)
            _close(branch.b.grad[0], numbers[f"{start}.grad.lambda_b"], 1e-6)
        optimiser.step()
        if step != 2:
            _close(branch.d[0], numbers[f"{start}.step{step}.lambda_d"], 1e-6)
            _close(branch.b[0], numbers[f"{start}.step{step}.lambda_b"], 1e-6)
    _close(merge(model).get_parameter("large.weight") - numbers["weight"], numbers[f"{start}.delta_weight"], 1e-6)
    unmerge(model)
    small = cast(VeRA, adapted_modules(model)["small.linear"])
    small.d.data[0], small.b.data[0] = numbers["small.lambda_d"], numbers["small.lambda_b"]
    _close(model["small"](numbers["x_small"]), numbers["small.output"], 1e-6)  # type: ignore[index, operator]


# --- DyLoRA ---


def _dylora(numbers: dict[str, Tensor], frozen: bool) -> tuple[nn.Module, DyLoRA]:
    plain = nn.Sequential(_linear(numbers["weight"], numbers["bias"]))
    model = adapt(plain, AdapterConfig("dylora", 4, 8.0, targets=(), patterns=("0",), options={"frozen": frozen}))
    branch = cast(DyLoRA, adapted_modules(model)["0.linear"])
    branch.A.data[0], branch.B.data[0] = numbers["A"], numbers["B"]
    return model, branch


def test_dylora_at_every_rank() -> None:
    numbers = _official("dylora")
    model, _ = _dylora(numbers, frozen=True)
    model.eval()
    for index, expected in enumerate(numbers["output.rank"]):
        _close(set_rank(model, index + 1)(numbers["x"]), expected, 1e-5)
        _close(merge(model)(numbers["x"]), expected, 1e-5)
        unmerge(model)


@pytest.mark.parametrize("mode", ["frozen", "free"])
def test_dylora_trains_one_rank_per_step(mode: str) -> None:
    numbers = _official("dylora")
    model, branch = _dylora(numbers, frozen=mode == "frozen")
    optimiser = torch.optim.AdamW([branch.A, branch.B], 1e-2, weight_decay=0.1)
    for step, index in enumerate(numbers["schedule"].tolist(), start=1):
        output = set_rank(model, index + 1).train()(numbers["x"])
        loss = mse_loss(output, numbers["target"])
        optimiser.zero_grad()
        loss.backward()
        if step == 1:
            _close(output, numbers[f"{mode}.output"], 1e-5)
            _close(loss, numbers[f"{mode}.loss"], 1e-5)
            assert branch.A.grad is not None
            assert branch.B.grad is not None
            _close(branch.A.grad[0], numbers[f"{mode}.grad.A"], 1e-7)
            _close(branch.B.grad[0], numbers[f"{mode}.grad.B"], 1e-7)
        optimiser.step()
        if step != 2:
            _close(branch.A[0], numbers[f"{mode}.step{step}.A"], 1e-5)
            _close(branch.B[0], numbers[f"{mode}.step{step}.B"], 1e-5)


def test_dylora_draws_ranks_evenly_and_each_seed_its_own() -> None:
    model = adapt(nn.Sequential(nn.Linear(6, 6)), AdapterConfig("dylora", 4, replicas=2, targets=(), patterns=("0",)))
    branch = cast(DyLoRA, adapted_modules(model)["0.linear"])
    drawn = []
    for step in range(400):
        before_step(model, (1, 2), step)
        drawn.append(branch.active.tolist())
    counts = torch.tensor(drawn).T
    assert all(70 < (row == rank).sum() < 130 for row in counts for rank in (1, 2, 3, 4))
    before_step(model, (2, 1), 7)
    assert branch.active.tolist() == drawn[7][::-1]
    assert cast(DyLoRAOptions, branch.config.options).frozen


# --- AdaLoRA ---

OPTIONS = {
    "target_rank": 2, "total_steps": 12, "initial_steps": 2, "final_steps": 3, "interval": 2, "orthogonality": 0.5,
}  # fmt: skip


def _adalora(numbers: dict[str, Tensor], replicas: int = 1) -> tuple[Any, dict[str, AdaLoRA]]:
    names = ("first", "second")
    layers = [_linear(numbers[f"base.{n}.weight"], numbers[f"base.{n}.bias"]) for n in names]
    plain = nn.Sequential(layers[0], nn.ReLU(), layers[1])
    config = AdapterConfig("adalora", 4, 8.0, replicas=replicas, targets=(), patterns=("0", "2"), options=OPTIONS)
    model = adapt(plain, config)
    branches = dict(zip(names, adapted_modules(model).values(), strict=True))
    for name, branch in branches.items():
        for key in "AEB":
            branch.get_parameter(key).data.copy_(numbers[f"init.{name}.{key}"])
    return model, cast(dict[str, AdaLoRA], branches)


def _check_adalora_step(step: int, branches: dict[str, AdaLoRA], numbers: dict[str, Tensor]) -> None:
    for i, (name, branch) in enumerate(branches.items()):
        _close(branch.E[0, :, 0], numbers[f"E.{step}"][i], 1e-5)
        assert torch.equal(branch.kept[0].long(), numbers["rank_pattern"][step, i])
        if f"triplet_score.{step}" in numbers:
            torch.testing.assert_close(branch.scores()[0], numbers[f"triplet_score.{step}"][i], rtol=1e-3, atol=1e-12)
        for key in "AEB":
            if f"sensitivity.{step}.{name}.{key}" in numbers:
                _close(branch.get_buffer(f"importance_{key}")[0], numbers[f"sensitivity.{step}.{name}.{key}"], 1e-6)
                _close(branch.get_buffer(f"deviation_{key}")[0], numbers[f"uncertainty.{step}.{name}.{key}"], 1e-6)
            if f"step{step + 1}.{name}.{key}" in numbers:
                expected = numbers[f"step{step + 1}.{name}.{key}"]
                _close(branch.get_parameter(key)[0], expected, 1e-5)


def test_adalora_step_by_step() -> None:
    """Loss, orthogonality, gradients, importance, scores, masks and parameters of all twelve steps."""
    numbers = _official("adalora")
    model, branches = _adalora(numbers)
    parameters = [p for branch in branches.values() for p in branch.parameters()]
    optimiser = torch.optim.AdamW(parameters, 2e-2, weight_decay=0.01)
    for step in range(12):
        output = model(numbers["x"][step])
        loss, term = mse_loss(output, numbers["target"][step]), regularisation(model)
        _close(loss, numbers["loss"][step], 1e-5)
        _close(term[0] / 0.5, numbers["orthogonality"][step], 1e-5)
        (loss + term.sum()).backward()
        if step == 0:
            _close(output, numbers["output.0"], 1e-5)
            for name, branch in branches.items():
                for key in "AEB":
                    grad = branch.get_parameter(key).grad
                    assert grad is not None
                    _close(grad[0], numbers[f"grad.0.{name}.{key}"], 1e-6)
        optimiser.step()
        after_step(model)
        optimiser.zero_grad()
        _check_adalora_step(step, branches, numbers)
    _close(model(numbers["x"][0]), numbers["output.final"], 1e-5)
    _close(merge(model)(numbers["x"][0]), numbers["output.final"], 1e-5)


def test_adalora_budget() -> None:
    allowed = [budget(step, 8, 4, AdaLoRAOptions(**OPTIONS)) for step in range(12)]  # type: ignore[arg-type]
    assert [[ranks, int(due)] for ranks, due in allowed] == _official("adalora")["budget"].tolist()


def test_adalora_goes_on_where_it_was_and_each_seed_prunes_its_own() -> None:
    """Six steps, a state dict, six more in a new model: the same; two replicas on other data: two separate runs."""
    numbers = _official("adalora")

    def train(model: Any, branches: Any, steps: range, parts: list[int], optimiser: Any = None) -> Any:
        parameters = [p for branch in branches.values() for p in branch.parameters()]
        optimiser = optimiser or torch.optim.AdamW(parameters, 2e-2)
        for step in steps:
            x = torch.cat([numbers["x"][(step + 3 * part) % 12] for part in parts])
            target = torch.cat([numbers["target"][(step + 3 * part) % 12] for part in parts])
            errors = (model(x) - target).square().view(len(parts), -1).mean(1)
            (errors + regularisation(model)).sum().backward()
            optimiser.step()
            after_step(model)
            optimiser.zero_grad()
        return optimiser

    joint, branches = _adalora(numbers, replicas=2)
    train(joint, branches, range(12), [0, 1])
    for r in (0, 1):
        first, single = _adalora(numbers)
        half = train(first, single, range(6), [r])
        again, resumed = _adalora(numbers)
        again.load_state_dict(first.state_dict())
        fresh = torch.optim.AdamW([p for branch in resumed.values() for p in branch.parameters()], 2e-2)
        fresh.load_state_dict(copy.deepcopy(half.state_dict()))
        train(again, resumed, range(6, 12), [r], fresh)
        train(first, single, range(6, 12), [r], half)
        for name, branch in single.items():
            assert all(torch.equal(p, q) for p, q in zip(branch.parameters(), resumed[name].parameters(), strict=True))
            assert torch.equal(branch.kept[0], branches[name].kept[r])
            _close(branches[name].E[r], branch.E[0], 1e-5)


# --- QLoRA ---


@pytest.mark.parametrize("name", ["w64", "w160"])
@pytest.mark.parametrize("kernel", [False, True])
def test_nf4_codes_and_weights(name: str, kernel: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tolerances are those of the JSON: near ties of the 8-bit codes may take the neighbour."""
    if kernel:
        pytest.importorskip("bitsandbytes")
    monkeypatch.setattr(nf4, "_has_kernel", lambda: kernel)
    numbers = _official("qlora_nf4")
    torch.testing.assert_close(nf4.dynamic_levels(), numbers["codebook_8bit"], rtol=0, atol=0)
    assert list(nf4.LEVELS) == pytest.approx(numbers["codebook_nf4"].tolist(), abs=1e-9)
    single = nf4.NF4(numbers[f"{name}.weight"], double=False)
    assert torch.equal(single.packed, numbers[f"{name}.packed"])
    _close(single.block_scales(), numbers[f"{name}.absmax"], 1e-6)
    _close(single.restore(), numbers[f"{name}.dequantised"], 1e-6)
    double = nf4.NF4(numbers[f"{name}.weight"])
    codes = numbers[f"{name}.absmax_8bit"]
    differ = (double.scales != codes).nonzero()[:, 0]
    largest = numbers[f"{name}.absmax_absmax"].repeat_interleave(256)[: len(codes)]
    scaled = (numbers[f"{name}.absmax"] - numbers[f"{name}.absmax_offset"]) / largest
    levels = numbers["codebook_8bit"]
    for i in differ:
        middle = (levels[int(double.scales[i])] + levels[int(codes[i])]) / 2
        assert abs(int(double.scales[i]) - int(codes[i])) == 1
        assert (scaled[i] - middle).abs() < 5e-5
    double.scales.copy_(codes)
    _close(double.block_scales(), numbers[f"{name}.absmax_restored"], 1e-6)
    _close(double.restore(), numbers[f"{name}.dequantised_double"], 1e-6)


def test_nf4_is_that_of_bitsandbytes_in_every_type() -> None:
    functional = pytest.importorskip("bitsandbytes.functional")
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        weight = torch.randn(70, 30, generator=torch.Generator().manual_seed(0)).to(dtype)  # not a multiple of 64
        packed, state = functional.quantize_4bit(weight, quant_type="nf4", compress_statistics=False)
        mine = nf4.NF4(weight, double=False)
        assert torch.equal(mine.packed, packed[:, 0])
        assert torch.equal(mine.restore(), functional.dequantize_4bit(packed, state))


def test_qlora_outputs_gradients_and_steps() -> None:
    numbers = _official("qlora_nf4")
    plain = nn.Sequential(_linear(numbers["w64.weight"], numbers["lora.bias"]))
    config = AdapterConfig("qlora", 2, 1.0, "alpha/sqrt(r)", targets=(), patterns=("0",))
    model = adapt(plain, config)
    branch = cast(LoRA, adapted_modules(model)["0.linear"])
    branch.A.data[0], branch.B.data[0] = numbers["lora.A"], numbers["lora.B"]
    optimiser = torch.optim.AdamW(parameter_groups(model, weight_decay=0.01))
    assert optimiser.param_groups[0]["lr"] == 2e-3 / 10  # the source's rate; the fixture's is ten times that
    optimiser.param_groups[0]["lr"] = 2e-3
    for step in (1, 2, 3):
        output = model(numbers["lora.x"])
        loss = mse_loss(output, numbers["lora.target"])
        optimiser.zero_grad()
        loss.backward()
        if step == 1:
            _close(output, numbers["lora.output"], 1e-6)
            _close(loss, numbers["lora.loss"], 1e-6)
            assert branch.A.grad is not None
            assert branch.B.grad is not None
            _close(branch.A.grad[0], numbers["lora.grad.A"], 1e-6)
            _close(branch.B.grad[0], numbers["lora.grad.B"], 1e-6)
        optimiser.step()
        if step != 2:
            _close(branch.A[0], numbers[f"lora.step{step}.A"], 1e-6)
            _close(branch.B[0], numbers[f"lora.step{step}.B"], 1e-6)


# --- Laplace-LoRA ---


class _Classifier(nn.Module):
    def __init__(self, numbers: dict[str, Tensor]) -> None:
        super().__init__()
        self.base = _linear(numbers["base.weight"], numbers["base.bias"])
        self.head = _linear(numbers["head.weight"], numbers["head.bias"])

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.base(x).tanh())  # type: ignore[no-any-return]


def _laplace(numbers: dict[str, Tensor], replicas: int = 1) -> tuple[nn.Module, Laplace]:
    options: dict[str, Any] = {"targets": (), "patterns": ("base",), "replicas": replicas}
    model = adapt(_Classifier(numbers), AdapterConfig("lora", 2, 1.0, "alpha/sqrt(r)", **options)).eval()
    branch = cast(LoRA, adapted_modules(model)["base.linear"])
    for r in range(replicas):
        branch.A.data[r], branch.B.data[r] = (1 + r) * numbers["A"], numbers["B"]
    return model, Laplace(model, lambda x: model(x).view(replicas, -1, 5))


def _relative(found: Tensor, expected: Tensor) -> None:
    assert ((found.double() - expected.double()).norm() / expected.double().norm()).item() < 1e-4


def test_laplace_lora() -> None:
    numbers = _official("laplace_lora")
    _, laplace = _laplace(numbers)
    laplace.fit((numbers["x"][i : i + 8], numbers["y"][None, i : i + 8]) for i in range(0, 40, 8))
    for key, (inner, outer) in {"A": ("input", "output"), "B": ("input", "output")}.items():
        spectrum = laplace._spectra["base.linear", key]
        turned = spectrum.inner_vectors @ (spectrum.inner[..., None] * spectrum.inner_vectors.mT)
        _relative(turned[0], numbers[f"factor.{key}.{inner}"])
        turned = spectrum.outer_vectors @ (spectrum.outer[..., None] * spectrum.outer_vectors.mT)
        _relative(turned[0], numbers[f"factor.{key}.{outer}"])
    one = torch.ones(1, dtype=torch.float64)
    _relative(laplace.log_likelihood[0], numbers["log_likelihood"])
    _relative(laplace.log_det_ratio(one)[0], numbers["log_det_ratio.1"])
    _relative(laplace._squares[0], numbers["scatter.1"])
    _relative(laplace.log_evidence(one)[0], numbers["log_marginal_likelihood.1"])
    mean, covariance = laplace.predict(numbers["x_test"])
    _relative(mean[0], numbers["mean"])
    _relative(mean.softmax(-1)[0], numbers["probability.map"])
    _relative(covariance[0], numbers["variance.1"])
    _relative(laplace.fit_precision(), numbers["prior_precision.best"])
    _relative(laplace.log_evidence(laplace.precision)[0], numbers["log_marginal_likelihood.best"])
    mean, covariance = laplace.predict(numbers["x_test"])
    _relative(covariance[0], numbers["variance.best"])
    _relative(probit_probabilities(mean, covariance)[0], numbers["probability.probit"])
    _relative(probabilities(mean, covariance, noise=numbers["epsilon"][:, None])[0], numbers["probability.mc"])


def test_laplace_of_two_replicas_is_that_of_two_models() -> None:
    numbers = _official("laplace_lora")
    x, y = numbers["x"], numbers["y"]
    _, joint = _laplace(numbers, replicas=2)
    joint.fit([(torch.cat([x, x.flip(0)]), torch.stack([y, y.flip(0)]))]).fit_precision()
    for r, (inputs, labels) in enumerate(((x, y), (x.flip(0), y.flip(0)))):
        model, single = _laplace(numbers)
        branch = cast(LoRA, adapted_modules(model)["base.linear"])
        branch.A.data[0] = (1 + r) * numbers["A"]
        single = Laplace(model, lambda x, model=model: model(x)[None])  # type: ignore[misc]
        single.fit([(inputs, labels[None])]).fit_precision()
        _relative(joint.precision[r], single.precision[0])
        both = joint.predict(torch.cat([numbers["x_test"]] * 2))[1][r]
        _relative(both, single.predict(numbers["x_test"])[1][0])
