from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import ConfigError
from router.eval.baselines import (
    Clusters,
    Logistic,
    MatrixFactors,
    NearestNeighbours,
    SmallMLP,
    default_baselines,
)
from router.eval.baselines.learned import group_folds, scaled_dense
from router.eval.frontier import operating_points, zero_router_points
from router.eval.metrics import auc, brier, log_energy_ratio

LEARNED = [NearestNeighbours, Clusters, MatrixFactors, Logistic, SmallMLP]
each = pytest.mark.parametrize("kind", LEARNED)


@pytest.fixture(scope="module", params=LEARNED)
def ran(request, specialists):
    """A baseline's class, a split, the outcomes on its test prompts, and what it decided."""
    split, quality, energy_j = specialists.split()
    return request.param, split, quality, energy_j, request.param().run(split)


def test_beats_the_zero_router_where_features_tell_the_best_model(ran):
    _, split, quality, energy_j, outcome = ran
    points = operating_points(outcome.choices, quality, energy_j)
    zero = zero_router_points(split.train.quality, split.train_energy_j, quality, energy_j)
    reference = np.array([energy_j[:, 2].mean(), quality[:, 2].mean()])
    assert log_energy_ratio(points, zero, reference) < -0.8
    assert auc(outcome.quality[:, :2], quality[:, :2]) > 0.9
    means = np.tile(split.train.quality.mean(axis=0), (len(quality), 1))
    assert brier(outcome.quality, quality) < 0.6 * brier(means, quality)


def test_outcome_has_the_shapes_of_the_protocol(ran):
    _, split, quality, _, outcome = ran
    assert outcome.choices.ndim == 2
    assert outcome.choices.shape[1] == len(quality)
    assert outcome.quality.shape == quality.shape
    assert (outcome.quality >= 0).all()
    assert (outcome.quality <= 1).all()
    np.testing.assert_array_equal(outcome.energy_j, split.test_energy_j)
    assert outcome.figures["train_s"] > 0
    assert any(name.startswith("chosen_") for name in outcome.figures)


def test_same_split_same_predictions(ran):
    kind, split, _, _, outcome = ran
    np.testing.assert_array_equal(kind().run(split).quality, outcome.quality)


@each
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_constant_quality_is_predicted(kind, value, make_case, make_matrix):
    kinds = np.arange(40) % 3
    split, quality, _ = make_case(make_matrix(np.full((40, 3), value)), kinds).split()
    found = kind().run(split).quality
    np.testing.assert_allclose(found, quality, atol=0.25)


@each
def test_a_handful_of_prompts_is_enough_to_run(kind, make_case, make_matrix):
    quality = [[1.0, 0.0, 0.5], [0.0, 0.0, 1.0], [1.0, 1.0, 1.0], [0.2, 1.0, 1.0]]
    split, truth, _ = make_case(make_matrix(quality), [0, 1, 2, 3]).split()
    assert kind().run(split).quality.shape == truth.shape


@each
def test_training_prompts_of_one_text_are_enough_to_run(kind, make_case, make_matrix):
    matrix = make_matrix(np.ones((10, 3)) * [0, 1, 1], groups=[0] * 7 + [1] * 3)
    split, truth, _ = make_case(matrix).split()
    found = kind().run(split).quality
    assert found.shape == truth.shape
    assert np.isfinite(found).all()


@each
def test_without_predicted_energy_there_is_nothing_to_price(kind, specialists):
    split, _, _ = specialists.split()
    with pytest.raises(ConfigError, match="test_energy_j"):
        kind().run(replace(split, test_energy_j=None))


def test_neighbours_are_averaged_by_hand(make_features):
    features = make_features([0, 0, 0, 1, 1, 1, 1])
    quality = np.array([[1.0], [0.0], [1.0], [0.0], [0.0], [0.0], [1.0]])
    new = make_features([0, 1], seed=1)
    found = NearestNeighbours().predictions(
        features, quality, new, [{"k": 200}, {"k": 3}, {"k": 4}], 0
    )
    many, three, four = (predicted[:, 0] for predicted in found)
    np.testing.assert_allclose(many, [3 / 7, 3 / 7])
    assert three[0] == pytest.approx(2 / 3)
    assert four[1] == pytest.approx(1 / 4)


def test_factors_of_full_rank_without_penalty_are_least_squares(make_features):
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 6, 60)
    features, new = make_features(kinds), make_features(kinds[:9], seed=5)
    quality = rng.random((60, 4))
    (found,) = MatrixFactors().predictions(features, quality, new, [{"rank": 4, "ridge": 1e-9}], 0)
    train_x, new_x = scaled_dense(features, new)
    ones = np.ones((60, 1))
    weights = np.linalg.lstsq(np.hstack([train_x, ones]), quality, rcond=None)[0]
    np.testing.assert_allclose(found, np.hstack([new_x, ones[:9]]) @ weights, atol=1e-4)


def test_factors_of_rank_one_move_all_models_along_one_line(make_features):
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 6, 60)
    features = make_features(kinds)
    (found,) = MatrixFactors().predictions(
        features, rng.random((60, 4)), features, [{"rank": 1, "ridge": 0.1}], 0
    )
    assert np.linalg.matrix_rank(found - found.mean(axis=0), tol=1e-8) == 1


def test_logistic_takes_partial_credit_as_weights(make_features):
    features = make_features([0, 1] * 20)
    quality = np.tile([[0.25], [0.75]], (20, 1))
    (found,) = Logistic().predictions(features, quality, features, [{"words": False, "C": 1.0}], 0)
    np.testing.assert_allclose(found, quality, atol=0.1)


def test_logistic_chooses_the_block_that_tells(make_matrix, make_case):
    kinds = np.arange(120) % 2
    case = make_case(make_matrix(np.stack([kinds, 1 - kinds, np.ones(120)], axis=1)), kinds)
    blank = replace(case.features, dense=np.zeros_like(case.features.dense))
    split, _, _ = replace(case, features=blank).split()
    assert Logistic().run(split).figures["chosen_words"] == 1


def test_tuning_takes_the_setting_of_the_least_error(specialists):
    split, _, _ = specialists.split()
    found = Clusters().tune(split.train_features, split.train.quality, split.train.groups, 0)
    assert found in Clusters.settings
    # With fewer than two texts there is nothing to choose by.
    one = np.zeros(len(split.train), np.int64)
    assert Clusters().tune(split.train_features, split.train.quality, one, 0) == {"clusters": 4}


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.integers(2, 5), st.integers(0, 3))
def test_folds_keep_groups_together_and_cover_every_prompt_once(groups, n_folds, seed):
    labels = np.array(groups)
    folds = list(group_folds(labels, n_folds, seed))
    distinct = len(set(groups))
    assert len(folds) == (min(n_folds, distinct) if distinct > 1 else 0)
    for inside, outside in folds:
        assert not set(labels[inside]) & set(labels[outside])
        assert len(inside)
        assert len(outside)
        assert len(inside) + len(outside) == len(groups)
    if folds:
        assert sorted(i for _, outside in folds for i in outside) == list(range(len(groups)))


def test_scaling_uses_the_training_prompts_alone_and_bounds_statistics(make_features):
    features = make_features([0, 1, 2, 3] * 5)
    odd = make_features([0, 1])
    odd.dense[0, 6] = 1e6
    train_x, new_x = scaled_dense(features, odd)
    assert np.square(train_x[:, :6]).mean() == pytest.approx(1)
    assert train_x[:, 6].std() == pytest.approx(1)
    assert new_x[0, 6] == 4
    np.testing.assert_array_equal(scaled_dense(features, features)[0], train_x)


def test_default_baselines_are_those_of_the_protocol():
    assert [method.name for method in default_baselines()] == [
        "cheapest",
        "reference",
        "zero router",
        "static task rules",
        "true-task means",
        "kNN",
        "k-means clusters",
        "matrix factorisation",
        "logistic regression",
        "small MLP",
    ]
