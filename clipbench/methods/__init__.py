"""Methods by name. A method says what is trained; it loads no data, loops over nothing and knows no optimiser step.

Adding one: write a file with a class like those here, and add its line to the mapping.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from clipbench.errors import UserError

if TYPE_CHECKING:
    from clipbench.methods.base import Method

METHODS: Mapping[str, str] = {
    "zero-shot": "clipbench.methods.zero_shot:ZeroShot",
    "linear-probe": "clipbench.methods.linear_probe:LinearProbe",
    "lora": "clipbench.methods.low_rank:LoRA",
    "dora": "clipbench.methods.low_rank:DoRA",
    "full": "clipbench.methods.full:FullTuning",
}


def method(name: str) -> Method:
    """The method of that name. Raises ``UserError`` that lists the names."""
    if name not in METHODS:
        raise UserError(f"no method {name!r}; there are {', '.join(METHODS)}.")
    module, _, attribute = METHODS[name].partition(":")
    made: Method = getattr(import_module(module), attribute)()
    return made
