"""Records of older versions of the schema, and what a segmentation adds to the history."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from clipbench.results.record import Record
from tests.factory import record


def _plain(made: Record) -> dict[str, object]:
    values: dict[str, object] = json.loads(json.dumps(made.to_json()))
    return values


def test_a_history_without_validation_is_read() -> None:
    values = _plain(record())
    for line in values["history"]:  # type: ignore[attr-defined]
        del line["val_loss"], line["val_score"]
    found = Record.from_json(values)
    assert {(line.val_loss, line.val_score) for line in found.history} == {(None, None)}
    assert found == record()


def test_validation_survives() -> None:
    made = record()
    made = replace(made, history=tuple(replace(line, val_loss=0.3, val_score=71.5) for line in made.history))
    assert Record.from_json(_plain(made)) == made


@pytest.mark.parametrize("key", ["accuracy", "step"])
def test_other_keys_are_not_optional(key: str) -> None:
    values = _plain(record())
    del values["history"][0][key]  # type: ignore[index]
    with pytest.raises(ValueError, match=key):
        Record.from_json(values)
