"""Compiled blocks: the numbers of the blocks as they stand, and one sentence where nothing can be compiled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters

from clipbench.adapters import AdapterConfig, adapt, set_dropout_seeds
from clipbench.cli.main import main
from clipbench.errors import UserError
from clipbench.launch.launcher import Options
from clipbench.models import TINY, compiled
from clipbench.models.compiled import compiled_blocks, require_compiler
from clipbench.models.image_text import load_image_text
from clipbench.results.store import Store
from tests.adapters.models import gradients, perturb, relative

CPU = torch.device("cpu")
NAMES = ("a forest", "a river", "a beach", "an airport")


def _numbers(*, asked: bool, kind: Any, towers: Any, whole: bool = True) -> list[Tensor]:
    """Logits of two seeds in one pass, and the gradients of all adapters.

    Not `whole`: blocks of the vision tower alone, whose first one's input has a gradient as the others' have: one code.
    """
    model = load_image_text(TINY, "embedded")
    config = AdapterConfig(kind, 2, towers=towers, replicas=2, init_seeds=(0, 1), dropout=0.25)
    perturb(adapt(model.module, config)).train()
    set_dropout_seeds(model.module, (1, 2))
    side = model.image_size
    images = torch.randn(6, 3, side, side, generator=torch.Generator().manual_seed(0)).requires_grad_(not whole)
    with compiled_blocks(model.module if whole else model.module.get_submodule("visual"), asked=asked):
        features = model.encode_image(images).unflatten(0, (2, 3))
        logits = features @ model.encode_text(model.prompts(NAMES), replicas=2).mT
        (logits * torch.linspace(-1.0, 1.0, len(NAMES))).sum().backward()  # type: ignore[no-untyped-call]
    return [logits.detach(), *gradients(model.module)]


def _check(kind: str, towers: str, graphs: int, *, whole: bool) -> None:
    torch._dynamo.reset()
    counters.clear()
    expected = _numbers(asked=False, kind=kind, towers=towers, whole=whole)
    assert not counters["stats"]["unique_graphs"]
    found = _numbers(asked=True, kind=kind, towers=towers, whole=whole)
    assert counters["stats"]["unique_graphs"] == graphs
    assert all(relative(a, b) < 1e-5 for a, b in zip(found, expected, strict=True))


def test_logits_and_gradients_are_those_of_the_plain_blocks() -> None:
    """By the real compiler, which takes its time for each of the codes."""
    require_compiler(CPU)
    _check("dora", "vision", 1, whole=False)


def test_the_captured_graphs_of_both_towers_compute_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the writing of C++; the first block of an adapted tower has an input without a gradient."""
    monkeypatch.setattr(compiled, "_BACKEND", "aot_eager")
    _check("lora", "both", 4, whole=True)


def test_a_run_with_compiled_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch._dynamo.reset()
    monkeypatch.setattr(compiled, "_BACKEND", "eager")
    asked = ["run", "table1", "--smoke", "--only", "dataset=ucm,row=lora-r4", "--seeds", "1", "--set", "limit=2"]
    losses = []
    for words in ([], ["--compile"]):
        out = tmp_path / "-".join(["out", *words])
        assert main([*asked, "--epochs", "1", *words, "--out", str(out)]) == 0
        ((record,), faults) = Store(out / "results").scan()
        assert not faults
        assert record.environment.compiled == bool(words)
        losses.append([line.train_loss for line in record.history])
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


@pytest.mark.parametrize(
    ("device", "sentence"),
    [("cpu", "needs a C\\+\\+ compiler on a CPU, and no-such-compiler is not on the PATH"), ("cuda", "triton")],
)
def test_no_compiler(device: str, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(compiled, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=sentence):
        require_compiler(torch.device(device))


def test_a_model_without_blocks() -> None:
    with pytest.raises(UserError, match="this Linear has none"), compiled_blocks(nn.Linear(2, 2), asked=True):
        pass


def test_a_compiler_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(graph: object, inputs: object) -> object:
        raise ValueError("it knows no such chip")

    torch._dynamo.reset()
    monkeypatch.setattr(compiled, "_BACKEND", broken)
    with pytest.raises(UserError, match=r"cannot compile this model .*no such chip.*leave --compile out"):
        _numbers(asked=True, kind="lora", towers="vision")


def test_a_compiler_chooses_for_itself() -> None:
    with pytest.raises(UserError, match="exclude each other"):
        Options(compiled=True, products="onednn")
