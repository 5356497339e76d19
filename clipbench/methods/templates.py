"""Text features of classes over several templates: named lists (``templates.toml``), or templates as they are."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from clipbench.errors import UserError, near

ONE = "one"
"""The word for the protocol's own template and no other."""
_BETWEEN = "|"


@cache
def _named() -> dict[str, list[str]]:
    return tomllib.loads(Path(__file__).with_name("templates.toml").read_text(encoding="utf-8"))


def templates_of(word: str, template: str) -> tuple[str, ...]:
    """The templates that a protocol's word stands for.

    Args:
        word: ``one`` for ``template`` alone, the name of a list, or templates with ``{}`` in them, with ``|`` between.
        template: The protocol's own.

    Raises:
        UserError: No list has that name, or a template does not hold ``{}`` once.
    """
    if word == ONE:
        return (template,)
    found = [part.strip() for part in word.split(_BETWEEN)] if "{}" in word else _named().get(word)
    if found is None:
        raise UserError(
            f"no list of templates is called {word!r}.{near(word, _named())} There are {', '.join(_named())}, {ONE} "
            f"for the protocol's template, and templates with {{}} in them and {_BETWEEN} between them."
        )
    for each in found:
        if each.count("{}") != 1:
            raise UserError(f"the template {each!r} needs {{}} once, in the place of the class name.")
    return tuple(found)


@torch.no_grad()
def mean_text_features(model: Any, names: Sequence[str], templates: Sequence[str], *, normalised: bool) -> Tensor:
    """Text features ``[C, D]`` of the names, averaged over the templates, not normalised.

    ``normalised``: each template's feature is normalised before the mean (CLIP's own way); else the mean is of what
    the text tower gives, in which longer features weigh more.
    """
    total = torch.zeros(())
    for template in templates:
        features: Tensor = model.encode_text(model.prompts([template.format(name) for name in names]))[0].float()
        total = total.to(features.device) + (functional.normalize(features, dim=-1) if normalised else features)
    return total / len(templates)
