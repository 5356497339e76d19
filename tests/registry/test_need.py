"""No code has a default of its own for a protocol field: it asks for the value, or is told what lacks it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clipbench.errors import UserError
from clipbench.registry import Cell, Protocol, Run, find, resolve


def test_a_needed_field_is_given_even_where_it_is_nought() -> None:
    assert Protocol(hflip=0.0, drop_last=False).need("hflip") == 0.0
    assert Protocol(hflip=0.0, drop_last=False).need("drop_last") is False


def test_a_lacking_field_is_named_with_its_meaning_table_and_row() -> None:
    ((paper, table),) = find(["lora-clip/table1"])
    found = resolve(paper, table, Cell(table.row("lora-r4"), table.column("ucm-80"))).protocol
    with pytest.raises(UserError, match=r"lora-clip/table1, row lora-r4, column ucm-80: .* batch_size \(images per"):
        replace(found, batch_size=None).need("batch_size")


def test_where_a_protocol_comes_from_is_no_part_of_what_it_is() -> None:
    a, b = Protocol.of({"rank": 4}, "one table, row a"), Protocol.of({"rank": 4}, "another table, row b")
    assert (a, a.digest, Run(a, 1).id) == (b, b.digest, Run(b, 1).id)
    assert len({a, b}) == 1
    assert "origin" not in a.as_dict()
