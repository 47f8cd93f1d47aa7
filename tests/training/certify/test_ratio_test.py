from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, multinomial

from router.training.certify import ratio_test
from router.training.certify.ratio_test import ratio_p_value


def _by_enumeration(gained: int, lost: int, n: int, bar: float, share: float) -> float:
    """Chance of a statistic at least as large, by adding up every outcome."""

    def statistic(g: int, m: int) -> float:
        surplus = bar * g + (1 - bar) * n - m
        if surplus <= 0:
            return -np.inf
        return surplus / sqrt(bar * (g + m)) if g + m else np.inf

    seen = statistic(gained, lost)
    lost_share = min(1 - bar + bar * share, 1 - share)
    total = 0.0
    for g in range(n + 1):
        for m in range(n + 1 - g):
            if statistic(g, m) >= seen - 1e-12:
                shares = [share, lost_share, 1 - share - lost_share]
                total += float(multinomial.pmf([g, m, n - g - m], n, shares))
    return total


@pytest.mark.parametrize(
    ("gained", "lost", "n", "bar"),
    [(3, 2, 20, 0.9), (4, 3, 25, 0.95), (2, 0, 22, 0.98), (6, 1, 18, 1.0), (0, 0, 15, 0.9)],
)
def test_tails_are_those_of_all_outcomes(gained: int, lost: int, n: int, bar: float) -> None:
    surplus = bar * gained + (1 - bar) * n - lost
    statistic = surplus / sqrt(bar * (gained + lost)) if gained + lost else np.inf
    for share in (0.001, 0.05, 0.2, 0.4):
        found = ratio_test._tails(n, bar, statistic, np.array([share]))[0]
        assert found == pytest.approx(_by_enumeration(gained, lost, n, bar, share), rel=1e-6)


@pytest.mark.parametrize("bar", [0.9, 0.95, 0.98])
def test_few_shares_find_the_worst_of_many(bar: float, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        n = int(rng.integers(50, 1500))
        gained, lost = (int(x) for x in rng.integers(0, n // 8, 2))
        coarse = ratio_p_value.__wrapped__(gained, lost, n - gained - lost, bar)
        with monkeypatch.context() as patched:
            patched.setattr(ratio_test, "_N_SHARES", 400)
            fine = ratio_p_value.__wrapped__(gained, lost, n - gained - lost, bar)
        assert coarse <= fine
        assert coarse == pytest.approx(fine, rel=2e-3)


@pytest.mark.parametrize(("gained", "lost"), [(40, 22), (12, 3), (150, 120), (9, 9), (5, 12)])
def test_it_agrees_with_mcnemar_at_equal_quality(gained: int, lost: int) -> None:
    exact = binomtest(gained, gained + lost, 0.5, alternative="greater").pvalue
    found = ratio_p_value(gained, lost, 900 - gained - lost, 1.0)
    # not conditioned on the discordant pairs, it wastes less on discreteness
    assert 0.5 * exact < found < exact + 2e-3 or found == 1.0 > exact


@pytest.mark.parametrize(
    ("quality", "gain", "bar"), [(0.7, 0.08, 0.95), (0.5, 0.01, 0.9), (0.9, 0.03, 0.98)]
)
def test_a_true_hypothesis_is_rejected_no_more_often_than_stated(
    quality: float, gain: float, bar: float
) -> None:
    rng = np.random.default_rng(7)
    # shares of gained, lost and both, with the kept share exactly at the bar
    both = quality * bar - gain
    shares = [gain, quality - both, both]
    draws = rng.multinomial(300, [*shares, 1 - sum(shares)], 1500)
    p = np.array([ratio_p_value(*map(int, draw[:3]), bar) for draw in draws])
    for error in (0.05, 0.1, 0.2):
        noise = 3 * sqrt(error * (1 - error) / len(p))
        assert (p <= error).mean() <= error + noise
        assert (p <= error).mean() >= error / 3  # and it is not timid


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 400), st.floats(0.5, 1.0))
@settings(deadline=None, max_examples=50)
def test_p_values_are_in_range_and_rise_with_losses(
    gained: int, lost: int, both: int, bar: float
) -> None:
    found = ratio_p_value(gained, lost, both, bar)
    assert 0.0 < found <= 1.0
    if both:
        assert ratio_p_value(gained, lost + 1, both - 1, bar) >= found - 1e-9


def test_no_prompt_that_anyone_gets_right_proves_nothing() -> None:
    assert ratio_p_value(0, 0, 0, 0.9) == 1.0


def test_prompts_without_a_loss_prove_as_much_as_their_number() -> None:
    # nothing lost in n prompts has a chance of at most bar ** n where the bar is broken
    assert ratio_p_value(0, 0, 45, 0.95) == pytest.approx(0.95**45 + 1e-3, rel=1e-6)
    assert ratio_p_value(0, 0, 44, 0.95) > 0.1
