"""Who takes the large products of a run is asked for on the command line, and named in its record."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipbench.cli.main import main
from clipbench.models import products
from clipbench.results.store import Store
from tests.engine.passes_for_tests import curve, place, planned, run_planned

RUN = ["run", "table1", "--smoke", "--only", "dataset=ucm,row=lora-r4", "--seeds", "1"]


def test_a_small_model_is_not_measured_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    products.fastest.cache_clear()
    monkeypatch.setattr(products, "measured", lambda: pytest.fail("nothing here is large"))
    (draft,) = run_planned(planned(), place(tmp_path)).drafts
    assert draft.record.environment.products == products.PYTORCH


def test_onednn_may_be_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All products of the tiny model are small: its numbers are the very same."""
    inside: list[str] = []
    taken = products.OneDnnProducts.__torch_dispatch__

    def watched(self: products.OneDnnProducts, func: object, *rest: object) -> object:
        inside.append(str(func))
        return taken(self, func, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(products.OneDnnProducts, "__torch_dispatch__", watched)
    (due,) = run_planned(planned(), place(tmp_path / "due")).drafts
    assert not inside
    (draft,) = run_planned(planned(), place(tmp_path / "found", products=products.ONEDNN)).drafts
    assert draft.record.environment.products == products.ONEDNN
    assert curve(draft) == curve(due)
    assert {"aten.addmm.default", "aten.mm.default"} <= set(inside)


def test_the_option_reaches_the_record(tmp_path: Path) -> None:
    jobs = tmp_path / "jobs.json"
    asked = ["--set", "limit=2", "--epochs", "1", "--products", "onednn", "--out", str(tmp_path)]
    assert main([*RUN, *asked, "--write-jobs", str(jobs)]) == 0
    assert main(["work", str(jobs), "--device", "cpu"]) == 0
    ((record,), faults) = Store(tmp_path / "results").scan()
    assert not faults
    assert record.environment.products == products.ONEDNN
