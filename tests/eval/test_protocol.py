import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import ConfigError, DataError
from router.eval.protocol import (
    BenchmarkSplit,
    feature_rows,
    reference_model,
    split_prompts,
    true_energy,
)
from router.pool import Pool

_groups = st.lists(st.integers(-5, 30), min_size=2, max_size=80).filter(lambda g: len(set(g)) > 1)


@given(_groups, st.integers(0, 5))
def test_split_keeps_groups_whole_and_every_prompt_once(groups, seed):
    train, test = split_prompts(groups, seed)
    assert sorted([*train, *test]) == list(range(len(groups)))
    labels = np.array(groups)
    assert not set(labels[train]) & set(labels[test])
    assert len(train)
    assert len(test)


@given(_groups, st.integers(0, 5))
def test_split_puts_no_more_than_one_group_too_many_into_training(groups, seed):
    train, _ = split_prompts(groups, seed)
    largest = max(np.bincount(np.array(groups) + 5))
    target = round(0.7 * len(groups))
    assert target - largest < len(train) < target + largest


@given(_groups, st.integers(0, 5))
def test_split_does_not_depend_on_the_names_of_the_groups(groups, seed):
    for first, second in zip(
        split_prompts(groups, seed), split_prompts([-7 * g for g in groups], seed), strict=True
    ):
        np.testing.assert_array_equal(first, second)


def test_split_is_the_seeded_shuffle_of_the_protocol():
    order = np.arange(10)
    np.random.default_rng(3).shuffle(order)
    train, test = split_prompts(range(10), 3)
    assert set(train) == set(order[:7])
    assert set(test) == set(order[7:])


def test_splits_differ_between_seeds_and_repeat_for_one():
    groups = np.arange(50)
    first = split_prompts(groups, 0)[1]
    np.testing.assert_array_equal(first, split_prompts(groups, 0)[1])
    assert set(first) != set(split_prompts(groups, 1)[1])


@pytest.mark.parametrize("groups", [[], [4], [4, 4, 4]])
def test_split_of_fewer_than_two_texts_is_an_error(groups):
    with pytest.raises(DataError, match="at least two"):
        split_prompts(groups, 0)


def test_true_energy_is_tokens_times_joules_per_token(make_matrix, pool):
    matrix = make_matrix(np.ones((1, 3)), prompt_tokens=20, completion_tokens=[[10, 20, 30]])
    np.testing.assert_allclose(true_energy(matrix, pool), [[0.2 + 1.0, 1.0 + 10.0, 10.0 + 150.0]])


def test_measured_energy_wins(make_matrix, pool):
    matrix = make_matrix(
        np.ones((2, 3)), energy_j=[[7, np.nan, np.nan], [np.nan] * 3], completion_tokens=100
    )
    energy_j = true_energy(matrix, pool)
    assert energy_j[0, 0] == 7
    assert energy_j[1, 0] == pytest.approx(10.1)


def test_unknown_lengths_are_assumed_then_the_median_then_300(make_matrix, make_model):
    models = make_model("small", 1.0, 55.0), make_model("middle", 1.0), make_model("large", 1.0)
    pool = Pool("p", models)
    nan = np.nan
    tokens = [[nan, 10, nan], [80, nan, nan], [nan, 30, nan], [1, 20, nan], [1, 21, nan]]
    matrix = make_matrix(np.ones((5, 3)), completion_tokens=tokens, prompt_tokens=0)
    np.testing.assert_allclose(
        true_energy(matrix, pool),
        [[55, 10, 300], [80, 20.5, 300], [55, 30, 300], [1, 20, 300], [1, 21, 300]],
    )


def test_unknown_lengths_are_what_a_router_expects(make_matrix, make_model):
    pool = Pool("p", (make_model("small", 1.0, 55.0), make_model("middle", 1.0)))
    matrix = make_matrix(
        np.ones((2, 2)), completion_tokens=[[np.nan, 10], [80, np.nan]], prompt_tokens=0
    )
    expected = np.array([[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_allclose(true_energy(matrix, pool, expected), [[1, 10], [80, 4]])
    expected[:] = np.nan  # where it does not know either
    np.testing.assert_allclose(true_energy(matrix, pool, expected), [[55, 10], [80, 10]])


def test_unknown_prompt_tokens_are_a_quarter_of_the_characters(make_matrix, pool):
    matrix = make_matrix(
        np.ones((3, 3)),
        prompt_tokens=[[np.nan, 5, 5], [np.nan] * 3, [np.nan] * 3],
        completion_tokens=0,
        prompts=["x" * 400, [{"role": "user", "content": "y" * 80}], "?"],
    )
    np.testing.assert_allclose(
        true_energy(matrix, pool), [[1.0, 0.25, 2.5], [0.2, 1.0, 10.0], [0.01, 0.05, 0.5]]
    )


def test_true_energy_follows_the_order_of_the_pool_and_leaves_the_runs_alone(make_matrix, pool):
    matrix = make_matrix(
        np.ones((1, 3)), models=("large", "small", "middle"), completion_tokens=np.nan
    )
    energy_j = true_energy(matrix, pool)
    assert energy_j[0].argsort().tolist() == [0, 1, 2]
    assert np.isnan(matrix.completion_tokens).all()


def test_true_energy_without_a_model_of_the_pool(make_matrix, pool):
    with pytest.raises(KeyError, match="large"):
        true_energy(make_matrix(np.ones((1, 2))), pool)


def test_reference_is_the_best_and_of_equals_the_cheapest():
    quality = np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 0.5]])
    assert reference_model(quality, np.array([[9.0, 5.0, 1.0]] * 2)) == 1
    assert reference_model(quality, np.array([[5.0, 9.0, 1.0]] * 2)) == 0


def test_feature_rows_takes_rows_of_all_blocks_in_order(make_features):
    features = make_features([0, 1, 2, 3])
    taken = feature_rows(features, [3, 0, 3])
    assert len(taken) == 3
    np.testing.assert_array_equal(taken.dense, features.dense[[3, 0, 3]])
    np.testing.assert_array_equal(taken.profile, features.profile[[3, 0, 3]])
    np.testing.assert_array_equal(taken.indptr, [0, 3, 6, 9])
    np.testing.assert_array_equal(taken.indices[:3], features.indices[9:12])
    np.testing.assert_array_equal(taken.indices[3:6], features.indices[:3])
    empty = feature_rows(features, [])
    assert len(empty) == 0
    assert empty.indptr.tolist() == [0]


def test_test_outcomes_are_not_in_a_split(specialists):
    split, quality, _ = specialists.split()
    assert len(split.test_prompts) == len(quality)
    assert len(split.train) + len(split.test_ids) == len(specialists.matrix)
    assert not set(split.train.prompt_ids) & set(split.test_ids)


def test_asking_for_energy_before_a_router_predicted_it(specialists):
    split, _, _ = specialists.split()
    fields = {name: getattr(split, name) for name in BenchmarkSplit.__slots__}
    with pytest.raises(ConfigError, match="test_energy_j"):
        _ = BenchmarkSplit(**{**fields, "test_energy_j": None}).predicted_energy_j
