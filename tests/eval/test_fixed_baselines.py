import numpy as np
import pytest

from router.eval.baselines import Cheapest, Oracle, RandomShares, Reference, ZeroRouter
from router.eval.frontier import operating_points, zero_router_points


def _shares(method, split):
    outcome = method.run(split)
    assert outcome.choices is None
    np.testing.assert_allclose(outcome.shares.sum(axis=1), 1)
    return outcome.shares


def test_cheapest_and_reference_go_by_the_training_means(specialists):
    split, _, _ = specialists.split()
    assert _shares(Cheapest(), split).tolist() == [[1, 0, 0]]
    assert _shares(Reference(), split).tolist() == [[0, 0, 1]]


def test_zero_router_has_the_points_of_the_protocol(specialists):
    split, quality, energy_j = specialists.split()
    means = np.stack([energy_j.mean(axis=0), quality.mean(axis=0)], axis=1)
    np.testing.assert_allclose(
        _shares(ZeroRouter(), split) @ means,
        zero_router_points(split.train.quality, split.train_energy_j, quality, energy_j),
    )


def test_zero_router_leaves_a_dominated_model_out(make_case, make_matrix):
    quality = np.tile([[0.6, 0.3, 1.0]], (20, 1))
    split, _, _ = make_case(make_matrix(quality)).split()
    assert _shares(ZeroRouter(), split).tolist() == [[1, 0, 0], [0, 0, 1]]


def test_random_shares_are_those_of_the_router(specialists):
    split, _, _ = specialists.split()
    choices = np.array([[0, 0, 1, 2], [2, 2, 2, 2]])
    assert _shares(RandomShares(choices), split).tolist() == [[0.5, 0.25, 0.25], [0, 0, 1]]


def test_oracle_takes_the_cheapest_right_answer(specialists):
    split, quality, energy_j = specialists.split()
    choices = Oracle(quality, energy_j).run(split).choices
    points = operating_points(choices, quality, energy_j)
    anyone = quality.max(axis=1)
    assert points[:, 1].max() == pytest.approx(anyone.mean())
    cheapest_right = np.where(quality == anyone[:, None], energy_j, np.inf).min(axis=1)
    best = points[points[:, 1] >= anyone.mean() - 1e-12]
    assert best[:, 0].min() == pytest.approx(cheapest_right.mean())


def test_oracle_of_equal_answers_takes_the_lower_energy(make_case, make_matrix):
    split, quality, energy_j = make_case(make_matrix(np.ones((10, 3)))).split()
    choices = Oracle(quality, energy_j).run(split).choices
    assert (choices == 0).all()
