"""Several seeds in one pass against one pass per seed; features computed once against images every time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clipbench.engine import checkpoint
from clipbench.engine.batches.views import EpochPlan, flipped_batches
from clipbench.engine.checkpoint import code_digest
from clipbench.engine.loop import Hooks, Loop, State
from clipbench.engine.tasks.classification import Classification
from clipbench.engine.tasks.head import LinearHead
from clipbench.engine.tasks.task import Parts, Task
from clipbench.errors import UserError
from clipbench.methods.base import Method, Setting
from clipbench.registry import Protocol
from tests.engine.passes_for_tests import curve, place, planned, predictions, run_planned

SEEDS = (1, 2, 3)
DORA = {
    "method": "dora", "detach_norm": True, "dora_dropout": "official", "norm_axis": "output", "decay_magnitude": True,
}  # fmt: skip
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "linear-probe": ("linear-probe", {}),
    "linear-probe, dropout": ("linear-probe", {"head_dropout": 0.3}),
    "lora": ("lora-r4", {}),
    "lora, dropout": ("lora-r4", {"adapter_dropout": 0.25, "head_dropout": 0.1}),
    "dora": ("lora-r4", DORA),
    "dora, dropout": ("lora-r4", DORA | {"adapter_dropout": 0.25}),
}


@pytest.mark.parametrize("case", CASES)
def test_three_seeds_in_one_pass_are_three_passes(case: str, tmp_path: Path) -> None:
    """Predictions equal; losses to 1e-6 (the sums inside matrix products may be taken in another order)."""
    row, fields = CASES[case]
    together = run_planned(planned(row, SEEDS, **fields), place(tmp_path)).drafts
    assert [d.record.seed for d in together] == list(SEEDS)
    for seed, draft in zip(SEEDS, together, strict=True):
        (alone,) = run_planned(planned(row, (seed,), **fields), place(tmp_path)).drafts
        assert draft.record.id == alone.record.id
        np.testing.assert_allclose(curve(draft), curve(alone), rtol=1e-6)
        np.testing.assert_array_equal(predictions(draft), predictions(alone))
        assert draft.record.data == alone.record.data
        assert draft.record.model == alone.record.model
        assert draft.record.metrics == pytest.approx(alone.record.metrics, rel=1e-6)
    losses = [curve(draft)[-1][0] for draft in together]
    assert len(set(losses)) == 3  # the seeds do differ


@pytest.mark.parametrize("case", ["lora, dropout", "dora, dropout"])
def test_dropout_makes_a_difference(case: str, tmp_path: Path) -> None:
    row, fields = CASES[case]
    without = fields | {"adapter_dropout": 0.0, "head_dropout": 0.0}
    (one,), (other,) = (run_planned(planned(row, (1,), **f), place(tmp_path)).drafts for f in (fields, without))
    assert curve(one)[0][0] != pytest.approx(curve(other)[0][0], rel=1e-4)


@pytest.mark.parametrize("flips", [{}, {"flip_mode": "joint"}, {"vflip": 0.0}])
def test_features_computed_once_give_what_images_give(
    flips: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bank,) = run_planned(planned("linear-probe", (1,), **flips), place(tmp_path)).drafts
    monkeypatch.setattr(Classification, "_features_once", lambda *_, **__: None)
    (plain,) = run_planned(planned("linear-probe", (1,), **flips), place(tmp_path)).drafts
    np.testing.assert_allclose(curve(bank), curve(plain), rtol=1e-5)
    np.testing.assert_array_equal(predictions(bank), predictions(plain))
    assert bank.record.model == plain.record.model


class _Plain(Method):
    """A method without a model: what it keeps of class features does not matter here."""

    def train(self, mode: bool = True) -> Method:
        return torch.nn.Module.train(self, mode)


class _Numbers(Task):
    """A linear head on made-up features."""

    score, rows = "accuracy", 100

    def __init__(self, head: LinearHead, labels: torch.Tensor, protocol: Protocol) -> None:
        super().__init__()
        self.head, self.method, self._labels, self._protocol = head, _Plain(), labels, protocol
        self._features = torch.randn(len(labels), 6, generator=torch.Generator().manual_seed(0))

    def train_batches(self, seeds: Sequence[int], epochs: Iterable[EpochPlan]) -> Iterator[torch.Tensor]:
        return flipped_batches(lambda index, _: self._features[index], self._protocol, seeds, epochs)

    def inputs(self, index: torch.Tensor, part: str, epoch: int) -> torch.Tensor:  # noqa: ARG002
        return self._features[index.flatten()]

    def truth(self, index: torch.Tensor) -> torch.Tensor:
        return self._labels[index]

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(inputs)
        return logits

    def losses(self, inputs: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        return self.method.loss(self(inputs), truth)

    def outputs(self, logits: torch.Tensor, truth: torch.Tensor) -> dict[str, torch.Tensor]:  # noqa: ARG002
        return {"predictions": logits.argmax(dim=-1)}

    def scores(self, outputs: Any, index: torch.Tensor) -> list[float]:
        right = (outputs["predictions"] == self._labels[index]).double()
        return [100.0 * share for share in right.mean(dim=1).tolist()]

    def start_epoch(self, seeds: Sequence[int], epoch: int) -> None:
        self.head.start_epoch(seeds, epoch)

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": list(self.head.parameters()), "weight_decay": 0.01}]


def _train(seeds: tuple[int, ...], spoil: int | None = None) -> State:
    protocol = Protocol(
        head_bias=True, head_init="torch-linear", head_dropout=0.0, lr=0.1, lr_min=0.0, schedule="cosine",
        schedule_step="step", optimiser="adamw", betas=(0.9, 0.999), eps=1e-8, epochs=3, batch_size=5, drop_last=False,
        precision="fp32", hflip=0.0, vflip=0.0, tested="every-epoch", selection="last",
    )  # fmt: skip
    head = LinearHead(seeds, 4, 6, protocol)
    if spoil is not None:
        with torch.no_grad():
            head.weight[seeds.index(spoil), 0, 0] = float("nan")
    train = torch.stack([torch.arange(0, 18)] * len(seeds))
    test = torch.stack([torch.arange(18, 30)] * len(seeds))
    labels = torch.arange(30) % 4
    loop = Loop(_Numbers(head, labels, protocol), Parts(train, test, labels), protocol, seeds, torch.device("cpu"))
    return loop.run(State(), Hooks(lambda _: None, lambda _: None))


def test_a_seed_that_goes_astray_takes_no_other_with_it() -> None:
    found, due = _train((1, 2, 3), spoil=2), _train((1, 3))
    for lines, expected in zip(found.history, due.history, strict=True):
        assert not np.isfinite(lines[1].train_loss)
        for ours, theirs in ((lines[0], expected[0]), (lines[2], expected[1])):
            assert ours.train_loss == pytest.approx(theirs.train_loss, rel=1e-6)
            assert ours.accuracy == theirs.accuracy


class _Shared(Method):
    """Says that seeds may share a pass, but trains one vector for all of them."""

    seed_axis = True

    def setup(self, setting: Setting) -> None:
        super().setup(setting)
        self.vector = torch.nn.Parameter(torch.zeros(7))

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        return super().logits(features) + 0.0 * self.vector.sum()


def test_what_seeds_would_share_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clipbench.engine.tasks.classification.method_of", lambda _: _Shared())
    with pytest.raises(UserError, match=r"trains method.vector of shape \(7,\) with 2 seeds in one pass"):
        run_planned(planned("lora-r4", (1, 2)), place(tmp_path))
    assert run_planned(planned("lora-r4", (1,)), place(tmp_path)).drafts


def test_a_checkpoint_belongs_to_the_very_code_that_wrote_it() -> None:
    """An installed copy has no commit, and every uncommitted change has the same."""
    digest = code_digest()
    assert len(digest) == 64
    root = Path(checkpoint.__file__).parents[1]
    read = Path.read_bytes
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "read_bytes", lambda p: read(p) + (b"#" if p == root / "registry" / "budget.py" else b""))
        assert code_digest.__wrapped__() != digest
    assert code_digest.__wrapped__() == digest
