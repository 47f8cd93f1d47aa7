from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.monitor.bets import N_BANDS, band_of, novelty_bets, quality_bets


def pays(bets, band: int) -> np.ndarray:
    """Mean of each bet over a uniform p-value."""
    step = bets.step[:, band]
    return step * np.exp(bets.log_below[:, band]) + (1 - step) * np.exp(bets.log_above[:, band])


@given(st.lists(st.floats(0.0, 1.0), min_size=N_BANDS, max_size=N_BANDS))
def test_every_bet_is_fair_in_every_band_whatever_the_traffic(counts):
    shares = np.array(counts) + 1e-9
    bets = quality_bets(shares / shares.sum())
    assert bets.weight.sum() == pytest.approx(1.0)
    for band in range(N_BANDS):
        np.testing.assert_allclose(pays(bets, band), 1.0)
    assert ((bets.step > 0) & (bets.step < 1)).all()
    # a bad rank pays, a good one costs
    assert (bets.log_below >= 0).all()
    assert (bets.log_above <= 0).all()


def test_traffic_in_one_band_alone_gives_bets_too():
    for band in range(N_BANDS):
        bets = quality_bets(np.eye(N_BANDS)[band])
        assert np.isfinite(bets.log_below).all()
        assert np.isfinite(bets.log_above).all()


def test_random_failures_cost_sure_answers_and_lost_ability_costs_open_ones():
    shares = np.full(N_BANDS, 1 / N_BANDS)
    bets = quality_bets(shares)
    before = 1.0 - bets.step[0]
    lost = before - before * np.exp(bets.log_above)
    failures, less_able = lost[0], lost[1]
    assert failures.argmax() == N_BANDS - 1
    assert 0 < less_able.argmax() < N_BANDS - 1
    # both are worth about the six points that they are made for
    assert shares @ failures == pytest.approx(0.06, rel=0.05)
    assert shares @ less_able == pytest.approx(0.06, rel=0.05)


def test_a_drop_that_is_tolerated_pays_nothing_but_larger_ones_do():
    shares = np.full(N_BANDS, 1 / N_BANDS)
    strict, tolerant = quality_bets(shares), quality_bets(shares, 0.02)
    for band in range(N_BANDS):
        assert (pays(tolerant, band) < 1.0).all()
        # where right answers turn wrong as often as is tolerated, the bet on more is fair
        wrong = 1.0 - (1.0 - strict.step[0, band]) * (1.0 - 0.02 / 0.5)
        fair = wrong * np.exp(tolerant.log_below[0, band])
        fair += (1.0 - wrong) * np.exp(tolerant.log_above[0, band])
        assert fair == pytest.approx(1.0, abs=0.002)


def test_novelty_bets_are_fair_and_pay_for_the_most_novel():
    bets = novelty_bets()
    assert bets.weight.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(pays(bets, 0), 1.0)
    assert (bets.log_factors(0.005) > 0).all()
    assert (bets.log_factors(0.5) < 0).all()


def test_bands_cover_all_probabilities_in_order():
    grid = np.linspace(0.0, 1.0, 1001)
    bands = [band_of(p) for p in grid.tolist()]
    assert bands == sorted(bands)
    assert set(bands) == set(range(N_BANDS))
