from __future__ import annotations

import numpy as np
import pytest

from router.eval.reliability import reliability_curves


def test_true_probabilities_lie_on_the_diagonal():
    rng = np.random.default_rng(0)
    expected = rng.random((4, 3000, 2))
    right = (rng.random(expected.shape) < expected).astype(float)
    curves = reliability_curves(list(expected), list(right), ["a", "b"])
    assert [curve.model for curve in curves] == ["a", "b"]
    for curve in curves:
        assert len(curve.count) == 15
        assert sum(curve.count) == 12_000
        assert list(curve.predicted) == sorted(curve.predicted)
        np.testing.assert_allclose(curve.predicted, curve.observed, atol=0.06)
        inside = [
            low <= p <= high
            for low, p, high in zip(curve.low, curve.predicted, curve.high, strict=True)
        ]
        assert sum(inside) >= 12


def test_bold_predictions_lie_off_it():
    (curve,) = reliability_curves([np.full((100, 1), 0.9)], [np.zeros((100, 1))], ["bold"])
    assert (curve.predicted, curve.observed, curve.count) == (
        (pytest.approx(0.9),),
        (0.0,),
        (100,),
    )
    assert curve.high[0] < 0.05


def test_half_a_point_counts_as_good_and_intervals_stay_inside():
    quality = np.array([[0.5], [0.49], [1.0], [0.0]])
    (curve,) = reliability_curves([np.array([[0.1], [0.2], [0.3], [0.4]])], [quality], ["m"])
    assert curve.observed == (1.0, 0.0, 1.0, 0.0)
    assert min(curve.low) >= -1e-12
    assert max(curve.high) <= 1 + 1e-12
