"""Short segmentation passes on the generated Kvasir-SEG, for the tests of the engine."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from clipbench.plan.select import Planned, make_plan
from clipbench.registry import Overrides
from clipbench.results.store import Draft


def planned(
    column: str = "clip-dora", seeds: Sequence[int] = (1,), row: str = "kvasir", **fields: Any
) -> list[Planned]:
    """The smoke runs of one cell of CLIP-DoRA's Table 4, twelve training images, three epochs."""
    pytest.importorskip("transformers")
    overrides = Overrides("smoke", fields={"limit": 12, "epochs": 3, "batch_size": 5} | fields)
    return list(make_plan(["segmentation"], overrides, [f"row={row}", f"column={column}"], seeds).runs)


def line(draft: Draft) -> list[tuple[Any, ...]]:
    """All of the history that is not a time."""
    return [(x.epoch, x.step, x.train_loss, x.lr, x.accuracy, x.val_loss, x.val_score) for x in draft.record.history]


def stored(draft: Draft) -> dict[str, np.ndarray]:
    """Masks and predictions ``[t, S, S]`` (bool) of the record's file."""
    with np.load(io.BytesIO(draft.files["predictions.npz"])) as found:
        side = int(found["size"])
        return {n: np.unpackbits(found[n], axis=1).reshape(-1, side, side) > 0 for n in ("masks", "predictions")}
