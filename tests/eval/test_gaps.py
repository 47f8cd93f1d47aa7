from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from router.dial import PoolMeans
from router.eval.gaps import fill_missing, mean_outcomes
from router.eval.protocol import reference_model


@given(
    arrays(np.float64, st.tuples(st.integers(1, 8), st.integers(1, 5)), elements=st.floats(0, 1)),
    st.randoms(use_true_random=False),
)
def test_filled_gaps_are_qualities(quality: np.ndarray, random):
    gaps = np.array([[random.random() < 0.4 for _ in row] for row in quality])
    given = np.where(gaps, np.nan, quality)
    filled = fill_missing(given)
    assert ((filled >= 0) & (filled <= 1)).all()
    np.testing.assert_array_equal(filled[~gaps], quality[~gaps])
    np.testing.assert_array_equal(np.isnan(given), gaps)  # the input is left alone


def test_gaps_follow_the_prompt_and_the_model():
    rng = np.random.default_rng(0)
    difficulty = rng.random((400, 1))
    quality = np.clip(difficulty + np.array([-0.2, 0.0, 0.1, 0.2]), 0, 1)
    gaps = rng.random(quality.shape) < 0.4
    filled = fill_missing(np.where(gaps, np.nan, quality))
    errors = np.abs(filled - quality)[gaps].mean()
    by_mean = np.abs(quality - quality.mean(axis=0))[gaps].mean()
    assert errors < 0.65 * by_mean


def test_a_model_that_only_got_hard_prompts_is_not_taken_for_a_bad_one():
    rng = np.random.default_rng(1)
    difficulty = rng.random((600, 1))
    quality = (rng.random((600, 3)) < difficulty + np.array([-0.1, 0.0, 0.1])).astype(float)
    energy_j = np.tile([1.0, 2.0, 30.0], (600, 1))
    whole = mean_outcomes(quality, energy_j)
    assert whole == PoolMeans.of(quality, energy_j)
    assert reference_model(quality, energy_j) == 2
    quality[quality[:, 1] == 1.0, 2] = np.nan
    energy_j[np.isnan(quality)] = 500.0  # never spent
    plain, found = PoolMeans.of(quality, energy_j), mean_outcomes(quality, energy_j)
    assert plain.quality[2] < plain.quality[1]
    assert abs(found.quality[2] - whole.quality[2]) < abs(plain.quality[2] - whole.quality[2])
    assert found.energy_j == whole.energy_j
