"""Accuracies and ODG-CLIP's H-score, against counting one image at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipbench.engine.tasks.class_metrics import class_metrics


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 7)), min_size=1, max_size=60))
def test_without_known_classes_every_image_counts(pairs: list[tuple[int, int]]) -> None:
    truth, predicted = (np.array(side) for side in zip(*pairs, strict=True))
    found = class_metrics(truth, predicted)
    assert set(found) == {"accuracy", "mean_class_accuracy"}
    assert found["accuracy"] == pytest.approx(100 * sum(t == p for t, p in pairs) / len(pairs))


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 7)), min_size=1, max_size=60), st.sets(st.integers(0, 6)))
def test_known_classes_and_the_h_score(pairs: list[tuple[int, int]], some: set[int]) -> None:
    """Index 7 says unknown; what is predicted of an image of an unknown class is right if it is no known class."""
    known = sorted(some | {pairs[0][0]})
    truth, predicted = (np.array(side) for side in zip(*pairs, strict=True))
    found = class_metrics(truth, predicted, known)
    inside = [(t, p) for t, p in pairs if t in known]
    outside = [p for t, p in pairs if t not in known]
    accuracy = 100 * sum(t == p for t, p in inside) / len(inside)
    assert found["accuracy"] == pytest.approx(accuracy)
    by_class = {t: [p for u, p in inside if u == t] for t, _ in inside}
    assert found["mean_class_accuracy"] == pytest.approx(
        100 * sum(ps.count(t) / len(ps) for t, ps in by_class.items()) / len(by_class)
    )
    assert ("h_score" in found) == bool(outside)
    if outside:
        rejected = 100 * sum(p not in known for p in outside) / len(outside)
        assert found["unknown_accuracy"] == pytest.approx(rejected)
        due = 0.0 if accuracy * rejected == 0 else 2 / (1 / accuracy + 1 / rejected)
        assert found["h_score"] == pytest.approx(due)
