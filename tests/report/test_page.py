"""The HTML page of a results folder: its content, that it is safe and self-contained, and how a browser shows it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from clipbench.registry import Overrides, find
from clipbench.report.page import page
from clipbench.results.record import Record
from clipbench.results.store import Draft, Store
from tests.factory import record, records

CELL = ("lora-clip/table1", "lora-r8", "ucm-80")
FAR = ("lora-clip/table1", "lora-r4", "aid-20")
NEAR = (99.36, 99.38, 99.37, 99.35, 99.39)
BAD = "<script>alert(1)</script>"


class Reader(HTMLParser):
    """Tags, what they lead to, and whether each is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.images: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.links += [values["href"]] if "href" in values else []
        self.images += [values["src"]] if "src" in values else []
        self.ids += [values["id"]] if "id" in values else []
        if tag not in ("meta", "input", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def made(folder: Path, runs: list[Record], *tables: str) -> str:
    store = Store(folder / "results")
    store.publish([Draft(r, {"predictions.npz": b"x"}) for r in runs])
    return page(find(tables), store, None, 0.5)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> str:
    runs = [*records(CELL, NEAR), *records(FAR, [80.0, 80.1, 80.2, 80.3, 80.4])]
    runs += [record(CELL, seed, 99.0, device=BAD, complete=False, shortfall=BAD) for seed in (6,)]
    return made(tmp_path_factory.mktemp("page"), runs, "lora-clip", "clip-dora/table2")


def test_a_cell_leads_to_its_runs_and_to_every_field_of_their_protocol_with_its_basis(shown: str) -> None:
    line = shown.partition('<tr id="lora-clip-table1-lora-r4-aid-20"')[2]
    line = line[: line.index("<tr id=")]
    for part in ("98.06 ± 0.09", "80.20 ± 0.16 (5)", "−17.86", 'class="deviates">deviates'):
        assert part in line
    first = record(FAR)
    assert all(record(FAR, seed).id in line for seed in range(1, 6))
    for name in first.protocol.as_dict():
        assert f"<code>{name}</code>" in line
    basis = dict(re.findall(r"<code>(\w+)</code></td><td>[^<]*</td><td class=\"basis-(\w+)\"", line))
    assert (basis["lr"], basis["batch_size"]) == ("stated", "assumed")
    assert "recorded" not in basis.values()


def test_verdicts_audit_claims_assumptions_and_cost_are_there(shown: str) -> None:
    summary = shown.partition("<main>")[0]
    assert re.search(r'class="deviates"><b>\d+</b>deviates', summary)
    assert "6 impossible" in summary
    for part in ("claims on the printed numbers", "(taken)", "cpu: test", "No other choice was measured here"):
        assert part in shown
    assert shown.index('id="tables"') < shown.index('id="audit"') < shown.index('id="cost"')


def test_column_groups_stand_above_their_columns(shown: str) -> None:
    table2 = shown.partition('id="clip-dora-table2"')[2].partition("</thead>")[0]
    assert len(re.findall(r'<th class="group" colspan="5">', table2)) == 3


def test_the_page_is_whole_and_asks_nobody_for_anything(shown: str) -> None:
    reader = Reader()
    reader.feed(shown)
    assert not reader.open
    assert all(link.startswith("#") for link in reader.links)
    assert {link[1:] for link in reader.links} <= set(reader.ids)
    assert len(reader.ids) == len(set(reader.ids))
    assert not re.search(r"https?://|@import|url\(|<link|<iframe", shown)
    assert "default-src 'none'" in shown


def test_measured_tables_come_first_and_empty_ones_not_at_all(tmp_path: Path) -> None:
    text = made(tmp_path, records(CELL, NEAR), "lora-clip")
    titles = re.findall(r"<h3[^>]*>\s*(.*?)\s*</h3>", text, re.DOTALL)
    assert titles[0].startswith("Table I of LoRA-CLIP")
    assert any(title.startswith("Table II") for title in titles)
    assert not any("federated" in title for title in titles)


def test_computed_numbers_count_as_such_and_unprinted_rows_need_a_number(tmp_path: Path) -> None:
    text = made(tmp_path, records(CELL, NEAR), "lora-clip/text", "lora-clip/table1")
    computed = text.partition('id="lora-clip-text"')[2].partition("</article>")[0]
    assert "Nothing is measured yet" not in computed
    assert "computed from the architecture" in computed
    assert "(not in the paper)" not in text.partition('id="lora-clip-table1"')[2].partition("</article>")[0]


def test_no_claim_is_judged_on_smoke_runs(tmp_path: Path) -> None:
    smoke = Overrides(profile="smoke")
    runs = [r for row in ("lora-r16", "full") for r in records((CELL[0], row, "aid-20"), (50.0, 51.0), overrides=smoke)]
    text = made(tmp_path, runs, "lora-clip/table1")
    assert "not measured: not judged on smoke runs" in text.partition('id="claims"')[2]
    assert not re.search(r"[+−]4[678]\.\d\d", text)  # printed 98.35 and 97.71 less 50.5


def test_texts_of_records_are_escaped(shown: str) -> None:
    assert BAD not in shown
    assert shown.count("<script") == 1
    assert shown.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 2


def test_an_effect_of_a_choice_stands_beside_the_assumption(tmp_path: Path) -> None:
    other = Overrides(assume={"scaling": "alpha"})
    runs = [*records(CELL, NEAR), *records(CELL, [s - 2 for s in NEAR], overrides=other)]
    assert "−2.00" in made(tmp_path, runs, "lora-clip/table1").partition('id="assumptions"')[2]


def test_figures_are_inlined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clipbench.report.page.drawn", lambda *_: {"figure3.png": b"\x89PNG", "figure3.svg": b"<svg"})
    found = Reader()
    found.feed(made(tmp_path, [], "lora-clip/figure3"))
    assert found.images == ["data:image/png;base64,iVBORw=="]


# In a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("no chromium and chromedriver here (Debian: apt install chromium chromium-driver)")
    webdriver = pytest.importorskip("selenium.webdriver", reason="no selenium here (pip install selenium)")
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(word)
    opened = webdriver.Chrome(options=options, service=Service(driver))
    yield opened
    opened.quit()


@pytest.mark.parametrize("width", [1280, 400])
def test_in_a_browser_it_fits_filters_sorts_and_opens_a_cell(
    shown: str, browser: Any, tmp_path: Path, width: int
) -> None:
    path = tmp_path / "report.html"
    path.write_text(shown, encoding="utf-8")
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(path.as_uri())
    ask = browser.execute_script
    ask("for (const d of document.querySelectorAll('details')) { d.open = true; }")
    assert ask("return document.documentElement.scrollWidth") <= width
    ask("text.value = 'r=4 aid'; filter();")
    lines = "[...document.querySelectorAll('.cells .list > tbody > tr')].filter(x => !x.hidden)"
    assert {"r=4" in word for word in ask(f"return {lines}.map(x => x.textContent)")} == {True}
    ask("text.value = ''; verdict.value = 'deviates'; filter();")
    assert set(ask(f"return {lines}.map(x => x.dataset.verdict)")) == {"deviates"}
    ask("verdict.value = ''; filter(); document.querySelectorAll('.cells .list th button')[2].click();")
    numbers = ask("return [...document.querySelector('.cells .list').tBodies[0].rows].map(x => x.cells[2].textContent)")
    values = [float(number.split("±")[0].strip()) for number in numbers if number[0].isdigit()]
    assert values == sorted(values)
    ask("for (const d of document.querySelectorAll('details')) { d.open = false; }")
    ask("document.querySelector('a[href=\"#lora-clip-table1-lora-r4-aid-20\"]').click(); reveal();")
    assert ask("return document.querySelector('#lora-clip-table1-lora-r4-aid-20 details').open")
    assert ask("return document.querySelector('#lora-clip-table1-lora-r4-aid-20').closest('details').open")
    assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
