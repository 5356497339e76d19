"""Figures of features: drawn from what runs kept, the numbers against plain loops, legible and the same every time."""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save

from clipbench.compare.cells import Library
from clipbench.registry import Overrides
from clipbench.report import scatter
from clipbench.report.scatter import _sign, draw_scatter, neighbour_accuracy, silhouette
from clipbench.report.write import write_figures
from clipbench.results.companions import FEATURES
from clipbench.results.store import Draft, Store
from tests.factory import record, table

CLASSES = [f"a_class_{i}" for i in range(31)]
SMOKE = Overrides(profile="smoke")
WHERE = ("lora-clip/table2", "clip-l", "optimal31-80")


def features(spread: float, images: int = 6, width: int = 12, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """31 classes around centres of their own."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(31).repeat_interleave(images)
    centres = torch.randn(31, width, generator=generator)
    return centres[labels] + spread * torch.randn(len(labels), width, generator=generator), labels


def draft(seed: int = 1, images: int = 6, shown: int | None = None, overrides: Overrides = SMOKE) -> Draft:
    """``images`` of each class; the first ``shown`` of all."""
    before, labels = (part[:shown] for part in features(1.0, images))
    after = features(0.2, images)[0][:shown]
    made = record(WHERE, seed, overrides=overrides)
    tensors = {"before": before.half(), "after": after.half(), "labels": labels.to(torch.int16)}
    packed = save({k: v.contiguous() for k, v in tensors.items()}, metadata={"classes": json.dumps(CLASSES)})
    return Draft(made, {FEATURES: packed})


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    store = Store(tmp_path_factory.mktemp("runs") / "results")
    store.publish([draft(2), draft(1)])
    return draw_scatter(*table("lora-clip/figure4"), Library(store.scan()[0]), store)


def test_every_image_of_a_panel_is_in_the_csv_with_its_scores(drawn: dict[str, bytes]) -> None:
    rows = list(csv.DictReader(drawn["csv"].decode().splitlines()))
    assert len(rows) == 2 * 31 * 6
    assert {row["panel"] for row in rows} == {"a) LoRA-CLIP before training", "b) LoRA-CLIP after training"}
    assert {(row["seed"], row["profile"]) for row in rows} == {("1", "smoke")}
    scores = {row["panel"][0]: (float(row["silhouette"]), float(row["knn_accuracy"])) for row in rows}
    assert scores["b"][0] > scores["a"][0] + 0.2
    assert scores["b"][1] > scores["a"][1]


def test_the_picture_says_its_scores_its_classes_and_what_was_not_run(drawn: dict[str, bytes]) -> None:
    svg = drawn["svg"].decode()
    assert drawn["png"].startswith(b"\x89PNG")
    assert "c) LoRA-Mamba before training: not run" in svg
    assert svg.count(">silhouette") == 2
    assert svg.count("10-NN accuracy") == 2
    assert all(f">{name.replace('_', ' ')}<" in svg for name in CLASSES)
    assert "a_class" not in svg
    assert "SMOKE PROFILE" in svg


def test_the_same_runs_give_the_same_files(drawn: dict[str, bytes], tmp_path: Path) -> None:
    Store(tmp_path / "results").publish([draft(1), draft(2)])
    paths = write_figures(["figure4"], tmp_path, None)
    assert [p.name for p in paths] == ["figure4.png", "figure4.svg", "figure4.csv"]
    for path in paths:
        assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(drawn[path.suffix[1:]]).digest()


def test_a_run_without_features_is_asked_for_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    store.publish([replace(draft(), files={})])
    found = draw_scatter(*table("lora-clip/figure4"), Library(store.scan()[0]), store)
    assert found["svg"].decode().count("--force") == 2
    assert found["csv"] == b""


def test_a_negative_silhouette_has_a_true_minus_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scatter, "silhouette", lambda *_: -0.25)
    store = Store(tmp_path / "results")
    store.publish([draft()])
    svg = draw_scatter(*table("lora-clip/figure4"), Library(store.scan()[0]), store)["svg"].decode()
    assert svg.count("silhouette \N{MINUS SIGN}0.250") == 2


@pytest.mark.parametrize(("images", "shown", "said"), [(1, 31, "silhouette not defined"), (6, 4, "too few for a map")])
def test_too_few_images_for_a_score_or_a_map(images: int, shown: int, said: str, tmp_path: Path) -> None:
    """One image a class, as ``--limit 1`` leaves: no silhouette; hardly any image: no map."""
    store = Store(tmp_path / "results")
    store.publish([draft(images=images, shown=shown)])
    found = draw_scatter(*table("lora-clip/figure4"), Library(store.scan()[0]), store)
    assert found["svg"].decode().count(said) == 2


def test_every_class_has_a_sign_of_its_own() -> None:
    signs = {(_sign(label)["color"], _sign(label)["marker"]) for label in range(45)}
    assert len(signs) == 45


def test_the_silhouette_against_its_definition() -> None:
    x, y = (part.numpy() for part in features(0.6, images=3, width=4))
    distance = np.linalg.norm(x[:, None] - x[None], axis=-1)
    scores = []
    for i in range(len(x)):
        own = distance[i][(y == y[i]) & (np.arange(len(y)) != i)].mean()
        other = min(distance[i][y == c].mean() for c in set(y.tolist()) - {y[i]})
        scores.append((other - own) / max(own, other))
    assert silhouette(x, y) == pytest.approx(np.mean(scores), abs=1e-5)


def test_neighbour_accuracy_against_a_plain_loop() -> None:
    x, y = (part.numpy() for part in features(0.9, images=8, width=4, seed=3))
    right = 0
    for i in range(len(x)):
        order = [j for j in np.argsort(np.linalg.norm(x - x[i], axis=1), kind="stable") if j != i][:10]
        votes: dict[Any, float] = {}
        for rank, j in enumerate(order):
            votes[y[j]] = votes.get(y[j], 0.0) + 1 + 1e-6 * 0.5**rank
        right += max(votes, key=lambda c: votes[c]) == y[i]
    assert neighbour_accuracy(x, y) == pytest.approx(100 * right / len(x))
    assert 10 < neighbour_accuracy(x, y) < 90


def test_runs_of_another_protocol_are_said(tmp_path: Path) -> None:
    """AID in the place of OPTIMAL-31 by ``--set``: the picture must not pass for the paper's."""
    store = Store(tmp_path / "results")
    store.publish([draft(overrides=Overrides(fields={"dataset": "aid", "epochs": 5}))])
    svg = draw_scatter(*table("lora-clip/figure4"), Library(store.scan()[0]), store)["svg"].decode()
    said = " ".join(svg.split())
    assert "(not the paper's protocol: see below)" in said
    assert "dataset aid, not optimal31" in said
