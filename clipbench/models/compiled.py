"""Transformer blocks compiled one by one by ``torch.compile``: equal blocks share their code, shapes are static."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from inspect import signature

import torch
from torch import nn

from clipbench.adapters.layouts import find_blocks
from clipbench.errors import UserError

_BACKEND = "inductor"
_COMPILERS = ("g++", "clang++", "cl")
_VARIANTS = 64
"""Codes of one block at most: each batch size, prompt length and tower, with and without gradients, has one of its own.
PyTorch stops at 8, and runs the block as it stands from then on."""


def require_compiler(device: torch.device) -> None:
    """Raises ``UserError`` where ``torch.compile`` would find nothing to compile with on that device."""
    if device.type == "cuda" and find_spec("triton") is None:
        raise UserError("--compile needs the triton package on a GPU; pip install triton, or leave --compile out.")
    named = os.environ.get("CXX")
    names = [named] if named else _COMPILERS
    if device.type == "cpu" and not any(shutil.which(name) for name in names):
        raise UserError(
            f"--compile needs a C++ compiler on a CPU, and {' or '.join(names)} is not on the PATH; install one, or "
            f"leave --compile out."
        )


@contextmanager
def compiled_blocks(model: nn.Module, *, asked: bool) -> Iterator[None]:
    """Compile, where that is asked, every block of the model's transformers; each when it first runs in the body.

    Raises ``UserError`` for a model without blocks of a known layout, and where the compiler fails in the body.
    """
    if not asked:
        yield
        return
    from torch._dynamo.exc import TorchDynamoException

    blocks = [model.get_submodule(block.path) for block in find_blocks(model)]
    if not blocks:
        raise UserError(
            f"--compile works on transformer blocks, and this {type(model).__name__} has none of a known layout; leave "
            f"--compile out."
        )
    most = {"recompile_limit": _VARIANTS} if "recompile_limit" in signature(torch.compile).parameters else {}
    for block in blocks:
        block.compile(dynamic=False, backend=_BACKEND, **most)
    try:
        yield
    except TorchDynamoException as error:
        said = " ".join(str(error).split())[:300]
        raise UserError(f"PyTorch cannot compile this model ({said}); leave --compile out.") from error
