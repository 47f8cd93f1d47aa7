import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from router.eval.metrics import (
    auc,
    brier,
    ece,
    ece_floor,
    energies_at_bars,
    length_error,
    log_energy_ratio,
    peak_quality,
)

REFERENCE = np.array([10.0, 0.8])


def test_energies_at_bars_mix_with_the_reference():
    points = np.array([[2.0, 0.4]])
    # Half way between the point and the reference the quality is 0.6, three quarters of 0.8.
    assert energies_at_bars(points, REFERENCE, [0.5, 0.75, 1.0]).tolist() == pytest.approx(
        [2.0, 6.0, 10.0]
    )


def test_a_bar_that_is_never_reached_costs_twice_the_reference():
    assert energies_at_bars(np.array([[2.0, 0.4]]), REFERENCE, [1.01]).tolist() == [20.0]


def test_log_energy_ratio_by_hand():
    zero = np.array([[2.0, 0.4]])
    # A method that has the reference's quality for half of its energy.
    points = np.array([[2.0, 0.4], [5.0, 0.8]])
    zero_j = [2 + 8 * (bar * 0.8 - 0.4) / 0.4 for bar in (0.9, 0.95, 0.98, 1.0)]
    ours_j = [2 + 3 * (bar * 0.8 - 0.4) / 0.4 for bar in (0.9, 0.95, 0.98, 1.0)]
    expected = np.mean(np.log(np.array(ours_j) / np.array(zero_j)))
    assert log_energy_ratio(points, zero, REFERENCE) == pytest.approx(expected)
    assert log_energy_ratio(zero, zero, REFERENCE) == 0
    assert log_energy_ratio(zero, points, REFERENCE) == pytest.approx(-expected)


def test_more_settings_never_need_more_energy():
    rng = np.random.default_rng(0)
    points, zero = rng.random((20, 2)), rng.random((3, 2))
    assert log_energy_ratio(points, zero, REFERENCE) <= log_energy_ratio(
        points[:5], zero, REFERENCE
    )


def test_free_answers_do_not_break_the_ratio():
    free = np.array([[0.0, 1.0]])
    assert log_energy_ratio(free, free, np.array([0.0, 1.0])) == 0
    assert math.isfinite(log_energy_ratio(free, REFERENCE[None], REFERENCE))


def test_peak_quality():
    assert peak_quality(np.array([[3.0, 0.9], [1.0, 0.2]]), REFERENCE) == pytest.approx(1.125)
    assert peak_quality(np.array([[3.0, 0.5]]), REFERENCE) == 1.0
    assert math.isnan(peak_quality(np.array([[3.0, 0.5]]), np.array([1.0, 0.0])))


def test_auc_is_scikit_learns_with_ties():
    rng = np.random.default_rng(1)
    predicted = rng.integers(0, 6, (80, 3)) / 6
    quality = rng.random((80, 3))
    expected = np.mean([roc_auc_score(quality[:, j] >= 0.5, predicted[:, j]) for j in range(3)])
    assert auc(predicted, quality) == pytest.approx(expected)


def test_auc_leaves_models_out_that_are_always_right():
    predicted = np.array([[0.1, 0.5], [0.9, 0.6]])
    assert auc(predicted, np.array([[0.0, 1.0], [1.0, 1.0]])) == 1.0
    assert math.isnan(auc(predicted, np.ones((2, 2))))


def test_brier_counts_partial_credit():
    assert brier(np.array([[0.5, 1.0]]), np.array([[0.25, 1.0]])) == pytest.approx(0.03125)


def test_ece_by_hand():
    # Fifteen bins of two prompts each: every bin predicts 0.7 and sees half right.
    predicted = np.repeat(0.7 + np.arange(15) / 1e6, 2)[:, None]
    quality = np.tile([0.0, 1.0], 15)[:, None]
    assert ece(predicted, quality) == pytest.approx(0.2, abs=1e-4)
    assert ece(quality * 1.0, quality) == 0


@given(st.permutations(range(40)))
def test_ece_does_not_depend_on_the_order_of_the_prompts(order):
    rng = np.random.default_rng(2)
    predicted = rng.integers(0, 5, (40, 2)) / 4
    quality = (rng.random((40, 2)) < predicted).astype(float)
    assert ece(predicted[order], quality[order]) == pytest.approx(ece(predicted, quality))


def test_ece_of_a_constant_is_its_distance_from_the_share_of_right_answers():
    quality = np.array([[1.0]] * 30 + [[0.0]] * 10)
    assert ece(np.full((40, 1), 0.6), quality) == pytest.approx(0.15)


def test_ece_of_few_prompts():
    assert ece(np.array([[0.25], [0.5]]), np.array([[0.0], [1.0]])) == pytest.approx(0.375)


def test_calibrated_predictions_lie_at_the_floor_and_others_above():
    rng = np.random.default_rng(3)
    chance = rng.random((1400, 4))
    right = (rng.random((1400, 4)) < chance).astype(float)
    floor = ece_floor(chance, seed=0)
    assert 0.02 < floor < 0.05
    assert ece(chance, right) == pytest.approx(floor, abs=0.01)
    assert ece(np.sqrt(chance), right) > 2 * floor
    assert floor == ece_floor(chance, seed=0)
    assert ece_floor(np.round(chance)) == 0


def test_length_error_is_a_median_of_log_ratios():
    true = np.array([[100.0, np.nan], [100.0, 100.0]])
    predicted = np.array([[200.0, 5.0], [50.0, 100.0]])
    assert length_error(predicted, true) == pytest.approx(math.log(2))
    assert length_error(np.array([[0.0]]), np.array([[0.0]])) == 0
    assert math.isnan(length_error(predicted, np.full((2, 2), np.nan)))
