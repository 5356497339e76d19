"""What a run keeps is all that its number rests on: tested again, it gives the same number; the library loads it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from clipbench import adapters
from clipbench.cli.main import main
from clipbench.engine.evaluate import evaluate
from clipbench.engine.kept import ADAPTERS, PARAMETERS
from clipbench.engine.run_job import run_job
from clipbench.errors import UserError
from clipbench.models.image_text import load_image_text
from clipbench.plan.jobs import jobs_of
from clipbench.plan.select import Plan, make_plan
from clipbench.registry import Overrides
from clipbench.results.record import Record
from clipbench.results.store import Store
from tests.cli.commands_for_tests import Captured, call
from tests.engine.passes_for_tests import place

SHORT = {"limit": 4, "epochs": 2}
STEPS = {"steps_per_shot": 2}


def made(folder: Path, table: str, words: list[str], seeds: tuple[int, ...], fields: dict[str, object]) -> list[Record]:
    plan = make_plan([table], Overrides("smoke", fields=fields), words, seeds)
    (job,) = jobs_of(Plan(Overrides("smoke"), plan.runs, ()), ["adapters"])
    store = Store(folder / "results")
    store.publish(run_job(job, place(folder)).drafts)
    return store.scan()[0]


@pytest.mark.parametrize(
    ("table", "words", "seeds", "fields", "files"),
    [
        ("table1", ["row=lora-r4", "dataset=ucm"], (1, 2), SHORT, {"adapters.json", PARAMETERS}),
        ("table1", ["row=full", "dataset=ucm"], (1,), SHORT, {PARAMETERS}),
        ("fewshot", ["row=clip-dora-1shot", "dataset=caltech101"], (1, 2), STEPS, {"adapters.json"}),
        ("fewshot", ["row=linear-probe-1shot", "dataset=caltech101"], (1, 2), STEPS, {PARAMETERS}),
        ("fewshot", ["row=promptsrc-1shot", "dataset=caltech101"], (1,), {"epochs": 2}, {PARAMETERS}),
        ("fewshot", ["row=tip-adapter-f-1shot", "dataset=caltech101"], (1,), {"epochs": 2}, {PARAMETERS}),
        ("segmentation", ["column=clip-dora", "dataset=kvasir"], (1,), SHORT, {"adapters.json"}),
    ],
)
def test_what_is_kept_gives_the_number_again(
    tmp_path: Path, table: str, words: list[str], seeds: tuple[int, ...], fields: dict[str, object], files: set[str]
) -> None:
    for record in made(tmp_path, table, words, seeds, fields):
        folder = tmp_path / "results" / record.id
        assert files <= set(record.files)
        again = evaluate(record, folder, place(tmp_path))
        assert again.differs == ()
        main_metric = next(iter(again.metrics))
        assert again.metrics[main_metric] == record.metrics[main_metric]
        if record.protocol.selection != "best-test":  # there a test before the search may be the one that counts
            assert dict(again.metrics) == pytest.approx({n: record.metrics[n] for n in again.metrics}, rel=1e-5)


def test_the_library_loads_the_adapters_alone(tmp_path: Path) -> None:
    """Adapted by the library, the pretrained model gives other features than before; another model is refused."""
    (record,) = made(tmp_path, "fewshot", ["row=clip-dora-1shot", "dataset=caltech101"], (1,), STEPS)
    protocol = record.protocol
    model = load_image_text(protocol.need("backbone"), protocol.need("weights")).module.eval()
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = model.encode_image(images)
        adapters.load(model, tmp_path / "results" / record.id / ADAPTERS)
        after = model.encode_image(images)
    assert not torch.equal(before, after)


def test_the_command_says_whether_it_is_the_same_number(capsys: Captured, tmp_path: Path) -> None:
    words = ("run", "fewshot", "--smoke", "--only", "dataset=caltech101,row=clip-dora-1shot", "--seeds", "1")
    assert main([*words, "--set", "steps_per_shot=2", "--keep", "adapters", "--out", str(tmp_path)]) == 0
    capsys.readouterr()
    (record,) = Store(tmp_path / "results").scan()[0]
    folder = tmp_path / "results" / record.id
    code, said, _ = call(capsys, "evaluate", folder)
    assert code == 0
    assert f"{record.id}, seed 1: accuracy {record.metrics['accuracy']:.4f} %" in said
    assert said.endswith("The same number.\n")
    code, _, err = call(capsys, "evaluate", tmp_path)
    assert code == 2
    assert "is no trustworthy record" in err


def test_other_weights_and_what_was_not_kept_are_said(tmp_path: Path) -> None:
    (record,) = made(tmp_path, "fewshot", ["row=linear-probe-1shot", "dataset=caltech101"], (1,), STEPS)
    folder = tmp_path / "results" / record.id
    other = replace(record, model=replace(record.model, weights_sha256="0" * 64))
    assert evaluate(other, folder, place(tmp_path)).differs[0].startswith("the weights are not those of the record")
    (folder / PARAMETERS).unlink()
    with pytest.raises(UserError, match="--keep adapters --force"):
        evaluate(record, folder, place(tmp_path))
