"""The image-text task against plain open_clip, and training against CLIP-LoRA's and CLIP-DoRA's loop by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch

from clipbench.data.load import image_set
from clipbench.data.splits import split
from clipbench.engine.batches import features
from clipbench.models.clip import build
from clipbench.models.tiny import load_tiny
from clipbench.models.weights.sources import Sources, named_config
from clipbench.results.store import Draft
from tests.engine.few_shot_for_tests import TEST_VIEW, PlainRun, few_shot, step_losses
from tests.engine.passes_for_tests import check_resuming, place, predictions, run_planned

SEEDS = (1, 2, 3)
DROPOUT = {"adapter_dropout": 0.25}


def test_zero_shot_is_plain_open_clip(tmp_path: Path) -> None:
    """Predictions equal: 77 tokens, both towers' own encode functions, cosine x 100."""
    from PIL import Image

    (run,) = few_shot("zero-shot")
    (draft,) = run_planned([run], place(tmp_path)).drafts
    images = image_set(run.run.protocol, tmp_path)
    parts = split(images, run.run.protocol, 1)
    model = load_tiny()
    with torch.no_grad():
        pictures = [TEST_VIEW(Image.open(images.root / images.files[i]).convert("RGB")) for i in parts.test]
        prompts = open_clip.tokenize([f"a photo of a {name}." for name in images.prompt_names], 77)
        image = model.encode_image(torch.stack(pictures), normalize=True)
        logits = 100 * image @ model.encode_text(prompts, normalize=True).T
    assert predictions(draft).tolist() == logits.argmax(dim=1).tolist()
    right = logits.argmax(dim=1) == torch.tensor([images.labels[i] for i in parts.test])
    assert draft.record.metrics["accuracy"] == pytest.approx(100 * right.double().mean().item())
    assert len(set(predictions(draft).tolist())) > 3  # it tells images apart, so equality says something
    assert draft.record.history[-1].train_loss is None


RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "lora": ("clip-lora-1shot", {}),
    "lora, short last batch": ("clip-lora-1shot", {"batch_size": 3}),
    "lora, 4 shots": ("clip-lora-4shot", {"steps_per_shot": 3}),
    "lora, alpha/r": ("clip-lora-1shot", {"scaling": "alpha/r"}),
    "dora": ("clip-dora-1shot", {}),
    "dora, a magnitude per input": ("clip-dora-1shot", {"norm_axis": "input"}),
    "dora, magnitudes spared": ("clip-dora-1shot", {"decay_magnitude": False, "weight_decay": 5.0}),
    "dora, magnitudes decayed": ("clip-dora-1shot", {"decay_magnitude": True, "weight_decay": 5.0}),
}


@pytest.mark.parametrize("case", RUNS)
def test_training_is_the_loop_as_anyone_would_write_it(case: str, tmp_path: Path) -> None:
    """Loss of every step to 1e-4 at first and 1e-3 at the end (Adam amplifies last bits); predictions equal."""
    row, fields = RUNS[case]
    (run,) = few_shot(row, (3,), adapter_dropout=0.0, lr=2e-3, **({"steps_per_shot": 12} | fields))
    (draft,) = run_planned([run], place(tmp_path)).drafts
    plain = PlainRun(run.run.protocol, 3, tmp_path)
    due, found = plain.train(), step_losses(draft)
    assert len(found) == len(due) == 12
    np.testing.assert_allclose(found[:4], due[:4], rtol=1e-4)
    np.testing.assert_allclose(found, due, rtol=1e-3)
    assert predictions(draft).tolist() == plain.predictions()


def test_sparing_the_magnitudes_makes_a_difference(tmp_path: Path) -> None:
    last = []
    for decayed in (True, False):
        fields = {"decay_magnitude": decayed, "weight_decay": 5.0, "adapter_dropout": 0.0}
        (draft,) = run_planned(few_shot("clip-dora-1shot", (1,), **fields), place(tmp_path)).drafts
        last.append(step_losses(draft))
    assert last[0][0] == last[1][0]
    assert last[0][-1] != pytest.approx(last[1][-1], rel=1e-4)


@pytest.mark.parametrize("row", ["clip-lora-1shot", "clip-dora-1shot", "linear-probe-1shot"])
def test_three_seeds_in_one_pass_are_three_passes(row: str, tmp_path: Path) -> None:
    """Losses to 1e-5 of separate runs, predictions equal, with dropout in both towers."""
    fields = {} if row.startswith("linear") else DROPOUT
    together = run_planned(few_shot(row, SEEDS, **fields), place(tmp_path)).drafts
    for seed, draft in zip(SEEDS, together, strict=True):
        (alone,) = run_planned(few_shot(row, (seed,), **fields), place(tmp_path)).drafts
        assert draft.record.id == alone.record.id
        assert draft.record.data == alone.record.data
        assert draft.record.model == alone.record.model
        np.testing.assert_allclose(step_losses(draft), step_losses(alone), rtol=1e-5)
        np.testing.assert_array_equal(predictions(draft), predictions(alone))
    assert len({step_losses(draft)[-1] for draft in together}) == 3  # the seeds do differ


@pytest.mark.parametrize("row", ["clip-lora-1shot", "clip-dora-1shot"])
def test_dropout_reaches_both_towers(row: str, tmp_path: Path) -> None:
    losses = [
        step_losses(run_planned(few_shot(row, towers=towers, adapter_dropout=rate), place(tmp_path)).drafts[0])
        for towers in ("vision", "text")
        for rate in (0.0, 0.25)
    ]
    assert all(loss[0] == pytest.approx(losses[0][0], rel=1e-5) for loss in losses)  # B is zero yet
    assert losses[0][-1] != pytest.approx(losses[1][-1], rel=1e-4)
    assert losses[2][-1] != pytest.approx(losses[3][-1], rel=1e-4)


@pytest.mark.parametrize("row", ["clip-lora-1shot", "clip-dora-1shot", "linear-probe-1shot"])
def test_resumed_is_uninterrupted_bit_for_bit(row: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_resuming(
        few_shot(row, (1, 2), **({} if row.startswith("linear") else DROPOUT), batch_size=3), tmp_path, monkeypatch
    )


def test_a_set_smaller_than_a_batch_is_one_batch(tmp_path: Path) -> None:
    """Eight images and batches of 32 (EuroSAT has ten at one shot): every step sees them all, as CLIP-LoRA's loader."""
    draft, sizes = _batch_sizes(tmp_path, batch_size=32)
    assert sizes == [draft.record.data.train_images] * 6
    assert len(step_losses(draft)) == 6


def test_the_last_batch_is_kept_and_training_ends_within_an_epoch(tmp_path: Path) -> None:
    draft, sizes = _batch_sizes(tmp_path, batch_size=4, steps_per_shot=8)
    whole, rest = divmod(draft.record.data.train_images, 4)
    assert rest
    assert sizes == ([*[4] * whole, rest] * 8)[:8]
    assert draft.record.history[-1].step == 8


def _batch_sizes(folder: Path, **fields: Any) -> tuple[Draft, list[int]]:
    """A pass, and the images of every training step."""
    sizes = list[int]()
    (draft,) = run_planned(few_shot(**fields), place(folder, advance=sizes.append)).drafts
    return draft, sizes[: len(step_losses(draft))]


def _encoded(
    row: str, folder: Path, monkeypatch: pytest.MonkeyPatch, seeds: Sequence[int] = (1,), sources: Sources | None = None
) -> tuple[Draft, int]:
    """A pass, and how many images went through the tower."""
    fields = {} if sources is None else {"backbone": named_config(str(sources.config))[1], "weights": "sha256:w"}
    with monkeypatch.context() as patch:
        counted = [0]
        encode = features.Images.batch

        def batch(self: Any, index: torch.Tensor, view: torch.Tensor | None = None) -> torch.Tensor:
            counted[0] += len(index)
            return encode(self, index, view)

        patch.setattr(features.Images, "batch", batch)
        context = replace(place(folder), sources=sources or Sources())
        (draft,) = run_planned(few_shot(row, seeds, **fields), context).drafts
    return draft, counted[0]


@pytest.mark.parametrize("row", ["zero-shot", "linear-probe-1shot"])
def test_frozen_features_are_reused_from_disk(row: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPBENCH_CACHE", str(tmp_path / "cache"))
    first, once = _encoded(row, tmp_path, monkeypatch)
    files = sorted((tmp_path / "cache" / "features").iterdir())
    assert once > 0
    assert files
    again, twice = _encoded(row, tmp_path, monkeypatch)
    assert twice == 0
    assert again.files == first.files
    assert again.record.metrics == first.record.metrics
    files[0].write_bytes(files[0].read_bytes()[:-50])  # torn by a crash
    third, some = _encoded(row, tmp_path, monkeypatch)
    assert 0 < some <= once
    assert third.files == first.files
    assert sorted((tmp_path / "cache" / "features").iterdir()) == files
    assert _encoded(row, tmp_path, monkeypatch)[1] == 0  # mended


@pytest.mark.parametrize("changed", [{"quick_gelu": True}, {"vision_cfg": {"head_width": 8}}])
def test_features_of_another_network_with_the_same_tensors_are_not_reused(
    changed: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever follows the warning of a missing activation runs the same file under another configuration."""
    monkeypatch.setenv("CLIPBENCH_CACHE", str(tmp_path / "cache"))
    vision = {"image_size": 64, "layers": 2, "width": 32, "patch_size": 16, "head_width": 16}
    config = {"embed_dim": 32, "vision_cfg": vision, "text_cfg": {"width": 32, "heads": 2, "layers": 1}}
    torch.save(build(config, "one").state_dict(), tmp_path / "w.pt")
    other = {**config, **changed, "vision_cfg": {**vision, **changed.get("vision_cfg", {})}}
    encoded = []
    for name, content in (("one", config), ("other", other), ("other", other)):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(content))
        sources = Sources(path, tmp_path / "w.pt")
        encoded.append(_encoded("zero-shot", tmp_path, monkeypatch, sources=sources)[1] > 0)
    assert encoded == [True, True, False]


def test_zero_shot_and_probe_share_their_test_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPBENCH_CACHE", str(tmp_path / "cache"))
    zero, tested = _encoded("zero-shot", tmp_path, monkeypatch)
    _, more = _encoded("linear-probe-1shot", tmp_path, monkeypatch)
    _, afresh = _encoded("zero-shot", tmp_path, monkeypatch)
    assert tested == zero.record.data.test_images
    assert afresh == 0
    assert more > 0
