import math

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from router.eval.intervals import interval95, paired_interval95


def test_interval_is_students():
    values = [0.1, -0.4, 0.3, 0.25, -0.05]
    found = interval95(values)
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    assert found.mean == pytest.approx(np.mean(values))
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_one_value_has_a_mean_and_no_interval():
    found = interval95([2.5])
    assert found.mean == 2.5
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_nothing_has_no_mean():
    assert math.isnan(interval95([]).mean)
    assert math.isnan(interval95([np.nan, np.inf]).mean)


def test_missing_values_are_left_out():
    assert interval95([1.0, np.nan, 3.0]).mean == 2.0


def test_equal_values_have_an_interval_of_no_width():
    found = interval95([0.1] * 3)
    assert found.low == found.mean == found.high == 0.1


def test_paired_interval_sees_what_two_intervals_hide():
    first = [0.0, 10.0, 20.0]
    second = [1.0, 11.1, 20.9]
    paired = paired_interval95(first, second)
    assert paired.high < 0
    assert interval95(first).high > interval95(second).low
    with pytest.raises(ValueError, match="pair"):
        paired_interval95([1.0], [1.0, 2.0])


def test_interval_covers_the_mean_19_times_out_of_20():
    rng = np.random.default_rng(0)
    hits = [
        found.low < 3 < found.high
        for found in (interval95(rng.normal(3, 2, 5)) for _ in range(2000))
    ]
    assert np.mean(hits) == pytest.approx(0.95, abs=0.015)
