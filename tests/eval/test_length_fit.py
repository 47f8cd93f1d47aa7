import numpy as np
import pytest

from router.eval.length_fit import length_fits


def test_perfect_predictions():
    tokens = np.arange(1.0, 201.0)[:, None]
    (fit,) = length_fits([tokens], [tokens], ["m"])
    assert (fit.n_answers, fit.half_within, fit.total_ratio) == (200, 1.0, 1.0)
    assert len(fit.predicted) == 10
    assert fit.median == pytest.approx(fit.predicted)
    assert all(
        low < mid < high for low, mid, high in zip(fit.low, fit.median, fit.high, strict=True)
    )


def test_a_factor_is_a_factor_in_both_directions():
    true = np.full((100, 1), 100.0)
    predicted = np.where(np.arange(100) % 2, 200.0, 50.0)[:, None]
    (fit,) = length_fits([predicted[:40], predicted[40:]], [true[:40], true[40:]], ["m"])
    assert fit.half_within == pytest.approx(2.0)
    assert fit.total_ratio == pytest.approx(1.25)


def test_unknown_and_empty_answers_are_left_out():
    true = np.array([[np.nan, 0.0], [np.nan, 10.0], [np.nan, np.nan]])
    unknown, known = length_fits([np.full((3, 2), 10.0)], [true], ["a", "b"])
    assert unknown.n_answers == 0
    assert np.isnan(unknown.half_within)
    assert unknown.predicted == ()
    assert (known.n_answers, known.predicted, known.median) == (1, (10.0,), (10.0,))
