"""The score of every test image of a run, from the predictions that its record keeps."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from clipbench.results.metrics import headline
from clipbench.results.record import Record
from clipbench.results.store import Store

_FILE = "predictions.npz"
_CLOSE = 1e-3


@dataclass(frozen=True)
class ImageScores:
    """Scores ``[images]`` in percent, 0 or 100 for a class and Dice for a mask; digest of true labels or masks."""

    scores: NDArray[np.float64]
    truth: str


def image_scores(store: Store, record: Record) -> ImageScores | None:
    """The scores of a run's test images.

    None where the record keeps no predictions, or where its number is not the mean of these scores (an accuracy
    on some of the classes only).
    """
    if _FILE not in record.files:
        return None
    try:
        with np.load(store.path(record.id, _FILE), allow_pickle=False) as found:
            truth, predictions = found["masks" if "masks" in found.files else "labels"], found["predictions"]
            packed = "masks" in found.files
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
    scores = _dice(truth, predictions) if packed else 100.0 * (truth == predictions)
    if not len(scores) or abs(float(scores.mean()) - headline(record)) > _CLOSE:
        return None
    return ImageScores(scores, sha256(np.ascontiguousarray(truth).tobytes()).hexdigest())


def _dice(masks: NDArray[np.uint8], predictions: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Dice in percent of packed masks ``[n, bytes]``; 100 where both are empty."""
    shared, true, found = (_pixels(bits) for bits in (masks & predictions, masks, predictions))
    return np.where(true + found == 0, 100.0, 200.0 * shared / np.maximum(true + found, 1))


def _pixels(packed: NDArray[np.uint8]) -> NDArray[np.int64]:
    counts: NDArray[np.int64] = np.unpackbits(packed, axis=1).sum(axis=1, dtype=np.int64)
    return counts
