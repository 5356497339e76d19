"""Figures of curves: the numbers behind them are the histories, and the pictures are the same every time."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from clipbench.compare.cells import Library
from clipbench.plan.select import place_of
from clipbench.registry import Overrides
from clipbench.report import curves
from clipbench.report.curves import draw_curves
from clipbench.report.write import write_figures
from clipbench.results.record import Record
from clipbench.results.store import Draft, Store
from tests.factory import record, records, table

ROWS = ("lora-r4", "lora-r8", "full")


def made(profile: str = "full") -> list[Record]:
    return [
        record(("lora-clip/table1", row, column), seed, 90.0 + seed + i, overrides=Overrides(profile=profile))
        for i, row in enumerate(ROWS)
        for column in ("ucm-80", "aid-20")
        for seed in (1, 2)
    ]


@pytest.fixture(scope="module")
def drawn() -> dict[str, bytes]:
    return draw_curves(*table("lora-clip/figure3"), Library(made()), Store(Path("nowhere")))


def test_the_numbers_behind_the_picture_are_the_histories(drawn: dict[str, bytes]) -> None:
    rows = list(csv.DictReader(drawn["csv"].decode().splitlines()))
    by_run = {r.id: r for r in made()}
    assert len(rows) == 12 * 10
    for row in rows:
        source = by_run[row["run"]]
        assert (row["row"], int(row["seed"]), row["profile"]) == (source.origin.row, source.seed, "full")
        assert float(row["accuracy"]) == source.history[int(row["epoch"]) - 1].accuracy
        assert row["panel"].startswith("a) UCM" if source.origin.column == "ucm-80" else "b) AID")


def test_the_pictures_are_pictures_and_the_same_every_time(drawn: dict[str, bytes]) -> None:
    assert drawn["png"].startswith(b"\x89PNG")
    assert len(drawn["png"]) > 20_000
    root = ElementTree.fromstring(drawn["svg"])  # noqa: S314 - our own
    assert root.tag.endswith("svg")
    again = draw_curves(*table("lora-clip/figure3"), Library(list(reversed(made()))), Store(Path("nowhere")))
    assert (again["svg"], again["csv"]) == (drawn["svg"], drawn["csv"])
    first, second = (np.asarray(Image.open(io.BytesIO(d["png"])).convert("RGB")).astype(int) for d in (drawn, again))
    assert np.abs(first - second).max() <= 2  # matplotlib's blending is off by one level here and there, of 255


def test_every_curve_is_in_the_legend_and_the_axes_are_named(drawn: dict[str, bytes]) -> None:
    svg = drawn["svg"].decode()
    for text in ("r = 4, α = 8", "r = 8, α = 16", "CLIP Full tuning", "Epoch", "Overall accuracy"):
        assert text in svg
    assert "smoke" not in svg.lower()


def test_a_figure_of_rounds_says_round_on_its_axis_and_in_its_numbers() -> None:
    made = [record(("lora-clip/federated", "fedavg", "ucm-80"), seed, 90.0 + seed) for seed in (1, 2)]
    drawn = draw_curves(*table("lora-clip/federated-curves"), Library(made), Store(Path("nowhere")))
    assert ">Round<" in drawn["svg"].decode()
    assert "Epoch" not in drawn["svg"].decode()
    assert drawn["csv"].decode().splitlines()[0] == "panel,row,seed,round,accuracy,profile,run"


def test_only_panels_with_runs_are_drawn_and_the_caption_names_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(curves, "saved", lambda figure, _: figures.append(figure) or b"")
    draw_curves(*table("lora-clip/figure3"), Library(made("smoke")), Store(Path("nowhere")))
    assert [axes.get_title(loc="left")[:2] for axes in figures[0].axes] == ["a)", "b)"]
    caption = " ".join(figures[0].texts[1].get_text().split())
    assert (
        "Panels not shown: c) OPTIMAL-31, 80% train: not run; d) NWPU-RESISC45, 10% train: not run. "
        "`clipbench run lora-clip/figure3 --smoke` makes them." in caption
    )
    labels = [axes.yaxis.label.get_visible() for axes in figures[0].axes]
    assert labels == [True, False]  # a label of the second panel would touch the first


def test_the_legend_of_a_single_panel_stays_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(curves, "saved", lambda figure, _: figures.append(figure) or b"")
    rows = ("lora-r4", "lora-r8", "lora-r16", "lora-r32", "full")
    runs = [r for row in rows for r in records(("lora-clip/table1", row, "ucm-80"), (90.0, 91.0))]
    draw_curves(*table("lora-clip/figure3"), Library(runs), Store(Path("nowhere")))
    figures[0].draw_without_rendering()
    assert figures[0].legends[0].get_window_extent().x1 <= figures[0].bbox.x1


def test_the_caption_says_what_line_and_band_are(drawn: dict[str, bytes]) -> None:
    assert "Line: mean over 2 seeds. Band: from the lowest to the highest of them." in drawn["svg"].decode()
    alone = [r for r in made() if r.seed == 1]
    svg = draw_curves(*table("lora-clip/figure3"), Library(alone), Store(Path("nowhere")))["svg"].decode()
    assert "Each line is one seed." in svg
    assert "Band" not in svg


def test_panels_share_one_range_and_all_begins_at_one_left_edge(monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(curves, "saved", lambda figure, _: figures.append(figure) or b"")
    runs = [r for r in made() if r.origin.column == "ucm-80" or r.origin.row == "lora-r4"]
    draw_curves(*table("lora-clip/figure3"), Library(runs), Store(Path("nowhere")))
    panels = figures[0].axes
    drawn = [axes for axes in panels if axes.get_lines()]
    assert len({axes.get_ylim() for axes in drawn}) == 1
    assert len(drawn) == 2
    lowest = min(line.get_ydata().min() for axes in drawn for line in axes.get_lines())
    assert drawn[0].get_ylim()[0] < lowest
    assert len(panels) == 2
    left = {round(panels[0].get_position().x0, 4)}
    left |= {round(text.get_position()[0], 4) for text in figures[0].texts}
    assert len(left) == 1
    figures[0].draw_without_rendering()
    assert all(text.get_window_extent().x1 <= figures[0].bbox.x1 for text in figures[0].texts)


def test_a_loss_has_points_enough_for_a_line_and_no_more_than_can_be_seen() -> None:
    assert [curves._stretches(steps) for steps in (4, 16, 64, 2000)] == [4, 8, 16, 200]


def test_a_smoke_figure_says_so() -> None:
    found = draw_curves(*table("lora-clip/figure3"), Library(made("smoke")), Store(Path("nowhere")))
    assert "SMOKE PROFILE" in found["svg"].decode()
    assert "smoke profile, not the paper's" in found["svg"].decode()
    assert {row["profile"] for row in csv.DictReader(found["csv"].decode().splitlines())} == {"smoke"}


def test_figures_are_written_where_there_are_runs_behind_them(tmp_path: Path) -> None:
    assert write_figures([], tmp_path, None) == []
    Store(tmp_path / "results").publish([Draft(r, {}) for r in made()])
    assert [p.name for p in write_figures([], tmp_path, None)] == ["figure3.png", "figure3.svg", "figure3.csv"]
    assert write_figures([], tmp_path, "smoke") == []


def test_a_figure_that_the_paper_does_not_print_says_so() -> None:
    assert place_of(*table("lora-clip/figure3")) == "Figure 3 of LoRA-CLIP"
    assert place_of(*table("clip-dora/related-curves")) == "beyond CLIP-DoRA (Related work, curves)"
