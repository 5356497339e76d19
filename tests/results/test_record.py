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


def test_signs_that_break_a_line_or_steer_a_terminal_become_spaces() -> None:
    values = _plain(record())
    values["environment"]["device"] = "cpu: x\n\\input{/etc/passwd}\x1b[2J\u202e"  # type: ignore[index]
    assert Record.from_json(values).environment.device == "cpu: x \\input{/etc/passwd} [2J "


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("environment", "device", None),
        ("environment", "threads", "many"),
        ("data", "classes", 0),
        ("data", "test_images", -1),
        ("data", "complete", "yes"),
        ("model", "total_parameters", None),
        ("cost", "seconds", "long"),
        ("cost", "replicas", 0),
        ("cost", "seconds", 0.0),
        ("cost", "seconds", float("nan")),
        ("cost", "energy_joules", -1.0),
        ("cost", "peak_memory_bytes", 10**400),
        ("metrics", "accuracy", 190.0),
        ("metrics", "dice", -5.0),
        ("files", "..", "missing"),
        ("origin", "assume", []),
        ("origin", "row", 3),
    ],
)
def test_a_value_of_another_type_or_one_that_cannot_be_is_refused(part: str, name: str, value: object) -> None:
    values = _plain(record())
    values[part][name] = value  # type: ignore[index]
    with pytest.raises(
        ValueError, match=r"its .*(not of the type|not a table|not a perc|no numbers)|it (counts fewer|names files)"
    ):
        Record.from_json(values)
