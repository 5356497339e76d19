"""Claims on made-up records: what holds, what does not, what the seeds cannot tell, and how many would."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from clipbench.audit.sentences.claim import Claim, load_claims
from clipbench.audit.sentences.words import Outcome
from clipbench.cli.main import main
from clipbench.compare.cells import Library
from clipbench.compare.claims import Bench, on_measured
from clipbench.registry import Overrides
from clipbench.results.record import Record
from tests.factory import PAPERS, records

LORA = PAPERS["lora-clip"]
CLAIMS: dict[str, Claim] = {c.id: c for c in load_claims(LORA)}
T1, T2 = "lora-clip/table1", "lora-clip/table2"


def judge(name: str, found: Sequence[Record]) -> Outcome:
    outcome = on_measured(CLAIMS[name], Bench(LORA, Library(found)))
    assert outcome is not None
    return outcome


def pair(ours: Sequence[float], theirs: Sequence[float]) -> list[Record]:
    return [*records((T2, "clip-l", "nwpu-10"), ours), *records((T2, "vit-l", "nwpu-10"), theirs)]


def test_a_printed_size_is_met() -> None:
    outcome = judge("clip-l-over-vit-l", pair([95.2, 95.1, 95.3, 95.2, 95.25], [90.6, 90.6, 90.7, 90.7, 90.6]))
    assert outcome.verdict == "holds"
    assert "+4.57 ±" in outcome.found
    assert "(5 seeds)" in outcome.found


def test_a_printed_size_is_missed() -> None:
    assert judge("clip-l-over-vit-l", pair([95.2, 95.1, 95.3], [94.1, 94.0, 94.3])).verdict == "does not hold"


def test_two_scattered_seeds_cannot_tell_and_say_how_many_would() -> None:
    outcome = judge("clip-l-over-vit-l", pair([95.2, 94.4], [90.2, 90.3]))
    assert outcome.verdict == "cannot be told with these seeds"
    assert outcome.seeds_needed is not None
    assert outcome.seeds_needed > 2


def test_without_records_nothing_is_said() -> None:
    outcome = judge("clip-l-over-vit-l", records((T2, "clip-l", "nwpu-10"), [95.0]))
    assert outcome.verdict == "not measured"
    assert "vit-l/nwpu-10" in outcome.found
    assert on_measured(CLAIMS["merged"], Bench(LORA, Library([]))) is None


def test_no_common_seed() -> None:
    found = [*records((T2, "clip-l", "nwpu-10"), [95.0]), *records((T2, "vit-l", "nwpu-10"), [90.0, 91.0])[1:]]
    assert "no seed in common" in judge("clip-l-over-vit-l", found).found


def test_an_order_needs_every_difference() -> None:
    best = [98.3, 98.4, 98.35]
    others = {row: [97.0, 97.1, 97.05] for row in ("lora-r4", "lora-r8", "lora-r32", "full")}

    def run(**changed: list[float]) -> Outcome:
        rows = others | {k.replace("_", "-"): v for k, v in changed.items()}
        found = [r for row, v in rows.items() for c in ("aid-20", "aid-50") for r in records((T1, row, c), v)]
        found += [r for c in ("aid-20", "aid-50") for r in records((T1, "lora-r16", c), changed.get("lora_r16", best))]
        return judge("r16-best-on-aid", found)

    assert run().verdict == "holds"
    assert run(lora_r32=[98.9, 99.0, 98.95], lora_r4=[99.0, 99.1, 99.05]).verdict == "does not hold"
    close = run(lora_r16=[97.1, 97.0, 97.3], lora_r32=[97.0, 97.1, 97.05], lora_r4=[97.0, 97.1, 97.05])
    assert close.verdict == "cannot be told with these seeds"


def test_quoted_numbers_stand_with_their_own_spread() -> None:
    """HGTNet 96.91 ± 0.14, of an unknown number of runs: its spread stays whatever we do."""
    clear = judge("gain-over-published-aid-20", records((T1, "lora-r16", "aid-20"), [98.3, 98.4, 98.35, 98.3, 98.4]))
    assert clear.verdict == "holds"
    close = judge("gain-over-published-aid-20", records((T1, "lora-r16", "aid-20"), [97.0, 97.1, 97.05, 97.0, 97.1]))
    assert (close.verdict, close.seeds_needed) == ("cannot be told with these seeds", None)


def test_no_sentence_is_judged_on_smoke_runs() -> None:
    smoke = Overrides(profile="smoke")
    found = [r for row in ("lora-r16", "full") for r in records((T1, row, "aid-20"), [50.0, 51.0], overrides=smoke)]
    outcome = judge("gain-over-full-aid-20", found)
    assert (outcome.verdict, outcome.found) == ("not measured", "not judged on smoke runs")


@pytest.mark.parametrize(("truth", "wrong"), [(4.55, "does not hold"), (5.2, "holds"), (0.0, "holds")])
def test_error_rates_by_simulation(truth: float, wrong: str) -> None:
    """Five seeds of spread 0.2: a true claim is denied, and a false one granted, in at most about 5% of the trials."""
    draw = np.random.default_rng(1)
    made, trials = 0, 150
    for _ in range(trials):
        ours, theirs = draw.normal(90 + truth, 0.2, 5), draw.normal(90, 0.2, 5)
        made += judge("clip-l-over-vit-l", pair(list(ours), list(theirs))).verdict == wrong
    assert made <= 0.05 * trials + 2 * np.sqrt(0.05 * 0.95 * trials)


def test_the_command_reads_a_results_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claims", "lora-clip", "--measured", "--out", str(tmp_path), "--format", "json"]) == 0
    claims = {c["id"]: c for c in json.loads(capsys.readouterr().out)["LoRA-CLIP"]}
    assert claims["clip-l-over-vit-l"]["on_ours"]["verdict"] == "not measured"
    assert claims["merged"]["on_ours"] is None
    assert main(["claims", "lora-clip", "--measured", "--out", str(tmp_path)]) == 0
    assert "Nothing is measured yet" in capsys.readouterr().out
