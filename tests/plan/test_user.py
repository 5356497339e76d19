"""A user's own images and own method in the papers' tables: rows, columns, names, records, and what is refused."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipbench.compare.cells import Library
from clipbench.compare.verdict import compare_paper
from clipbench.data.user import UserData, user_images
from clipbench.errors import UserError
from clipbench.methods import is_own, method, own_method
from clipbench.methods.base import Method
from clipbench.plan.filters import Filter
from clipbench.plan.user import Additions, additions, with_earlier_methods
from clipbench.registry import Cell, Overrides, resolve
from tests.factory import record, records, table

ROOT = Path(__file__).resolve().parents[2]
COLOURS = {"red_square": (220, 30, 30), "green field": (40, 180, 60), "blue_lake": (30, 60, 210)}


def images(folder: Path, count: int = 10) -> Path:
    """A folder of class folders."""
    draw = np.random.default_rng()
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = np.clip(np.array(colour) + draw.normal(0, 20, (40, 50, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder


def touch(folder: Path, files: list[str]) -> None:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()


def module(folder: Path, name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of the user's, importable as from the folder where the command is given."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(text)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, name, raising=False)


MINE = """
from clipbench.methods.base import Method

class Plain(Method):
    uses = ("rank",)
    protocol = {"lr": 0.5}

class Named(Method):
    label = "My own | best"

class NoMethod:
    pass

class Untrained(Method):
    protocol = {"steps_per_shot": {"unset": "nothing is trained"}}

class Alike(Method):
    label = "my own / best"

class Wants(Method):
    def __init__(self, size):
        super().__init__()

class Wrong(Method):
    uses = "rank"

class Torn(Untrained):
    def logits(self, features):
        return [features][1]  # out of range
"""


# Your own images


def test_a_folder_becomes_the_only_column(tmp_path: Path) -> None:
    paper, experiment = table("clip-dora/table1")
    added = additions(images(tmp_path / "mine"), [])
    (name,) = added.own
    found = added.apply(paper, experiment)
    assert [column.id for column in found.columns] == ["mine"]
    assert found.columns[0].set == {"dataset": name, "exif": "rotate", "train_fraction": 0.5}
    assert name.startswith("mine@")
    runnable = {row.id for row in found.rows}
    assert {"zero-shot", "clip-lora-1shot", "clip-dora-16shot", "linear-probe-4shot"} <= runnable
    assert "mine" in found.name
    assert found.title.endswith("on mine, a data set of the user's own")
    for row in found.rows:
        resolved = resolve(paper, found, Cell(row, found.columns[0]))
        assert resolved.protocol.dataset == name
        assert resolved.missing is None


def test_other_images_are_another_data_set(tmp_path: Path) -> None:
    folder = images(tmp_path / "mine")
    names = [*additions(folder, []).own]
    assert [*additions(folder, []).own] == names
    Image.new("RGB", (99, 7)).save(folder / "red_square" / "0.png")  # one picture changes its size in bytes
    names += additions(folder, []).own
    (folder / "red_square" / "1.png").rename(folder / "blue_lake" / "new.png")
    names += additions(folder, []).own
    assert len(set(names)) == 3
    (folder / "notes.txt").write_text("no image")
    assert [*additions(folder, []).own] == names[-1:]


def test_images_added_to_a_linked_class_make_another_data_set(tmp_path: Path) -> None:
    folder = images(tmp_path / "mine")
    elsewhere = (folder / "blue_lake").rename(tmp_path / "elsewhere")
    (folder / "blue_lake").symlink_to(elsewhere)
    (before,) = additions(folder, []).own
    Image.new("RGB", (30, 30)).save(elsewhere / "more.png")
    (after,) = additions(folder, []).own
    assert after != before
    assert len(user_images(UserData(folder))) == 31
    beside = tmp_path / "beside"
    beside.mkdir()
    for name in COLOURS:
        (beside / name).symlink_to(folder / name)
    (linked,) = additions(beside, []).own
    assert linked.partition("@")[2] == after.partition("@")[2]  # the same images, all of them behind links


def test_what_is_not_read_names_no_data_set(tmp_path: Path) -> None:
    folder = images(tmp_path / "mine")
    names = [*additions(folder, []).own]
    for extra in ("loose.png", "red_square/thumbs/small.png", ".hidden/a.png"):
        (folder / extra).parent.mkdir(exist_ok=True)
        Image.new("RGB", (5, 5)).save(folder / extra)
    assert [*additions(folder, []).own] == names


def test_folders_of_one_name_have_tables_of_their_own(tmp_path: Path) -> None:
    paper, experiment = table("clip-dora/table1")
    folders = [tmp_path / name for name in ("a/photos", "b/photos", "photos.v1", "photos.v2", "x@y & 50% | z")]
    found = [additions(images(folder), []).apply(paper, experiment) for folder in folders]
    assert len({e.name for e in found}) == 5
    assert all(re.fullmatch(r"table1-[a-z0-9_-]+", e.name) for e in found)
    assert [e.columns[0].printed for e in found] == [folder.name for folder in folders]
    assert found[-1].columns[0].id == "x-y-50-z"
    long = additions(images(tmp_path / ("n" * 250)), []).apply(paper, experiment)
    assert len(long.name) < 80


def test_tables_by_fraction_train_on_half_of_an_own_folder(tmp_path: Path) -> None:
    paper, experiment = table("lora-clip/table1")
    found = additions(images(tmp_path / "mine"), []).apply(paper, experiment)
    cell = Cell(found.row("lora-r4"), found.columns[0])
    assert resolve(paper, found, cell).protocol.train_fraction == 0.5
    assert resolve(paper, found, cell, Overrides(fields={"train_fraction": 0.8})).protocol.train_fraction == 0.8


def test_a_selection_keeps_what_takes_the_folder(tmp_path: Path) -> None:
    added = additions(images(tmp_path / "mine"), [])
    fit, unfit = added.fitting(["clip-dora"])
    assert fit == [f"clip-dora/{name}" for name in ("fewer-steps", "models", "related", "table1", "towers")]
    assert {"clip-dora/table2", "clip-dora/figure2"} <= set(unfit)
    with pytest.raises(UserError, match="figure2 is a figure of the paper's own runs and takes no --dataset-dir"):
        added.fitting(["figure2"])
    with pytest.raises(UserError, match="clip-dora/table2 has no row that runs on a folder"):
        added.fitting(["clip-dora/table2"])
    assert additions(None, []).fitting(["no such table"]) == (["no such table"], [])


def test_figures_stay_as_they_are(tmp_path: Path) -> None:
    paper, figure = table("clip-dora/figure2")
    assert additions(images(tmp_path / "mine"), ["clipbench.methods.zero_shot:ZeroShot"]).apply(paper, figure) is figure


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda _: None, "there is no such folder"),
        (lambda folder: folder.mkdir(), "no image in it or below"),
        (lambda folder: (folder / "cat").mkdir(parents=True), "no image in it or below"),
        (lambda folder: touch(folder, ["a.jpg", "b.jpg"]), "its 2 images lie in no class folder"),
        (lambda folder: touch(folder, ["cat/1.jpg", "dog/in/2.jpg"]), "all images of dog lie in folders inside it"),
    ],
)
def test_a_folder_without_images_is_refused(make: object, said: str, tmp_path: Path) -> None:
    assert callable(make)
    make(tmp_path / "mine")
    with pytest.raises(UserError, match=said):
        additions(tmp_path / "mine", [])


# Your own method


def test_a_method_gets_a_row_behind_every_groups_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module(tmp_path, "mine_rows", MINE, monkeypatch)
    paper, experiment = table("clip-dora/table1")
    found = additions(None, ["mine_rows:Plain"]).apply(paper, experiment)
    fresh = [row for row in found.rows if row not in experiment.rows]
    assert [row.group for row in fresh] == ["1 shot", "4 shots", "16 shots"]
    assert {row.printed for row in fresh} == {"Plain"}
    assert all(row.extra for row in fresh)
    before = [found.rows[found.rows.index(row) - 1].id for row in fresh]
    assert before == ["clip-dora-1shot", "clip-dora-4shot", "clip-dora-16shot"]
    assert [row for row in found.rows if row not in fresh] == list(experiment.rows)
    column = experiment.columns[0]
    ours = resolve(paper, found, Cell(fresh[1], column)).protocol
    theirs = resolve(paper, experiment, Cell(experiment.row("clip-dora-4shot"), column)).protocol
    assert ours.method is not None
    assert ours.method.startswith("mine_rows:Plain@")
    assert (ours.lr, ours.shots, ours.steps_per_shot, ours.batch_size) == (0.5, 4, 500, 32)
    assert ours.rank == theirs.rank  # which it reads
    assert ours.targets is ours.adapter_dropout is ours.decay_magnitude is None  # which it does not
    assert ours.digest != theirs.digest


def test_the_label_names_the_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module(tmp_path, "mine_label", MINE, monkeypatch)
    paper, experiment = table("clip-dora/table1")
    found = additions(None, ["mine_label:Named"]).apply(paper, experiment)
    assert sum(row.printed == "My own | best" for row in found.rows) == 3


def test_a_changed_method_is_another_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module(tmp_path, "mine_changed", MINE, monkeypatch)
    first = own_method("mine_changed:Plain").name
    assert own_method("mine_changed:Plain").name == first
    module(tmp_path, "mine_changed", MINE + "# tuned\n", monkeypatch)
    second = own_method("mine_changed:Plain").name
    assert second != first
    assert second.partition("@")[0] == first.partition("@")[0] == "mine_changed:Plain"
    assert isinstance(method(second), Method)
    assert is_own(second)
    assert not is_own("lora")


@pytest.mark.parametrize("profile", ["full", "smoke"])
def test_what_a_method_unsets_stays_unset(profile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module(tmp_path, "mine_unset", MINE, monkeypatch)
    paper, experiment = table("clip-dora/table1")
    found = additions(None, ["mine_unset:Untrained", "mine_unset:Plain"]).apply(paper, experiment)
    put = Overrides(profile, fields={"steps_per_shot": 2, "epochs": 3, "rank": 7, "precision": "bf16"})
    rows = ("untrained-clip-dora-4shot", "plain-clip-dora-4shot", "clip-dora-4shot")
    mine, plain, theirs = (resolve(paper, found, Cell(found.row(r), found.columns[0]), put).protocol for r in rows)
    assert (mine.steps_per_shot, mine.epochs, mine.rank, mine.precision) == (None, None, None, "bf16")
    assert (plain.steps_per_shot, plain.rank, theirs.steps_per_shot, theirs.rank) == (2, 7, 2, 7)


def test_rows_that_could_not_be_told_apart_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module(tmp_path, "mine_alike", MINE, monkeypatch)
    with pytest.raises(UserError, match="mine_alike:Plain is given twice"):
        additions(None, ["mine_alike:Plain", "mine_alike:Plain"])
    with pytest.raises(
        UserError, match="mine_alike:Named and --method mine_alike:Alike have labels that are too alike"
    ):
        additions(None, ["mine_alike:Named", "mine_alike:Alike"])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mine_wants:Wants", r"made \(TypeError: .*missing 1 required positional argument: 'size', .*mine_wants.py"),
        ("mine_leaves:Any", r"\(SystemExit: 3, at .*mine_leaves.py:2, in <module>\)"),
        ("mine_wants:Wrong", "uses a tuple of names"),
        ("mine_asks:Any", r"mine_asks cannot be imported \(ZeroDivisionError: .*, at .*mine_asks.py:1, in <module>\)"),
    ],
)
def test_a_method_that_cannot_be_made_is_refused_with_its_line(
    name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module(tmp_path, "mine_wants", MINE, monkeypatch)
    module(tmp_path, "mine_leaves", "import sys\nsys.exit(3)\n", monkeypatch)
    module(tmp_path, "mine_asks", "1 / 0\n", monkeypatch)
    with pytest.raises(UserError, match=said):
        additions(None, [name])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("TextResidual", "is named FILE.py:Class or package.module:Class"),
        ("no_such_module_here:Class", "the module no_such_module_here cannot be imported .ModuleNotFoundError"),
        ("mine_bad:Nowhere", "mine_bad has no class Nowhere that derives from clipbench's Method"),
        ("mine_bad:NoMethod", "mine_bad has no class NoMethod that derives from clipbench's Method"),
        ("mine_torn:Any", "the module mine_torn cannot be imported .SyntaxError"),
    ],
)
def test_what_is_no_method_is_refused(name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module(tmp_path, "mine_bad", MINE, monkeypatch)
    module(tmp_path, "mine_torn", "class Any(:\n", monkeypatch)
    with pytest.raises(UserError, match=said):
        additions(None, [name])


def test_a_table_without_a_trained_row_takes_no_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    module(tmp_path, "mine_lonely", MINE, monkeypatch)
    paper, experiment = table("clip-dora/table1")
    lonely = replace(experiment, rows=(experiment.row("zero-shot"), experiment.row("clip-dora-1shot")))
    monkeypatch.setattr("clipbench.plan.user.METHODS", {"zero-shot": ""})
    with pytest.raises(UserError, match="no row that trains today"):
        Additions(None, ["mine_lonely:Plain"]).apply(paper, lonely)


# The command


def test_a_file_in_the_current_folder_is_not_run_in_the_place_of_a_library(tmp_path: Path) -> None:
    """Nor is anything there looked at, unless a method of the user's own lies there."""
    (tmp_path / "tabulate.py").write_text("print('executed')\n")
    (tmp_path / "mine_here.py").write_text(MINE)
    program = (
        "import sys; sys.path = [p for p in sys.path if p]; from clipbench.methods import method, own_method\n"
        f"method('zero-shot'); print('{tmp_path}' in sys.path); own_method('mine_here:Plain'); import tabulate"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["False"]


def clipbench(folder: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """The command given in ``folder``; the package need not be installed."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "clipbench", *map(str, words)]
    return subprocess.run(
        command, check=False, cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )


def test_the_example_of_the_readme_runs(tmp_path: Path) -> None:
    """Both methods of examples/own_method.py, on a folder of pictures, beside every runnable row."""
    options = ["--backbone", "clipbench-tiny", "--precision", "fp32", "--set", "steps_per_shot=2"]
    done = clipbench(
        ROOT / "examples",
        *("run", "fewshot", "--dataset-dir", images(tmp_path / "my_images"), "--out", tmp_path / "out"),
        *("--method", "own_method:TextResidual", "--method", "own_method:TrainedCache"),
        *(
            *options,
            "--set",
            "lr=0.05",
            "--only",
            "shots=0|4,method=zero-shot|lora|dora|linear-probe|own_method*",
            "--seeds",
            "1,2",
        ),
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    (file,) = (tmp_path / "out" / "tables").rglob("*.json")
    cells = {cell["row"]: cell["measured"] for cell in json.loads(file.read_text())["cells"]}
    four = [row for row in cells if row.endswith("-4shot")]
    assert sorted(row.partition("-clip")[0] for row in four) == [
        "clip-dora-4shot",
        "clip-lora-4shot",
        "linear-probe-4shot",
        "text-residual",
        "trained-cache",
    ]
    assert set(cells) == {"zero-shot", *four}
    for row in four[:-1]:
        assert len(cells[row]["values"]) == 2
    for row in four:
        if row.startswith(("text-residual", "trained-cache")):
            assert cells[row]["mean"] > cells["zero-shot"]["mean"] + 20  # three plain colours are soon learned
    for label in ("Text residual", "Trained cache", "my_images"):
        assert label in done.stdout


def test_a_folder_of_one_class_is_refused_in_one_paragraph(tmp_path: Path) -> None:
    (tmp_path / "mine" / "cat").mkdir(parents=True)
    for i in range(8):
        Image.new("RGB", (30, 30)).save(tmp_path / "mine" / "cat" / f"{i}.png")
    done = clipbench(
        tmp_path,
        *("run", "fewshot", "--dataset-dir", "mine", "--backbone", "clipbench-tiny", "--precision", "fp32"),
        *("--out", tmp_path / "out"),
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "two classes at least" in done.stderr
    assert not (tmp_path / "out" / "tables").exists()


TINY = ("--backbone", "clipbench-tiny", "--precision", "fp32", "--set", "steps_per_shot=1", "--seeds", "1")


def test_a_fault_of_one_method_fails_its_runs_alone(tmp_path: Path) -> None:
    (tmp_path / "mine_fault.py").write_text(MINE)
    line = 1 + MINE.splitlines().index("        return [features][1]  # out of range")
    folder = images(tmp_path / "my photos")
    touch(folder, ["loose.jpg", "nothing/readme.txt"])
    done = clipbench(
        tmp_path,
        *(
            "run",
            "clip-dora",
            "--dataset-dir",
            folder,
            *TINY,
            "--only",
            "shots=0|16,method=zero-shot|lora|dora|linear-probe|mine_fault*",
            "--out",
            tmp_path / "out",
        ),
        *("--method", "mine_fault:Torn", "--method", "mine_fault:Untrained"),
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "the method mine_fault:Torn failed: IndexError: list index out of range" in done.stdout
    assert f"mine_fault.py:{line}, in logits" in done.stdout
    (file,) = (tmp_path / "out" / "tables").rglob("*.json")
    rows = {cell["row"] for cell in json.loads(file.read_text())["cells"] if cell["measured"]}
    assert {"zero-shot", "clip-dora-16shot", "untrained-clip-dora-16shot", "linear-probe-16shot"} <= rows
    assert not any(row.startswith("torn") for row in rows)
    for said in (
        "passed over, for they have no row for a folder of class folders: clip-dora/",
        "my photos: 3 classes; 15 / 6 / 9 train / val / test images",
        "images beside the class folders (loose.jpg); folders without an image (nothing)",
        "16 shots: 3 classes have only so many training images",
        f"clipbench table clip-dora/table1 --dataset-dir '{folder}' --method mine_fault:Torn",
    ):
        assert done.stdout.count(said) == 1, said
    assert "compare --paper" not in done.stdout


def test_smoke_does_not_call_the_users_images_generated(tmp_path: Path) -> None:
    folder = images(tmp_path / "mine")
    words = ("run", "fewshot", "--smoke", "--dataset-dir", folder, "--seeds", "1", "--only", "shots=0")
    done = clipbench(tmp_path, *words, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["made"]  # what is said before the runs goes elsewhere
    assert "mine: 3 classes" in done.stderr
    (text,) = (file.read_text() for file in (tmp_path / "tables").rglob("*.md"))
    assert "SMOKE PROFILE: a tiny model." in text
    assert "generated images" not in text + done.stderr


def test_only_takes_a_users_method_as_it_is_named_on_the_command_line() -> None:
    _, printed = table("clip-dora/table1")
    cell = next(printed.cells())
    protocol = replace(record(("clip-dora/table1", "clip-dora-4shot", "dtd"), 1).protocol, method="mine:Mine@01234567")
    for word in ("mine.py:Mine", "./dir/mine.py:Mine", "mine:Mine", "Mine"):
        assert Filter.read(f"method={word}").keeps(cell, protocol, ()), word
    assert not Filter.read("method=other.py:Mine").keeps(cell, protocol, ())


def test_earlier_methods_stay_in_the_table_though_they_are_not_named_again() -> None:
    paper, printed = table("clip-dora/table1")
    where = ("clip-dora/table1", "clip-dora-4shot", "dtd")
    made = [replace(r, origin=replace(r.origin, row="mine-clip-dora-4shot")) for r in records(where, (60.0, 61.0))]
    made = [replace(r, protocol=replace(r.protocol, method="file:Mine@0123456789ab")) for r in made]
    found = with_earlier_methods(printed, [*made, *records(where, (50.0,))])
    ids = [row.id for row in found.rows]
    assert ids[ids.index("clip-dora-4shot") + 1] == "mine-clip-dora-4shot"
    assert (found.row("mine-clip-dora-4shot").printed, found.row("mine-clip-dora-4shot").extra) == ("Mine", True)
    cells = compare_paper([(paper, found)], Library(made))
    (cell,) = [c for c in cells if c.cell.row.id == "mine-clip-dora-4shot" and c.ours]
    assert cell.ours is not None
    assert cell.ours.mean == 60.5
    assert with_earlier_methods(found, made) is found
    named = [replace(r, origin=replace(r.origin, label="Mine, sharper")) for r in made]
    assert with_earlier_methods(printed, named).row("mine-clip-dora-4shot").printed == "Mine, sharper"
