from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from router.eval.paired_test import paired_test


def test_it_agrees_with_the_t_test_where_that_is_right():
    rng = np.random.default_rng(0)
    values = rng.normal(0.05, 0.5, 400)
    found = paired_test(values, np.arange(400))
    expected = ttest_1samp(values, 0.0, alternative="greater")
    assert found.mean == pytest.approx(values.mean())
    assert found.p_value == pytest.approx(expected.pvalue, abs=0.02)
    interval = ttest_1samp(values, 0.0).confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=0.005)
    assert (found.n, found.n_groups) == (400, 400)


def test_prompts_of_one_group_count_once():
    values = np.random.default_rng(1).normal(0.1, 1.0, 60)
    alone = paired_test(values, np.arange(60))
    copies = paired_test(np.repeat(values, 10), np.repeat(np.arange(60), 10))
    assert copies.mean == pytest.approx(alone.mean)
    assert (copies.low, copies.high) == pytest.approx((alone.low, alone.high), rel=1e-6)
    assert (copies.n, copies.n_groups) == (600, 60)


def test_more_prompts_are_asked_for_where_little_is_shown():
    values = np.random.default_rng(2).normal(0.0, 0.5, 300)
    values += 0.02 - values.mean()
    found = paired_test(values, np.arange(300))
    assert found.mean > 0
    assert found.p_value > 0.05
    assert found.n_needed is not None
    assert found.n_needed > 300
    assert paired_test(-values, np.arange(300)).n_needed is None


@pytest.mark.parametrize("value", [0.5, 0.03, 0.0, -0.5])
def test_differences_that_never_vary_show_nothing(value: float):
    found = paired_test(np.full(50, value), np.arange(50))
    assert (found.mean, found.p_value, found.n_needed) == (pytest.approx(value), 1.0, None)
    assert found.low <= 0.0 <= found.high


def test_the_same_seed_gives_the_same_answer():
    values = np.random.default_rng(3).lognormal(size=120) - 1.5
    assert paired_test(values, np.arange(120), 7) == paired_test(values, np.arange(120), 7)


@given(
    st.lists(st.floats(-100, 100), min_size=2, max_size=40),
    st.lists(st.integers(0, 5), min_size=40, max_size=40),
)
def test_any_values_give_a_chance_and_an_interval(values: list[float], labels: list[int]):
    groups = [0, 1, *labels][: len(values)]
    found = paired_test(values, groups)
    assert 0.0 <= found.p_value <= 1.0
    assert found.low <= found.high
    assert found.mean == pytest.approx(np.mean(values), abs=1e-9)
    assert found.n_groups == len(set(groups))


@pytest.mark.parametrize("factor", [1e-9, 0.1, 1e6])
def test_scale_changes_nothing_but_the_scale(factor: float):
    values = np.random.default_rng(5).lognormal(size=100) - 1.4
    found, scaled = (paired_test(values * by, np.arange(100)) for by in (1.0, factor))
    assert scaled.p_value == found.p_value
    assert scaled.low == pytest.approx(found.low * factor)


def test_what_cannot_be_tested_is_refused():
    with pytest.raises(ValueError, match="two groups"):
        paired_test([1.0, 2.0], [0, 0])
    with pytest.raises(ValueError, match="groups"):
        paired_test([1.0, 2.0], [0, 1, 2])


@pytest.mark.slow
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_mean_of_zero_is_rejected_no_more_often_than_the_level(sign: float):
    """Energies are skewed: differences of both skews, with a true mean of 0."""
    rng = np.random.default_rng(4)
    rejected = 0
    for number in range(120):
        values = sign * (rng.lognormal(0.0, 1.0, 100) - np.exp(0.5))
        rejected += paired_test(values, np.arange(100), number).p_value <= 0.05
    # 0.05 and three standard errors of the simulation
    assert rejected / 120 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 120)
