from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from router.policy import best_bargain, price_grid


def test_ties_go_to_the_lower_energy():
    quality = np.array([[0.8, 0.8, 0.8], [0.9, 0.8, 0.9], [0.5, 0.5, 0.4]])
    energy_j = np.array([[30.0, 10.0, 20.0], [30.0, 10.0, 20.0], [5.0, 5.0, 1.0]])
    assert best_bargain(quality, energy_j, 0.0).tolist() == [1, 2, 0]


def test_a_tie_in_what_is_left_after_the_price_goes_to_the_lower_energy():
    # 0.9 - 0.01 * 30 and 0.7 - 0.01 * 10 are both 0.6, but not to the last bit
    assert best_bargain(np.array([[0.9, 0.7]]), np.array([[30.0, 10.0]]), 0.01).tolist() == [1]


@given(
    hnp.arrays(float, (4, 3), elements=st.floats(0, 1)),
    hnp.arrays(float, (4, 3), elements=st.floats(0.01, 1e5)),
    st.floats(0, 10),
)
def test_no_model_is_a_better_bargain_than_the_chosen(quality, energy_j, price):
    chosen = best_bargain(quality, energy_j, price)
    utility = quality - price * energy_j
    assert (utility[np.arange(4), chosen] >= utility.max(axis=1) - 1e-9).all()


@given(
    hnp.arrays(float, (5, 4), elements=st.floats(0, 1)),
    hnp.arrays(float, (5, 4), elements=st.floats(0.01, 1e4)),
    st.lists(st.floats(0, 1), min_size=2, max_size=2).map(sorted),
)
def test_a_higher_price_never_spends_more(quality, energy_j, prices):
    rows = np.arange(5)
    spent = [energy_j[rows, best_bargain(quality, energy_j, price)] for price in prices]
    assert (spent[1] <= spent[0] * (1 + 1e-9)).all()


def test_a_model_that_is_ruled_out_is_not_chosen():
    quality = np.array([[-np.inf, 0.2, -np.inf]])
    assert best_bargain(quality, np.array([[1.0, 1e6, 2.0]]), 1.0).tolist() == [1]


def test_no_prompts():
    assert best_bargain(np.empty((0, 3)), np.empty((0, 3)), 1.0).shape == (0,)


def test_prices_descend_to_zero():
    energy_j = np.array([[1.0, 100.0], [2.0, 50.0], [3.0, 3.0]])
    prices = price_grid(np.zeros((3, 2)), energy_j, 20)
    assert prices.shape == (20,)
    assert (np.diff(prices) < 0).all()
    assert prices[-1] == 0.0
    assert (price_grid(np.zeros((3, 2)), np.ones((3, 2)), 5) >= 0).all()


@pytest.mark.parametrize("n", [0, 1])
def test_a_grid_needs_both_ends(n: int):
    with pytest.raises(ValueError, match="at least 2"):
        price_grid(np.array([[0.5, 0.6]]), np.array([[1.0, 2.0]]), n)
