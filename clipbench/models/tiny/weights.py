"""The weights file of the tiny model: half precision, and of the token embeddings only the rows that were trained.

The full table of 49,408 rows would be 9 MB for a model whose captions use some 500 tokens. The other rows are rebuilt
from a fixed seed with numpy, so that they are the same everywhere.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import open_clip
import torch
from safetensors.torch import load_file, save_file

from clipbench.models.tiny import NAME, tiny_config_path

_TABLE = "token_embedding.weight"
_IDS = "token_embedding.trained_ids"
_ROWS = "token_embedding.trained_rows"


def new_model() -> open_clip.CLIP:
    """The untrained model as open_clip makes it from the configuration, its token embeddings from the fixed seed."""
    if NAME not in open_clip.list_models():
        open_clip.add_model_config(tiny_config_path())
    with _without_warning("No pretrained weights loaded"):
        model = open_clip.create_model(NAME, load_weights=False)
    with torch.no_grad():
        model.token_embedding.weight.copy_(_untrained_table(*model.token_embedding.weight.shape))
    return model


@contextmanager
def _without_warning(start: str) -> Iterator[None]:
    """Keep open_clip's warning from a user whose weights are loaded a moment later."""

    def other(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(start)

    root = logging.getLogger()
    root.addFilter(other)
    try:
        yield
    finally:
        root.removeFilter(other)


def _untrained_table(rows: int, width: int) -> torch.Tensor:
    rng = np.random.Generator(np.random.Philox(20240607))
    return torch.from_numpy(rng.standard_normal((rows, width), dtype=np.float32) * np.float32(0.02))


def save_weights(model: open_clip.CLIP, trained_ids: Iterable[int], path: Path) -> None:
    """Write the model's weights in half precision, with the embeddings of `trained_ids` alone."""
    tensors = {name: tensor.detach().half().contiguous() for name, tensor in model.state_dict().items()}
    ids = torch.tensor(sorted(set(trained_ids)), dtype=torch.int32)
    tensors[_ROWS] = tensors.pop(_TABLE)[ids].contiguous()
    tensors[_IDS] = ids
    save_file(tensors, path)


def load_weights(model: open_clip.CLIP, path: Path) -> None:
    """Fill a `new_model()` from a file that `save_weights` wrote."""
    tensors = {name: tensor.float() for name, tensor in load_file(path).items()}
    table = model.token_embedding.weight.detach().clone()
    table[tensors.pop(_IDS).long()] = tensors.pop(_ROWS)
    model.load_state_dict(tensors | {_TABLE: table})
