"""Methods of one's own as people write them: each fault is one clear paragraph, and the other runs go on."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from clipbench.cli.main import main
from clipbench.methods.fault import ExitError, refused_exits
from tests.cli.commands_for_tests import Captured, call

FEW = ["--backbone", "clipbench-tiny", "--precision", "fp32", "--seeds", "1", "--only", "row=*-clip-dora-1shot"]
SHIFT = """
import os, torch
from torch import nn
from clipbench.methods.base import Method

class Sound(Method):
    protocol = {"steps_per_shot": 2}
    seed_axis = True
    def setup(self, setting):
        super().setup(setting)
        self.shift = nn.Parameter(torch.zeros(len(setting.seeds), 1, setting.model.width))
    def logits(self, features):
        rows = features.view(len(self.shift), -1, features.shape[-1])
        return super().logits((rows + self.shift).flatten(0, 1))

class Ours(BaseException):
    pass
"""
REAL = "expected are real numbers [R, B, C] = [1, B, 2]: one row per seed and image, one column per class."
FAULTS = {
    "return super().logits(f).to(torch.complex64)": f"type torch.complex64; {REAL}",
    "return super().logits(f).long()": f"type torch.int64; {REAL}",
    "return super().logits(f)[0]": f"gives logits of shape [2, 2] and type torch.float32; {REAL}",
    "return super().logits(f), 1": f"gives a tuple as logits; {REAL}",
    "return super().logits(f).detach()": "has no gradient: nothing that it trains is part of it.",
    "return Method.logits(self, f)": "has no gradient: nothing that it trains is part of it.",
    "return super().logits(f) * (1 if self.training else float('nan'))": "no numbers for 4 of 4 test images;",
    "return super().logits(f) + (0 if self.training else float('inf'))": "no numbers for 4 of 4 test images;",
    "os._exit(0)": "failed: ExitError: it calls os._exit(0), which would end the other runs of this command too, at ",
    "raise SystemExit(0)": "failed: SystemExit: 0, at ",
    "raise GeneratorExit": "failed: GeneratorExit, at ",
    "raise Ours('mine')": "failed: Ours: mine, at ",
    "return self.logits(f)": "failed: RecursionError: maximum recursion depth exceeded",
}
OTHERS = {
    "def loss(self, logits, truth): return super().loss(logits, truth).sum()": "gives [] of torch.float32 for the loss",
    "def loss(self, logits, truth): return None": "gives NoneType for the loss; expected are real numbers [R] = [1]",
    "def setup(self, setting): self.x = nn.Parameter(torch.zeros(1))": "must begin with super().setup(setting).",
    "def parameter_groups(self): return []": "hands nothing to the optimiser: its parameter_groups have no parameters",
    "def setup(self, setting): super(Sound, self).setup(setting)": "leaves nothing to train, but its protocol asks for",
}


def test_a_fault_of_a_method_fails_its_run_alone(
    capsys: Captured, my: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them in one command: as many sentences, and the one sound method's record."""
    bodies = {f"def logits(self, f): {body}": says for body, says in FAULTS.items()} | OTHERS
    kinds = [f"class Faulty{number}(Sound):\n    {body}\n" for number, body in enumerate(bodies)]
    (tmp_path / "faulty_methods.py").write_text(SHIFT + "\n".join(kinds))
    monkeypatch.chdir(tmp_path)
    names = ["Sound", *(f"Faulty{number}" for number in range(len(bodies)))]
    methods = [word for name in names for word in ("--method", f"faulty_methods.py:{name}")]
    words = ("run", "fewshot", "--dataset-dir", my, *methods, *FEW, "--out", tmp_path, "--json")
    code, said, err = call(capsys, *words)
    assert code == 1, err
    summary = json.loads(said[said.index("{") :])
    assert len(summary["made"]) == 1
    reasons = list(summary["failed"].values())
    assert [says for says, reason in zip(bodies.values(), reasons, strict=True) if says not in reason] == [], reasons
    assert not [reason for reason in reasons if "\n" in reason]


def test_the_class_of_all_methods_is_no_method(capsys: Captured, my: Path, tmp_path: Path) -> None:
    words = ("--method", "clipbench.methods.base:Method", *FEW, "--out", tmp_path)
    code, _, err = call(capsys, "run", "fewshot", "--dataset-dir", my, *words)
    assert code == 2
    assert "that is the class of all methods; derive one of your own from it." in err


def test_a_forked_process_may_end_and_the_function_comes_back() -> None:
    leave = os._exit
    with refused_exits():
        if not (child := os.fork()):
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        with pytest.raises(ExitError):
            os._exit(0)
    assert os._exit is leave


def test_a_method_that_trains_needs_a_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A CLIP-LoRA at 0 shots was a finished run of untouched adapters."""
    words = ["--only", "row=clip-lora-1shot,dataset=dtd", "--set", "shots=0", "--seeds", "1", "--out", str(tmp_path)]
    assert main(["run", "fewshot", "--smoke", *words]) == 1
    assert "is to train and has no step to do it in" in " ".join(capsys.readouterr().out.split())
    assert not list(tmp_path.rglob("record.json"))
