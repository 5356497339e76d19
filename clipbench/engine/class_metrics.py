"""What is measured of predicted classes."""

from __future__ import annotations

import numpy as np


def class_metrics(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Accuracy, and its mean over the classes, in percent, of labels and predictions ``[t]``."""
    per_class = [float((predicted[truth == c] == c).mean()) for c in np.unique(truth)]
    return {
        "accuracy": 100.0 * float((predicted == truth).mean()),
        "mean_class_accuracy": 100.0 * float(np.mean(per_class)),
    }
