"""CoOp, CoCoOp, KgCoOp, ProGrad and PLOT++ as runs: seeds together or alone, resumed or not, and what they count."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from clipbench.engine.outcome import Outcome
from clipbench.errors import UserError
from clipbench.methods import method as method_of
from clipbench.methods.base import Method, Setting
from clipbench.methods.cocoop import CoCoOp
from clipbench.methods.plotpp import PLOTpp
from clipbench.models.image_text import ImageText
from clipbench.plan.select import make_plan
from clipbench.registry import Overrides, Protocol
from tests.engine.few_shot_for_tests import step_losses
from tests.engine.passes_for_tests import CPU, place, predictions, run_planned
from tests.factory import protocol_of
from tests.parity.official_clip import images, made, protocol

ROWS = ("coop-4", "coop-16", "cocoop", "kgcoop", "prograd", "plotpp")
FIELDS = {"epochs": 3, "limit": 2, "lr": 2e-2}
"""EuroSAT at one shot: ten images, which are one batch, though batches of less than 32 are dropped."""


PLAIN = "plotpp, plain views"
MORE = {"cocoop": {"batch_size": 5}, PLAIN: {"train_transform": "resize-centre-crop"}}


def run(name: str, seeds: tuple[int, ...], folder: Path, **more: object) -> Outcome:
    row, fields = name.partition(",")[0], {**FIELDS, **MORE.get(name, {})}
    plan = make_plan(["fewshot"], Overrides("smoke", fields=fields), [f"row={row}-1shot", "dataset=eurosat"], seeds)
    return run_planned(list(plan.runs), place(folder, **more))


class PowerError(Exception):
    """The power went."""


def _after(calls: int) -> Callable[[int], None]:
    left = [calls]

    def advance(images: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise PowerError

    return advance


STEPS = {"cocoop": 5, PLAIN: 5}
"""Steps after which a run is interrupted; PLOT++ is in its second stage after three."""


@pytest.mark.parametrize("row", [*ROWS, PLAIN])
def test_seeds_together_or_alone_interrupted_or_not(row: str, tmp_path: Path) -> None:
    """Alone: losses of every step to 1e-5, predictions equal. Resumed: to the bit.

    PLOT++'s first stage trains on seed 1, which is neither.
    """
    together = run(row, (2, 3), tmp_path).drafts
    (alone,) = run(row, (3,), tmp_path).drafts
    np.testing.assert_allclose(step_losses(together[1]), step_losses(alone), rtol=1e-5)
    np.testing.assert_array_equal(predictions(together[1]), predictions(alone))
    assert together[1].record.model == alone.record.model
    assert not np.allclose(*(step_losses(draft)[-1] for draft in together), rtol=1e-4)
    with pytest.raises(PowerError):
        run(row, (2, 3), tmp_path, checkpoint_seconds=0.0, advance=_after(STEPS.get(row, 2)))
    assert list((tmp_path / "checkpoints").glob("*.pt"))
    for draft, due in zip(run(row, (2, 3), tmp_path).drafts, together, strict=True):
        np.testing.assert_array_equal(step_losses(draft), step_losses(due))
        np.testing.assert_array_equal(predictions(draft), predictions(due))
        assert [line.stage for line in draft.record.history] == [line.stage for line in due.record.history]


COUNTS = {"coop-4": 2048, "coop-16": 8192, "cocoop": 35360, "kgcoop": 2048, "prograd": 8192}


@pytest.fixture(scope="module")
def vit_b16() -> ImageText:
    from clipbench.models.image_text import load_image_text

    return load_image_text("ViT-B-16-quickgelu", "random")


@pytest.mark.parametrize("row", ROWS)
def test_trained_values_of_one_run_on_a_vit_b16(row: str, vit_b16: ImageText) -> None:
    for column, plot in (("caltech101", 14336), ("eurosat", 16384), ("ucf101", 18432)):
        p = protocol_of("clip-dora/table1", f"{row}-4shot", column)
        method = method_of(p.need("method"))
        method.setup(Setting(vit_b16, ["cat", "dog"], p.need("template"), p, (1,), CPU))
        method.new_stage(method.stages - 1)
        assert sum(x.numel() for x in method.trained()) == COUNTS.get(row, plot)


def cocoop() -> CoCoOp:
    method = made(protocol("cocoop-1shot", "caltech101"), ["sea or lake", "747-400", "cat"])
    assert isinstance(method, CoCoOp)
    return method


def test_cocoop_in_pieces_is_cocoop_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logits and gradients of 12 images, encoded three, one or all at a time, to 1e-5 of themselves."""
    found = []
    for tokens in (3 * 3 * 15, 1, 1 << 20):
        monkeypatch.setattr("clipbench.methods.cocoop._TOKENS_AT_ONCE", tokens)
        torch.manual_seed(0)
        method = cocoop()
        logits = method.logits(method.image_features(images()))
        logits.square().mean().backward()
        with torch.no_grad():
            assert torch.allclose(method.eval().logits(method.image_features(images())), logits, rtol=1e-5, atol=1e-4)
        found.append([logits.detach(), *(p.grad for p in method.trained() if p.grad is not None)])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            assert float((a - b).abs().max()) <= 1e-5 * float(b.abs().max())


def test_plans_move_all_mass_and_end_run_by_run() -> None:
    """Marginals are uniform; a run that needs more iterations leaves the other as it is by itself."""
    method = made(protocol("plotpp-1shot", "caltech101", transport_tolerance=1e-6), ["cat", "dog"])
    assert isinstance(method, PLOTpp)
    generator = torch.Generator().manual_seed(0)
    easy, hard = (0.2 + spread * torch.randn(1, 5, 2, 4, 4, generator=generator) for spread in (0.01, 0.2))
    both = method.plan(torch.cat([easy, hard]))
    torch.testing.assert_close(both.sum(dim=(-2, -1)), torch.ones(2, 5, 2), rtol=0.0, atol=1e-4)
    torch.testing.assert_close(both.sum(dim=-2), torch.full((2, 5, 2, 4), 0.25), rtol=0.0, atol=1e-4)
    torch.testing.assert_close(both[:1], method.plan(easy), rtol=0.0, atol=0.0)
    torch.testing.assert_close(both[1:], method.plan(hard), rtol=0.0, atol=0.0)


@pytest.mark.parametrize(
    ("row", "fields", "says"),
    [
        ("coop-4", {"context_init": "this is a photo of a"}, "has 6 words, but context_tokens is 4"),
        ("prograd", {"teacher_template": "a b c d e f g h i j k l m n o p q {}."}, "set context_tokens=17 or more"),
    ],
)
def test_words_that_do_not_fit_are_refused(row: str, fields: dict[str, str], says: str) -> None:
    with pytest.raises(UserError, match=says):
        made(protocol(f"{row}-1shot", "caltech101", **fields), ["cat"])


def test_template_with_underscores_and_commas() -> None:
    """Words are counted by blanks: of eight words in nine tokens the last token stays in front of the name."""
    words = "a_type_of_pet,_a_photo_of"
    method = made(protocol("coop-4-1shot", "caltech101", context_init=words, context_tokens=7), ["cat"])
    assert method.texts() == ["a type of pet, a photo of cat."]
    assert method.get_parameter("context").shape == (1, 7, 64)
    assert Protocol.of({"template": "{}."}).template == "{}."
    assert isinstance(method, Method)
