"""Figures of features: a t-SNE of the test images per panel, and two numbers that say how well the classes part.

The map is for the eye. Silhouette and nearest-neighbour accuracy are taken in the space of the features themselves, as
t-SNE keeps neither distances nor densities.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from clipbench.compare.cells import Library
from clipbench.plan.select import place_of, source_of
from clipbench.registry import Cell, Panel, Paper, Table
from clipbench.report.frame import Shape, departures, framed, missing, plain_axes, saved, title_of
from clipbench.report.numbers import minus
from clipbench.report.provenance import Provenance, provenance_of
from clipbench.results.companions import FEATURES
from clipbench.results.record import Record
from clipbench.results.store import Store

Floats = NDArray[np.float32]

# Okabe and Ito's colours, told apart by the colour-blind too; with the markers, 48 classes have each a sign of its own.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#b8a800")
_MARKERS = "os^DvP"
_SHAPE = Shape(width=3.5, height=2.8, left=0.15)
_SEED, _PERPLEXITY, _NEIGHBOURS, _FEWEST = 0, 30.0, 10, 5


@dataclass(frozen=True)
class Cloud:
    """One panel's points: their map ``[T, 2]``, labels ``[T]``, class names, and the numbers of the full features.

    ``reasons`` say what the run did otherwise than the paper.
    """

    record: Record
    reasons: Sequence[str]
    points: Floats
    labels: NDArray[np.int64]
    classes: Sequence[str]
    silhouette: float
    neighbours: float


def draw_scatter(paper: Paper, experiment: Table, library: Library, store: Store) -> dict[str, bytes]:
    """PNG, SVG and CSV of a figure of kind ``scatter``, by suffix, from the files that the runs kept."""
    clouds = {p.title: _cloud(paper, experiment, p, library, store) for p in experiment.panels}
    present = {title: cloud for title, cloud in clouds.items() if isinstance(cloud, Cloud)}
    about = provenance_of(cloud.record for cloud in present.values())
    figure = _figure(paper, experiment, clouds, about)
    return {"png": saved(figure, "png"), "svg": saved(figure, "svg"), "csv": _numbers(present)}


def embedded(features: Floats) -> Floats:
    """The t-SNE map ``[T, 2]`` of features ``[T, D]``: started from the principal components, the same every time."""
    from sklearn.manifold import TSNE

    perplexity = min(_PERPLEXITY, (len(features) - 1) / 3)
    points: Floats = TSNE(init="pca", perplexity=perplexity, random_state=_SEED).fit_transform(features)
    return points


def silhouette(features: Floats, labels: NDArray[np.int64]) -> float:
    """Mean silhouette over the images, -1 to 1, with Euclidean distances between features ``[T, D]``.

    NaN where it is not defined: one class only, or no two images of any.
    """
    from sklearn.metrics import silhouette_score

    if not 2 <= len(np.unique(labels)) < len(labels):
        return float("nan")
    return float(silhouette_score(features, labels))


def neighbour_accuracy(features: Floats, labels: NDArray[np.int64], count: int = _NEIGHBOURS) -> float:
    """Percent of images whose ``count`` nearest others vote for their class; the nearer neighbour decides a tie."""
    from sklearn.neighbors import NearestNeighbors

    count = min(count, len(features) - 1)
    nearest = NearestNeighbors(n_neighbors=count).fit(features).kneighbors(return_distance=False)
    votes = np.zeros((len(features), labels.max() + 1))
    weights = 1.0 + 1e-6 * 0.5 ** np.arange(count)
    np.add.at(votes, (np.arange(len(features))[:, None], labels[nearest]), weights)
    return float(100.0 * (votes.argmax(axis=1) == labels).mean())


def _records(paper: Paper, experiment: Table, panel: Panel, library: Library) -> list[tuple[Record, Sequence[str]]]:
    """The runs of a panel, lowest seed first, each with what makes it another measurement than the paper's."""
    source = source_of(paper, experiment)
    cells = [Cell(source.row(row), source.column(column)) for row in panel.rows for column in panel.columns]
    found = [m for cell in cells if (m := library.cell(paper, source, cell))]
    return sorted(((r, m.not_comparable) for m in found for r in m.records), key=lambda pair: pair[0].seed)


def _cloud(paper: Paper, experiment: Table, panel: Panel, library: Library, store: Store) -> Cloud | str:
    """The panel's run of the lowest seed that kept its features; or why there is none."""
    from safetensors import safe_open

    records = _records(paper, experiment, panel, library)
    found = next((pair for pair in records if FEATURES in pair[0].files), None)
    if found is None:
        return "features not kept:\nrun again with --force" if records else "not run"
    kept, reasons = found
    with safe_open(store.path(kept.id, FEATURES), framework="numpy") as file:
        features = file.get_tensor(panel.feature or "after").astype(np.float32)
        labels = file.get_tensor("labels").astype(np.int64)
        classes = json.loads(file.metadata()["classes"])
    if len(features) < _FEWEST:
        return f"{len(features)} test images:\ntoo few for a map"
    scores = silhouette(features, labels), neighbour_accuracy(features, labels)
    return Cloud(kept, reasons, embedded(features), labels, classes, *scores)


def _figure(paper: Paper, experiment: Table, clouds: Mapping[str, Cloud | str], about: Provenance) -> Figure:
    present = {panel: cloud for panel, cloud in clouds.items() if isinstance(cloud, Cloud)}
    names = _names(list(present.values()))
    differs = list(dict.fromkeys(reason for cloud in present.values() for reason in cloud.reasons))
    title = title_of(f"{place_of(paper, experiment)}: {experiment.title}", about, differs)
    shown = present or clouds
    reasons = {panel: str(cloud) for panel, cloud in clouds.items() if panel not in shown}
    gaps = missing(experiment.id, reasons, smoke=about.smoke)
    caption = (*gaps, *departures(differs, about), *about.lines(), _HOW)
    with plain_axes():
        figure, panels = framed(_SHAPE, len(shown), title, _legend(names), caption, warns=bool(differs))
        for axes, (panel, cloud) in zip(panels, shown.items(), strict=True):
            _panel(axes, panel, cloud)
    return figure


_HOW = (
    f"t-SNE of scikit-learn, PCA start, seed {_SEED}, perplexity {_PERPLEXITY:g} (a third of the images, where they "
    f"are few); axes have no unit. Silhouette and {_NEIGHBOURS}-NN leave-one-out accuracy are of the full features; "
    "one run (the lowest seed) per panel."
)


def _sign(label: int) -> dict[str, Any]:
    """Colour and marker of a class: the colour changes first, then the marker."""
    return {
        "color": _COLOURS[label % len(_COLOURS)],
        "marker": _MARKERS[label // len(_COLOURS) % len(_MARKERS)],
        "markeredgecolor": "white",
        "markeredgewidth": 0.3,
    }


def _panel(axes: Axes, title: str, cloud: Cloud | str) -> None:
    axes.set_title(title, fontsize=9, loc="left")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(True)
    if isinstance(cloud, str):
        axes.text(0.5, 0.5, cloud, ha="center", va="center", transform=axes.transAxes, color="#888888")
        return
    for label in np.unique(cloud.labels):
        x, y = cloud.points[cloud.labels == label].T
        axes.plot(x, y, linestyle="none", markersize=4.0, **_sign(int(label)))
    apart = "not defined" if math.isnan(cloud.silhouette) else minus(f"{cloud.silhouette:.3f}")
    axes.set_xlabel(f"silhouette {apart}, {_NEIGHBOURS}-NN accuracy {cloud.neighbours:.1f} %", fontsize=8, loc="left")


def _legend(names: Sequence[str]) -> list[tuple[Line2D, str]]:
    """Names of classes as words: data sets write them with underscores."""
    style: dict[str, Any] = {"linestyle": "none", "markersize": 5.0}
    return [(Line2D([], [], **style, **_sign(label)), name.replace("_", " ")) for label, name in enumerate(names)]


def _names(clouds: Sequence[Cloud]) -> Sequence[str]:
    return clouds[0].classes if clouds else ()


def _numbers(clouds: Mapping[str, Cloud]) -> bytes:
    """One line per panel and test image; the panel's two scores stand in each of its lines."""
    parts = [
        pd.DataFrame(
            {
                "panel": title,
                "class": [cloud.classes[label] for label in cloud.labels],
                "x": cloud.points[:, 0],
                "y": cloud.points[:, 1],
                "silhouette": cloud.silhouette,
                "knn_accuracy": cloud.neighbours,
                "seed": cloud.record.seed,
                "profile": cloud.record.protocol.profile,
                "run": cloud.record.id,
            }
        )
        for title, cloud in clouds.items()
    ]
    return pd.concat(parts).to_csv(index=False).encode() if parts else b""
