from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.monitor.conformal import Bag, tie_breaker

LEVELS = st.lists(st.integers(0, 2), min_size=1, max_size=3)


@settings(max_examples=25)
@given(LEVELS, LEVELS)
def test_ranks_are_uniform_and_independent_over_all_orders(reference, stream):
    # all orders of the same observations are equally likely under exchangeability
    everything = reference + stream
    found: Counter[tuple[float, ...]] = Counter()
    for order in itertools.permutations(everything):
        bag = Bag(order[: len(reference)])
        found[tuple(bag.p_value(level, 0.5) for level in order[len(reference) :])] += 1
    total = sum(found.values())
    means = [sum(p[i] * c for p, c in found.items()) / total for i in range(len(stream))]
    np.testing.assert_allclose(means, 0.5)
    for i, j in itertools.combinations(range(len(stream)), 2):
        product = sum(p[i] * p[j] * c for p, c in found.items()) / total
        assert product == pytest.approx(0.25)


def test_ties_spread_over_the_whole_of_their_share():
    for tie in np.linspace(0.0, 1.0, 11).tolist():
        assert Bag([0, 0, 100]).p_value(0, tie) == pytest.approx(0.75 * tie)
        assert Bag([0, 0, 100]).p_value(100, tie) == pytest.approx(0.5 + 0.5 * tie)
        assert Bag([0, 0, 100]).p_value(50, tie) == pytest.approx(0.5 + 0.25 * tie)
        assert Bag().p_value(7, tie) == tie  # nothing to compare with says nothing


def test_a_bag_grows_with_the_stream():
    bag = Bag([5])
    for _ in range(99):
        bag.p_value(1, 0.5)
    assert len(bag) == 100
    assert bag.p_value(5, 0.0) == pytest.approx(99 / 101)


@given(st.lists(st.integers(-1000, 1000).map(lambda i: i / 8), max_size=30))
def test_a_bag_survives_its_text(levels):
    bag = Bag(levels)
    copy = Bag.from_text(bag.to_text())
    assert copy.to_text() == bag.to_text()
    assert len(copy) == len(levels)
    assert copy.p_value(0.5, 0.25) == bag.p_value(0.5, 0.25)


@pytest.mark.parametrize("text", ["1", "1:x", "1:2:3", "2:1 1:1", "1:1 1:1", "1:0", "1:-3", "a:1"])
def test_a_damaged_text_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        Bag.from_text(text)


def test_ties_break_the_same_everywhere_and_are_uniform():
    assert tie_breaker(0, "quality", 0) == pytest.approx(0.7828534382995435)
    values = np.array([tie_breaker(3, "quality", n) for n in range(4_000)])
    counts = np.histogram(values, bins=10, range=(0.0, 1.0))[0]
    assert np.abs(counts - 400).max() < 4 * np.sqrt(400)
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.06
    assert tie_breaker(0, "a", 1) != tie_breaker(0, "b", 1) != tie_breaker(1, "b", 1)
