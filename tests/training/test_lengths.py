from __future__ import annotations

import numpy as np
import pytest

from router.training.lengths import FittedLengths, fit_lengths

N_MODELS = 3


def make_case(n: int, seed: int = 0, spread: float = 0.4):
    """Log lengths that follow a signal, and candidates: the signal, half of it, and noise."""
    rng = np.random.default_rng(seed)
    signal = np.array([4.0, 6.0, 7.0]) + 0.8 * rng.standard_normal((n, N_MODELS))
    log_tokens = signal + spread * rng.standard_normal((n, N_MODELS))
    ratio = np.log(0.25) + 0.1 * rng.standard_normal(n)
    full = np.hstack([signal, np.full((n, 1), np.log(0.25))])
    mean = full.mean(axis=0)
    noise = mean + rng.standard_normal((n, N_MODELS + 1))
    candidates = np.stack([full, mean + (full - mean) / 2, noise]).astype(np.float32)
    return log_tokens, ratio, candidates


def test_lengths_are_predicted_and_noise_is_not():
    log_tokens, ratio, candidates = make_case(1000)
    fitted = fit_lengths(log_tokens, ratio, candidates)
    used = fitted.weights[0, :N_MODELS] + fitted.weights[1, :N_MODELS] / 2
    np.testing.assert_allclose(used, 1, atol=0.1)
    assert fitted.weights[2].max() < 0.05
    new_tokens, _, new = make_case(1000, seed=1)
    error = fitted.log_lengths(new)[:, :N_MODELS] - new_tokens
    assert np.median(np.abs(error)) < 0.32  # 0.27 is what the noise leaves
    assert fitted.log_lengths(new)[:, -1] == pytest.approx(np.log(0.25), abs=0.03)


def test_expected_tokens_are_means_not_medians():
    log_tokens, ratio, candidates = make_case(3000, spread=0.8)
    fitted = fit_lengths(log_tokens, ratio, candidates)
    np.testing.assert_allclose(fitted.factor, np.exp(0.8**2 / 2), rtol=0.1)
    tokens = fitted.tokens(fitted.log_lengths(candidates))
    ratio_of_means = np.exp(log_tokens).mean(axis=0) / tokens.mean(axis=0)
    np.testing.assert_allclose(ratio_of_means, 1, atol=0.1)


def test_quantiles_hold_for_new_prompts():
    fitted = fit_lengths(*make_case(2000))
    log_tokens, _, candidates = make_case(2000, seed=1)
    actual = np.exp(log_tokens) / fitted.tokens(fitted.log_lengths(candidates))
    np.testing.assert_allclose((actual < fitted.low).mean(axis=0), 0.1, atol=0.03)
    np.testing.assert_allclose((actual > fitted.high).mean(axis=0), 0.1, atol=0.03)
    assert (fitted.low < 1).all()
    assert (fitted.high > 1).all()


def test_an_assumed_length_stays_what_it_is():
    log_tokens, ratio, candidates = make_case(100)
    log_tokens[:, 1] = np.log(4000)
    candidates[:, :, 1] = np.log(4000)
    fitted = fit_lengths(log_tokens, ratio, candidates)
    tokens = fitted.tokens(fitted.log_lengths(candidates))
    np.testing.assert_allclose(tokens[:, 1], 4000, rtol=1e-4)
    assert fitted.low[1] == pytest.approx(1, abs=1e-4)
    assert fitted.high[1] == pytest.approx(1, abs=1e-4)


def test_no_length_is_beyond_those_seen():
    log_tokens, ratio, candidates = make_case(200)
    fitted = fit_lengths(log_tokens, ratio, candidates)
    for shift in (-100, 30):
        tokens = fitted.tokens(fitted.log_lengths(candidates + shift))
        assert (tokens >= 1).all()
        assert (tokens <= np.exp(log_tokens.max(axis=0)) * (1 + 1e-9)).all()


def test_one_wild_answer_does_not_blow_the_factor_up():
    log_tokens, ratio, candidates = make_case(50)
    log_tokens[0, 0] = np.log(1e9)
    fitted = fit_lengths(log_tokens, ratio, candidates)
    assert fitted.factor.max() <= 4
    assert np.isfinite(fitted.tokens(fitted.log_lengths(candidates))).all()


def test_copies_of_the_rows_change_nothing():
    log_tokens, ratio, candidates = make_case(60)
    once = fit_lengths(log_tokens, ratio, candidates)
    twice = fit_lengths(
        np.tile(log_tokens, (2, 1)), np.tile(ratio, 2), np.tile(candidates, (1, 2, 1)), copies=2
    )
    for name in FittedLengths.__slots__:
        if name not in ("low", "high"):  # quantiles of twice as many values lie elsewhere
            np.testing.assert_allclose(getattr(twice, name), getattr(once, name), rtol=1e-5)


def test_gaps_that_were_filled_teach_nothing():
    log_tokens, ratio, candidates = make_case(2000, spread=0.8)
    ran = np.random.default_rng(2).random(log_tokens.shape) < 0.3
    filled = np.where(ran, log_tokens, candidates[0, :, :N_MODELS])  # without any noise
    fitted = fit_lengths(filled, ratio, candidates, ran=ran)
    whole = fit_lengths(log_tokens, ratio, candidates)
    tokens = fitted.tokens(fitted.log_lengths(candidates))
    np.testing.assert_allclose(
        np.where(ran, tokens, 0).sum(axis=0),
        np.where(ran, np.exp(log_tokens), 0).sum(axis=0),
        rtol=0.15,
    )
    np.testing.assert_allclose(fitted.low, whole.low, rtol=0.15)
    np.testing.assert_allclose(fitted.high, whole.high, rtol=0.15)
    np.testing.assert_allclose(
        fitted.limit, np.exp(np.where(ran, log_tokens, 0.0).max(axis=0)), rtol=1e-12
    )


def test_a_mask_of_all_answers_changes_nothing():
    case = make_case(60)
    plain, masked = fit_lengths(*case), fit_lengths(*case, ran=np.ones((60, N_MODELS), bool))
    for name in FittedLengths.__slots__:
        np.testing.assert_array_equal(getattr(masked, name), getattr(plain, name))


def test_means_hold_where_long_answers_are_less_certain():
    rng = np.random.default_rng(3)
    n = 6000
    hard = rng.random((n, N_MODELS)) < 0.3
    centre = np.where(hard, 7.0, 4.0)
    log_tokens = centre + np.where(hard, 1.0, 0.1) * rng.standard_normal((n, N_MODELS))
    ratio = np.full(n, np.log(0.25))
    candidates = np.hstack([centre, ratio[:, None]])[None].astype(np.float32)
    fitted = fit_lengths(log_tokens, ratio, candidates)
    expected = fitted.tokens(fitted.log_lengths(candidates))
    tokens = np.exp(log_tokens)
    for rows in (hard[:, 0], ~hard[:, 0]):
        assert expected[rows, 0].mean() == pytest.approx(tokens[rows, 0].mean(), rel=0.06)
