"""Token ids against transformers' own CLIP tokeniser, fed with CLIP's vocabulary and merges."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from open_clip import SimpleTokenizer

from clipbench.models.clipseg.prompts import CONTEXT, shortest, tokenise

WRITTEN = (
    "", "polyp", "skin melanoma", "Tumor in the breast ultrasound image.", "Two   irregular  tumors of 12.5 mm's size!",
    "one small pink circle polyp, located in top left, of the image", "naïve Größe", "polyp " * 90,
)  # fmt: skip


def _theirs(folder: Path) -> Any:
    transformers = pytest.importorskip("transformers")
    bpe = SimpleTokenizer()
    merges = [" ".join(pair) for pair, _ in sorted(bpe.bpe_ranks.items(), key=lambda item: item[1])]
    theirs = {bpe.sot_token_id: "<|startoftext|>", bpe.eot_token_id: "<|endoftext|>"}
    vocabulary = {theirs.get(number, token): number for token, number in bpe.encoder.items()}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]), encoding="utf-8")
    return transformers.CLIPTokenizer.from_pretrained(folder)


def _compare(prompts: list[str], folder: Path) -> None:
    due = _theirs(folder)(prompts, max_length=CONTEXT, truncation=True, padding="max_length", return_tensors="pt")
    ids, mask = tokenise(prompts)
    assert (ids == due["input_ids"]).all()
    assert (mask == due["attention_mask"]).all()


def test_against_transformers(tmp_path: Path) -> None:
    _compare(list(WRITTEN), tmp_path)


def test_every_prompt_of_medvlsm(shared: Path, tmp_path: Path) -> None:
    files = sorted((shared / "data/splits/medvlsm").rglob("*.json"))
    if not files:
        pytest.skip("no annotation files of medvlsm")
    texts: set[str] = set()
    for file in files:
        for entry in json.loads(file.read_text(encoding="utf-8")):
            for prompt in entry["prompts"].values():
                texts.update([prompt] if isinstance(prompt, str) else prompt)
    assert len(texts) > 1000
    _compare(sorted(texts), tmp_path)


def test_no_prompt_is_a_start_and_an_end() -> None:
    ids, mask = tokenise([""])
    assert ids[0].tolist() == [49406, *[49407] * 76]
    assert mask[0].tolist() == [1, 1, *[0] * 75]


def test_shortest_length_cuts_nothing() -> None:
    prompts = ["polyp", "one small pink circle polyp"]
    ids, mask = tokenise(prompts)
    assert shortest(prompts) == mask.sum(dim=1).max()
    assert (tokenise(prompts, shortest(prompts))[0] == ids[:, : shortest(prompts)]).all()
    assert shortest(["polyp " * 90]) == CONTEXT
    assert shortest([]) == 2
    assert tokenise(["polyp " * 90])[0][0, -1] == 49407
