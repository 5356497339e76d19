"""``clipbench quickstart`` from announcement to verdict, with a server on loopback and tiny stand-ins."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from clipbench.data import catalogue
from clipbench.data.catalogue import entry
from tests.cli.commands_for_tests import Captured, as_json, call
from tests.data.download.made import jpeg, zipped
from tests.data.download.server import Server, serving

PER_CLASS = 10


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A catalogue whose EuroSAT is tiny and lies on the server; both of its files are asked for there."""
    folder = tmp_path / "catalogue"
    shutil.copytree(Path(catalogue.__file__).parent, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    text = (folder / "eurosat.toml").read_text(encoding="utf-8")
    names = re.findall(r"^(\w+) = \"", text.partition("[layout_options.names]")[2].partition("[classes]")[0], re.M)
    files = {
        f"2750/{name}/{name}_{at + 1}.jpg": jpeg(17 * number + at)
        for number, name in enumerate(names)
        for at in range(PER_CLASS)
    }
    with serving() as one:
        archive = zipped(files)
        address = one.put("EuroSAT.zip", archive)
        text = re.sub(r"= \[\d+, \d+, \d+\]", "= [5, 2, 3]", text)
        text = re.sub(r"train = 13500\nval = 5400\ntest = 8100", "train = 50\nval = 20\ntest = 30", text)
        text = re.sub(r"urls = \[.*\]", f'urls = ["{address}"]', text)
        text = text.replace('bytes = "unknown"\nchecksum = "md5', f'bytes = {len(archive)}\nchecksum = "md5')
        text = text.replace('checksum = "md5:c8fa014336c82ac7804f0398fcb19387"', 'checksum = "unknown"')
        text = re.sub(r'gdrive = ".*"', f'urls = ["{one.url("absent.json")}"]', text)
        (folder / "eurosat.toml").write_text(text, encoding="utf-8")
        monkeypatch.setattr(catalogue, "_FOLDER", folder)
        entry.cache_clear()
        yield one
        entry.cache_clear()


def test_it_announces_fetches_runs_and_compares(capsys: Captured, tmp_path: Path, server: Server) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    words = (
        "quickstart",
        "--dataset",
        "eurosat",
        "--data",
        data,
        "--out",
        out,
        "--backbone",
        "clipbench-tiny",
        "--device",
        "cpu",
        "--yes",
    )
    code, said, err = call(capsys, *words)
    assert code == 0, err
    announced, _, rest = said.partition("$ clipbench data get eurosat")
    assert re.search(r"EuroSAT will be downloaded: \d+ kB", announced)
    assert "30 test images pass once" in announced
    assert "100 of 100 images" in rest
    assert "47.5" in rest.partition("$ clipbench compare")[2]
    only = ("--only", "row=zero-shot,dataset=eurosat")
    (cell,) = as_json(capsys, "compare", "clip-dora/table1", "--out", out, *only, "--json")["cells"]
    assert cell["measured"]["mean"] is not None
    assert cell["verdict"] == "not comparable"
    asked = len(server.asked)
    code, said, _ = call(capsys, *words)
    assert code == 0
    assert "EuroSAT is here." in said
    assert "0 runs made" in said
    assert [path for path, _ in server.asked[asked:] if path == "EuroSAT.zip"] == []


def test_without_a_yes_nothing_is_fetched(capsys: Captured, tmp_path: Path, server: Server) -> None:
    code, said, err = call(
        capsys, "quickstart", "--dataset", "eurosat", "--data", tmp_path / "data", "--out", tmp_path / "out"
    )
    assert code == 2
    assert "Nothing is downloaded or run" in err
    assert re.search(r"ViT-B/16 (is here|will be downloaded: about 600 MB)", said)
    assert not (tmp_path / "data").exists()
    assert not (tmp_path / "out").exists()


def test_a_step_that_fails_ends_it_with_its_code(capsys: Captured, tmp_path: Path, server: Server) -> None:
    server.files.clear()
    words = ("quickstart", "--dataset", "eurosat", "--data", tmp_path / "data", "--out", tmp_path / "out", "--yes")
    code, said, err = call(capsys, *words)
    assert code == 2
    assert "404" in err
    assert "$ clipbench run" not in said
