"""What is measured of predicted classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def class_metrics(truth: np.ndarray, predicted: np.ndarray, known: Sequence[int] = ()) -> dict[str, float]:
    """Accuracy, and its mean over the classes, in percent, of labels and predictions ``[t]``.

    With ``known`` classes, both are over the images of these alone; of the others, ``unknown_accuracy`` is the share
    that is told to be none of them, and ``h_score`` the harmonic mean of that and of the accuracy (ODG-CLIP,
    pacs.py:452-472). Without an image of another class there are no such two.
    """
    is_known = np.isin(truth, list(known)) if known else np.ones(len(truth), dtype=bool)
    metrics = _accuracies(truth[is_known], predicted[is_known])
    if is_known.all():
        return metrics
    rejected = 100.0 * float((~np.isin(predicted[~is_known], list(known))).mean())
    return {**metrics, "unknown_accuracy": rejected, "h_score": _harmonic(metrics["accuracy"], rejected)}


_BINS = 15
"""Bins of equal width of the expected calibration error (Guo et al. 2017)."""


def calibration(
    truth: np.ndarray, predicted: np.ndarray, confidence: np.ndarray, nll: np.ndarray, known: Sequence[int] = ()
) -> dict[str, float]:
    """Mean negative log-likelihood, in nats, and expected calibration error, in percent, over the known classes.

    Of labels, predictions, the predictions' probabilities and each image's negative log-likelihood, all ``[t]``.
    """
    counted = np.isin(truth, list(known)) if known else np.ones(len(truth), dtype=bool)
    right, sure = (predicted == truth)[counted].astype(np.float64), confidence[counted].astype(np.float64)
    bins = np.clip(np.ceil(sure * _BINS).astype(int) - 1, 0, _BINS - 1)
    gaps = [abs(right[bins == b].sum() - sure[bins == b].sum()) for b in range(_BINS)]
    return {"nll": float(nll[counted].astype(np.float64).mean()), "ece": 100.0 * float(sum(gaps)) / max(len(right), 1)}


def _accuracies(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    per_class = [float((predicted[truth == c] == c).mean()) for c in np.unique(truth)]
    return {
        "accuracy": 100.0 * float((predicted == truth).mean()),
        "mean_class_accuracy": 100.0 * float(np.mean(per_class)),
    }


def _harmonic(a: float, b: float) -> float:
    return 2.0 * a * b / (a + b) if a + b > 0.0 else 0.0
