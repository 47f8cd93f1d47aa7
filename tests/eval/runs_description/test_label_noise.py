from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.eval.runs_description.label_noise import MIN_PROMPTS, estimate_noise, label_noise


def flipped(rate: float, n: int, repeats: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return grades of three models on n prompts, each asked `repeats` times, some flipped."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(rng.random((n, 3)) < rng.random((n, 1)), repeats, axis=0)
    grades = truth ^ (rng.random(truth.shape) < rate)
    return grades.astype(float), np.repeat(np.arange(n), repeats)


@pytest.mark.parametrize("rate", [0.0, 0.02, 0.1, 0.25])
@pytest.mark.parametrize("repeats", [2, 5])
def test_simulated_flips_are_found(rate: float, repeats: int):
    found = estimate_noise(*flipped(rate, 800, repeats, seed=1))
    # near one half the rate is known less well than the variance
    assert found.flip_rate == pytest.approx(rate, abs=0.012 / (1 - 2 * rate))
    assert found.variance == pytest.approx(rate * (1 - rate), abs=0.012)
    assert found.n_repeats == 800 * 3 * (repeats - 1)


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    rate = 0.08
    hits = 0
    for seed in range(200):
        found = estimate_noise(*flipped(rate, 60, 2, seed), seed=seed)
        hits += found.flip_low <= rate <= found.flip_high
    assert hits >= 180  # 95 % are promised; 200 draws of it fall below 180 once in 1,000 times


def test_prompts_that_are_noisier_than_others_count_with_their_mean():
    """Sampled answers are not all equally uncertain: the variance is the mean of e (1 - e)."""
    rng = np.random.default_rng(4)
    right = rng.beta(0.5, 0.5, (3000, 1))
    grades = (rng.random((3000, 2)) < right).astype(float).reshape(-1, 1)
    found = estimate_noise(grades, np.repeat(np.arange(3000), 2))
    assert found.variance == pytest.approx(float((right * (1 - right)).mean()), abs=0.01)
    assert found.low < 0.125 < found.high  # of Beta(1/2, 1/2)


def test_chance_alone_leaves_nothing_explained():
    grades, groups = flipped(0.5, 400, 2, seed=2)
    found = estimate_noise(grades, groups)
    assert found.flip_rate > 0.4
    assert found.unexplained == pytest.approx(1.0, abs=0.1)


def test_graded_qualities_have_a_variance_and_no_flips():
    rng = np.random.default_rng(3)
    level = np.repeat(rng.uniform(0.3, 0.7, 300), 3)
    grades = np.clip(level + 0.05 * rng.standard_normal(900), 0, 1)[:, None]
    found = estimate_noise(grades, np.repeat(np.arange(300), 3))
    assert found.variance == pytest.approx(0.05**2, rel=0.1)
    assert found.low < 0.05**2 < found.high
    assert math.isnan(found.flip_rate)


def test_too_few_repeats_are_not_estimated():
    grades, groups = flipped(0.1, MIN_PROMPTS - 1, 5, seed=0)
    assert estimate_noise(grades, groups) is None
    assert estimate_noise(np.ones((50, 2)), np.arange(50)) is None
    assert estimate_noise(np.full((50, 2), np.nan), np.zeros(50, int)) is None
    assert estimate_noise(np.empty((0, 2)), np.empty(0, int)) is None


def test_gaps_do_not_count_as_repeats():
    grades, groups = flipped(0.0, 30, 2, seed=0)
    grades[::2, :2] = np.nan
    assert estimate_noise(grades, groups).n_repeats == 30
    grades[::2, 2] = np.nan
    assert estimate_noise(grades, groups) is None


def test_constant_grades_have_no_noise():
    found = estimate_noise(np.ones((40, 1)), np.repeat(np.arange(20), 2))
    assert (found.variance, found.low, found.high, found.flip_rate) == (0, 0, 0, 0)
    assert math.isnan(found.unexplained)


def test_near_duplicates_are_compared_without_the_same_texts():
    """Every text is there twice, always with one grade; near-duplicates differ in every case."""
    same = np.repeat(np.arange(60), 2)
    near = same // 2
    grades = (same % 2).astype(float)[:, None]
    found = label_noise(grades, same, near)
    assert found.repeated.flip_rate == 0
    assert found.near.n_repeats == 30
    assert found.near.flip_rate == 0.5
    assert (found.n_prompts, found.n_near_prompts) == (60, 30)


def test_counts_are_known_where_they_are_too_few():
    found = label_noise(np.array([[1.0], [0.0], [1.0]]), np.array([0, 0, 1]), np.array([0, 0, 1]))
    assert (found.repeated, found.near, found.n_prompts, found.n_near_prompts) == (None, None, 1, 0)


@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_estimates_are_within_bounds_and_repeatable(seed: int, rate: float):
    grades, groups = flipped(rate, 25, 2, seed)
    found = estimate_noise(grades, groups)
    assert found == estimate_noise(grades, groups)
    assert 0 <= found.low <= found.variance <= found.high <= 0.5
    assert 0 <= found.flip_low <= found.flip_rate <= found.flip_high <= 0.5
