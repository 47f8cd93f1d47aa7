from __future__ import annotations

import numpy as np
import pytest

from router.model import QualityLink
from router.training.ladder import ladder_prior, log_odds

POOL = np.array([0.3, 0.5, 0.7])


def make_link(coefficients: np.ndarray, *, logistic: bool = True) -> QualityLink:
    n_latents, n_models = coefficients.shape
    return QualityLink(slice(0, n_latents), coefficients, np.zeros(n_models), logistic, 1.0)


@pytest.fixture
def latent() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((200, 2)) * [1.0, 0.1]


def test_weights_move_along_the_ladder(latent: np.ndarray):
    link = make_link(np.array([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]]))
    weak, middle, strong = (ladder_prior(link, latent, POOL, q) for q in (0.2, 0.5, 0.8))
    assert weak.mean[0] < 1.5 < middle.mean[0] < 2.5 < strong.mean[0]
    np.testing.assert_allclose([p.mean[1] for p in (weak, middle, strong)], 5.0)
    assert middle.mean[0] == pytest.approx(2.0)


def test_the_new_model_may_stray_as_far_as_the_others_do(latent: np.ndarray):
    alike = ladder_prior(make_link(np.ones((2, 3))), latent, POOL, 0.5)
    apart = ladder_prior(make_link(np.array([[1.0, 4.0, 1.0], [1.0, 1.0, 1.0]])), latent, POOL, 0.5)
    assert apart.covariance[0, 0] > 3.0 * alike.covariance[0, 0]
    assert (np.linalg.eigvalsh(alike.covariance) > 0.0).all()


def test_latents_that_do_not_vary_have_no_say(latent: np.ndarray):
    flat = np.column_stack([latent[:, 0], np.full(len(latent), 3.0)])
    prior = ladder_prior(make_link(np.ones((2, 3))), flat, POOL, 0.5)
    assert prior.mean[1] == 0.0
    assert not prior.covariance[1].any()
    assert not ladder_prior(make_link(np.ones((2, 3))), np.zeros((9, 2)), POOL, 0.5).mean.any()


def test_a_linear_link_starts_at_the_quality_and_a_logistic_one_at_its_log_odds(
    latent: np.ndarray,
):
    coefficients = np.ones((2, 3))
    linear = ladder_prior(make_link(coefficients, logistic=False), latent, POOL, 0.75)
    logistic = ladder_prior(make_link(coefficients), latent, POOL, 0.75)
    assert linear.base == 0.75
    assert logistic.base == pytest.approx(np.log(3.0))
    assert linear.spread < logistic.spread


@pytest.mark.parametrize("quality", [0.0, 0.5, 1.0])
def test_equal_models_are_no_ladder(latent: np.ndarray, quality: float):
    prior = ladder_prior(make_link(np.ones((2, 3))), latent, np.full(3, 0.6), quality)
    np.testing.assert_allclose(prior.mean, 1.0)
    assert np.isfinite(prior.covariance).all()


def test_log_odds_end_before_zero_and_one():
    np.testing.assert_allclose(log_odds(np.array([0.0, 0.5, 1.0])), [-3.8918, 0.0, 3.8918], 1e-4)
