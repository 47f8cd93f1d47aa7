import numpy as np
import pytest

from router.errors import ConfigError, DataError
from router.eval.protocol import split_prompts, true_energy
from router.eval.splits import PoolPrompts


def test_it_takes_the_prompts_that_every_model_was_graded_on(make_matrix, make_features, pool):
    quality = np.array([[1, 0, 1], [1, np.nan, 1], [0, 0, 1], [0, 1, 1.0]])
    matrix = make_matrix(quality, completion_tokens=np.arange(12).reshape(4, 3) + 1)
    prompts = PoolPrompts.prepare(matrix, pool, features=make_features([0, 1, 2, 3]))
    assert prompts.cells.prompt_ids == ("p0", "p2", "p3")
    assert len(prompts) == len(prompts.features) == 3
    assert prompts.extra is None
    assert np.array_equal(prompts.energy_j, true_energy(matrix, pool)[[0, 2, 3]])


def test_models_outside_the_pool_are_kept_apart(make_matrix, make_features, pool):
    matrix = make_matrix(
        [[1, 0, 1, np.nan, 1], [0, 1, 1, np.nan, np.nan], [0, 1, 1, np.nan, 0]],
        models=("other", "large", "small", "never", "middle"),
    )
    prompts = PoolPrompts.prepare(matrix, pool, features=make_features([0, 1, 2]))
    assert prompts.cells.models == ("small", "middle", "large")
    assert prompts.cells.quality.tolist() == [[1, 1, 0], [1, 0, 1]]
    assert prompts.extra is not None
    assert prompts.extra.models == ("other",)
    assert prompts.extra.quality.tolist() == [[1], [0]]


def test_a_split_holds_no_outcome_of_a_test_prompt(specialists):
    case = specialists
    prompts = PoolPrompts.prepare(case.matrix, case.pool, features=case.features)
    train, test = split_prompts(prompts.cells.groups, 0)
    split, expected = prompts.split(train, test, 0), case.split(0)[0]
    assert split.train.prompt_ids == expected.train.prompt_ids
    assert split.test_ids == expected.test_ids
    assert split.test_tasks == expected.test_tasks
    assert np.array_equal(split.train_energy_j, expected.train_energy_j)
    assert np.array_equal(split.test_features.dense, expected.test_features.dense)
    assert split.test_energy_j is None


def test_the_truth_takes_reference_and_zero_router_from_training(specialists):
    case = specialists
    prompts = PoolPrompts.prepare(case.matrix, case.pool, features=case.features)
    train, test = split_prompts(prompts.cells.groups, 0)
    split = prompts.split(train, test, 0)
    truth = prompts.truth(split, test)
    assert truth.reference == split.reference == 2
    assert np.array_equal(truth.quality, case.split(0)[1])
    # Both specialists are on the hull of means or one dominates the other; the large one is.
    assert truth.reference_point.tolist() in truth.zero_points.tolist()


def test_gaps_in_training_leave_the_truth_whole(specialists):
    case = specialists
    prompts = PoolPrompts.prepare(case.matrix, case.pool, features=case.features)
    train, test = split_prompts(prompts.cells.groups, 0)
    split = prompts.split(train, test, 0)
    split.train.quality[::2, 1] = np.nan
    split.train.quality[1::2, 0] = np.nan
    truth = prompts.truth(split, test)
    assert truth.reference == 2
    assert np.isfinite(truth.zero_points).all()


def test_errors_name_what_is_missing(make_matrix, make_features, pool):
    matrix = make_matrix([[1, 0, 1], [0, 1, np.nan]])
    with pytest.raises(DataError, match="no model 'middle'"):
        PoolPrompts.prepare(matrix.columns(["small", "large"]), pool)
    with pytest.raises(DataError, match="1 of 2 prompts have a quality"):
        PoolPrompts.prepare(matrix, pool, features=make_features([0, 1]))
    with pytest.raises(ConfigError, match="1 rows and the runs have 2"):
        PoolPrompts.prepare(matrix, pool, features=make_features([0]))
