from __future__ import annotations

from math import log, sqrt

import numpy as np
import pytest

from router.training.certify.betting import log_capital, stakes


def test_stakes_are_those_of_the_authors_code() -> None:
    # confseq 0.0.11, lambda_predmix_eb(x, truncation=0.75, alpha=0.05, fixed_n=2000, prior_mean=0)
    x = np.random.default_rng(0).choice([-1, 0, 0, 0, 0, 1.0], 2000)
    expected = [0.10946657, 0.10171674, 0.09160158, 0.09673103]
    np.testing.assert_allclose(stakes(x, 0.05)[[0, 10, 500, 1999]], expected, rtol=1e-6)


def test_capital_is_the_product_of_the_bets() -> None:
    # with the authors' stakes on these grades, the largest product is 1.3563203
    reference = np.linspace(0.2, 1.0, 8)
    moves = np.array([0.0, -0.5, 0.25, 1.0, -1.0, 0.1, 0.0, 0.3])
    routed = np.clip(reference + moves / 5, 0, 1)
    assert log_capital(routed, reference, 0.9, 0.1) == pytest.approx(log(1.3563203218), abs=1e-9)


def test_a_stake_does_not_know_its_own_prompt() -> None:
    x = np.random.default_rng(1).choice([-1.0, 0.0, 0.5], 50)
    changed = x.copy()
    changed[30:] = 1.0
    np.testing.assert_array_equal(stakes(x, 0.1)[:31], stakes(changed, 0.1)[:31])


def test_no_prompts_win_nothing() -> None:
    assert log_capital(np.zeros(0), np.zeros(0), 0.9, 0.1) == 0.0


def test_capital_falls_as_the_bar_rises() -> None:
    rng = np.random.default_rng(2)
    reference = rng.random(400)
    routed = np.clip(reference + rng.normal(0, 0.1, 400), 0, 1)
    found = [log_capital(routed, reference, bar, 0.1) for bar in (0.6, 0.8, 0.9, 0.95, 1.0)]
    assert found == sorted(found, reverse=True)
    assert found[0] > log(10)


def test_a_bar_that_is_just_broken_is_hardly_ever_certified() -> None:
    rng = np.random.default_rng(3)
    wrong = 0
    for _ in range(400):
        reference = rng.beta(4, 1, 300)
        routed = np.clip(reference * 0.95 + rng.choice([-0.05, 0.05], 300), 0, 1)
        # the population keeps 0.9490 of the reference model's quality
        wrong += log_capital(routed, reference, 0.95, 0.1) >= log(10)
    assert wrong / 400 <= 0.1 + 3 * sqrt(0.1 * 0.9 / 400)
