"""Which classes have a prompt, in which column their logits stand, and a pass with ODG-CLIP's classes."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clipbench.data.catalogue import entry
from clipbench.data.images import ImageSet
from clipbench.data.load import image_set
from clipbench.data.splits import split
from clipbench.engine.tasks.prompts import Prompts, check_told_apart, prompts_of
from clipbench.errors import UserError
from clipbench.methods.base import Setting
from clipbench.methods.zero_shot import ZeroShot
from clipbench.models.image_text import load_image_text
from clipbench.models.tiny import load_tiny
from clipbench.plan.select import make_plan
from clipbench.registry import Overrides, Protocol
from tests.engine.few_shot_for_tests import TEST_VIEW
from tests.engine.passes_for_tests import place, run_planned

BENCHMARKS = {"pacs": (7, 6), "officehome": (65, 54), "digits_dg": (10, 7), "mini_domainnet": (126, 90)}
"""Classes and known classes (ODG-CLIP's data-set files)."""
TABLE = json.loads((Path(__file__).parents[2] / "clipbench/data/catalogue/odg_splits.json").read_text("utf-8"))


def images(dataset: str) -> ImageSet:
    names = tuple(entry(dataset).classes) or tuple(f"class {i:03d}" for i in range(entry(dataset).class_count))
    return ImageSet(dataset, Path("/made"), (), (), names, True, prompt_names=tuple(n.lower() for n in names))


@pytest.mark.parametrize("dataset", BENCHMARKS)
@pytest.mark.parametrize("space", [None, "closed-set", "odg", "odg-known"])
def test_prompts_are_of_the_known_classes_in_their_own_columns(dataset: str, space: str | None) -> None:
    made, (count, known) = images(dataset), BENCHMARKS[dataset]
    found = prompts_of(made, Protocol(template="a sketch of a {}", label_space=space))
    seen = {i for ranges in TABLE["splits"][dataset]["sources"] for a, b in ranges for i in range(a, b + 1)}
    by_name = {name for i, name in enumerate(sorted(made.classes)) if i in seen}
    closed = space in (None, "closed-set")
    due = [i for i, name in enumerate(made.classes) if closed or name in by_name]
    texts = [f"a sketch of a {made.prompt_names[i]}" for i in due]
    if space == "odg":
        assert (list(found.texts), list(found.classes)) == ([*texts, "a sketch of a unknown"], [*due, count])
        assert (len(found.texts), found.width) == (known + 1, count + 1)
    else:
        assert (list(found.texts), list(found.classes), found.width) == (texts, list(due), count)
    assert (list(found.classes) == list(range(found.width))) == closed


def test_a_template_needs_one_place_for_the_name() -> None:
    with pytest.raises(UserError, match=r"needs \{\} once"):
        prompts_of(images("pacs"), Protocol(template="a {} photo of a {}", task="image-text"))


def test_classes_without_a_prompt_get_minus_infinity_and_no_gradient() -> None:
    """The others' logits are those of the prompts, column by column; person (6) is the unknown class of PACS."""
    model, logits, features = load_image_text("clipbench-tiny", "embedded"), {}, torch.randn(6, 64)
    for space in ("closed-set", "odg", "odg-known"):
        protocol = Protocol(template="a photo of a {}.", logit_scale=100.0, label_space=space)
        prompts, method = prompts_of(images("pacs"), protocol), ZeroShot()
        method.setup(Setting(model, prompts.names, prompts.template, protocol, (1, 2), torch.device("cpu")))
        features = torch.randn(6, model.width, generator=torch.Generator().manual_seed(0)).requires_grad_()
        logits[space] = prompts.placed(method.logits(features))
        if space == "odg":
            assert prompts.columns(torch.tensor([[0, 5], [7, 1]])).tolist() == [[0, 5], [6, 1]]
            loss = torch.nn.functional.cross_entropy(logits[space].reshape(6, 8), torch.arange(6))
            loss.backward()
            plain = torch.nn.functional.cross_entropy(method.logits(features).reshape(6, 7), torch.arange(6))
            assert loss.item() == pytest.approx(plain.item(), abs=1e-6)
            assert features.grad is not None
            assert torch.isfinite(features.grad).all()
            assert features.grad.abs().sum() > 0
    assert logits["closed-set"].shape == logits["odg-known"].shape == (2, 3, 7)
    assert logits["odg"].shape == (2, 3, 8)
    for space in ("odg", "odg-known"):
        assert torch.isneginf(logits[space][..., 6]).all()
        torch.testing.assert_close(logits[space][..., :6], logits["closed-set"][..., :6], atol=1e-4, rtol=0)
    assert torch.isfinite(logits["odg"][..., 7]).all()


@pytest.mark.parametrize(("row", "reading"), [("clip", "odg"), ("clip-lora", "odg"), ("clip-lora", "odg-known")])
def test_a_pass_with_odgs_classes(row: str, reading: str, tmp_path: Path) -> None:
    """The record's numbers are those of its predictions, counted image by image."""
    overrides = Overrides("smoke", {"label-space": reading}, {"limit": 3} | ({} if row == "clip" else {"epochs": 1}))
    only = [f"row={row}", "dataset=pacs", "test_domain=photo"]
    group = list(make_plan(["domains"], overrides, only, (1,)).runs)
    protocol = group[0].run.protocol
    data = image_set(protocol, tmp_path)
    cut = split(data, protocol, 1)
    (draft,) = run_planned(group, place(tmp_path)).drafts
    metrics = draft.record.metrics
    kept = np.load(io.BytesIO(draft.files["predictions.npz"]))
    truth, predicted = kept["labels"].astype(int), kept["predictions"].astype(int)
    person = list(data.classes).index("person")
    assert truth.tolist() == [data.labels[i] for i in cut.test]
    assert person not in predicted
    known = truth != person
    accuracy = 100 * np.mean(predicted[known] == truth[known])
    assert metrics["accuracy"] == pytest.approx(accuracy)
    assert draft.record.history[-1].accuracy == pytest.approx(accuracy)
    assert ("h_score" in metrics) == (reading == "odg") == bool((~known).any())
    if reading == "odg":
        assert metrics["unknown_accuracy"] == pytest.approx(100 * np.mean(predicted[~known] == len(data.classes)))
    else:
        assert len(data.classes) not in predicted
    if row == "clip":
        assert predicted.tolist() == by_hand(data, cut.test, protocol)


@torch.no_grad()
def by_hand(data: ImageSet, test: object, protocol: Protocol) -> list[int]:
    """Zero-shot with the prompts of the six known classes and 'unknown', by open_clip's own forward pass."""
    import open_clip

    model = load_tiny().eval()
    names = ["dog", "elephant", "giraffe", "guitar", "horse", "house", "unknown"]
    columns = [list(data.classes).index(name) for name in names[:-1]] + [len(data.classes)]
    pictures = torch.stack([TEST_VIEW(Image.open(data.root / data.files[i]).convert("RGB")) for i in test])  # type: ignore[attr-defined]
    tokens = open_clip.tokenize([(protocol.template or "").format(name) for name in names], 77)
    image, text, _ = model(pictures, tokens)
    return [columns[i] for i in (image @ text.T).argmax(dim=1).tolist()]


def test_classes_of_the_same_tokens_are_refused_by_their_names() -> None:
    """SigLIP's tokeniser drops signs that CLIP's keeps."""
    found = Prompts(("c++", "bird", "c"), "a photo of a {}.", range(3), 3)
    check_told_apart(found, torch.tensor([[1, 2], [1, 3], [1, 4]]), "ViT-B-16-SigLIP")
    with pytest.raises(UserError, match=r"'c\+\+' and 'c' are the same tokens to ViT-B-16-SigLIP"):
        check_told_apart(found, torch.tensor([[1, 2], [1, 3], [1, 2]]), "ViT-B-16-SigLIP")
