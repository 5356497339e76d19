"""Prompts: the protocol's template around each class name."""

from __future__ import annotations

from clipbench.data.images import ImageSet
from clipbench.errors import UserError
from clipbench.spec import Protocol


def prompts_of(images: ImageSet, protocol: Protocol) -> list[str]:
    """One prompt per class; the template ``dataset`` is the data set's own.

    Raises ``UserError`` for a template without a place for the name.
    """
    template = images.template if protocol.template == "dataset" else protocol.template or ""
    if template.count("{}") != 1:
        raise UserError(f"the template {template!r} needs {{}} once, in the place of the class name.")
    return [template.format(name) for name in images.prompt_names]
