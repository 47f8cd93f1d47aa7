from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.monitor.bets import N_BANDS, Bets, novelty_bets, quality_bets
from router.monitor.martingale import MixtureMartingale, closed_e_values

QUALITY = quality_bets(np.full(N_BANDS, 1 / N_BANDS))


def test_bets_that_pay_nothing_leave_the_capital_at_one():
    flat = Bets(np.array([0.5, 0.5]), *np.zeros((3, 2, 1)))
    capital = MixtureMartingale(flat)
    for _ in range(5_000):
        capital.update(0.3)
        assert capital.e_value == pytest.approx(1.0, abs=1e-9)


@given(st.lists(st.floats(0.0, 1.0), max_size=30), st.integers(0, N_BANDS - 1))
def test_the_next_bet_is_fair_after_any_past(p_values, band):
    def after(p_value: float | None) -> float:
        capital = MixtureMartingale(QUALITY)
        for p in p_values if p_value is None else [*p_values, p_value]:
            capital.update(p, band)
        return capital.e_value

    # the density has its steps where some bet steps: one value for each piece between them
    edges = np.unique([0.0, *QUALITY.step[:, band], 1.0])
    mean = sum((b - a) * after((a + b) / 2) for a, b in itertools.pairwise(edges.tolist()) if b > a)
    assert mean == pytest.approx(after(None), rel=1e-9)


def test_without_drift_the_capital_rarely_ever_gets_large():
    rng = np.random.default_rng(0)
    ever = 0
    for _ in range(200):
        capital = MixtureMartingale(novelty_bets())
        most = 0.0
        for p_value in rng.random(400).tolist():
            capital.update(p_value)
            most = max(most, capital.e_value)
        ever += most >= 5.0
    # Ville: at most 0.2, and three standard errors of 200 streams
    assert ever / 200 <= 0.2 + 3 * np.sqrt(0.16 / 200)


@pytest.mark.parametrize("late", [0, 3_000])
def test_drift_is_seen_whenever_it_begins(late):
    rng = np.random.default_rng(1)
    capital = MixtureMartingale(novelty_bets())
    for p_value in rng.random(late).tolist():
        capital.update(p_value)
    assert capital.e_value < 10
    for p_value in np.where(rng.random(300) < 0.3, 0.001, rng.random(300)).tolist():
        capital.update(p_value)
    assert capital.e_value > 1e6


def test_extreme_streams_stay_finite():
    for p_value in (0.0, 1.0):
        capital = MixtureMartingale(novelty_bets())
        for _ in range(20_000):
            capital.update(p_value)
        assert np.isfinite(capital.e_value)
        assert json.loads(json.dumps(capital.to_dict(), allow_nan=False))["n"] == 20_000


def test_a_restored_capital_goes_on_as_before():
    rng = np.random.default_rng(2)
    first, second = MixtureMartingale(QUALITY), MixtureMartingale(QUALITY)
    for p_value in rng.random(50).tolist():
        first.update(p_value, 3)
    second.restore(json.loads(json.dumps(first.to_dict())))
    assert second.e_value == pytest.approx(first.e_value)
    for capital in (first, second):
        capital.update(0.01, 2)
    assert second.e_value == first.e_value
    fresh = MixtureMartingale(QUALITY)
    fresh.restore(MixtureMartingale(QUALITY).to_dict())
    assert (fresh.n, fresh.e_value) == (0, 1.0)


@pytest.mark.parametrize(
    "stored",
    [
        {},
        {"n": -1, "log_placed": [0.0] * 4},
        {"n": 3, "log_placed": [0.0]},
        {"n": 3, "log_placed": None},
        {"n": 3, "log_placed": [float("nan")] * 4},
        {"n": "x", "log_placed": [0.0] * 4},
    ],
)
def test_a_damaged_capital_is_refused(stored):
    capital = MixtureMartingale(QUALITY)
    with pytest.raises((KeyError, TypeError, ValueError)):
        capital.restore(stored)
    assert (capital.n, capital.e_value) == (0, 1.0)


@given(st.lists(st.floats(0.0, 1e6), min_size=1, max_size=6))
def test_closing_takes_the_least_mean_over_all_sets(e_values):
    indices = range(len(e_values))
    expected = [
        min(
            np.mean([e_values[i] for i in subset])
            for size in range(1, len(e_values) + 1)
            for subset in itertools.combinations(indices, size)
            if j in subset
        )
        for j in indices
    ]
    np.testing.assert_allclose(closed_e_values(e_values), expected, rtol=1e-9, atol=1e-12)
