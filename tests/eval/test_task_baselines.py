import numpy as np
import pytest

from router.eval.baselines import TaskMeans, TaskRules
from router.eval.frontier import operating_points


def test_rules_send_each_task_to_its_specialist(specialists):
    split, quality, energy_j = specialists.split()
    choices = TaskRules().run(split).choices
    wanted = np.array([{"sums": 0, "words": 1}[task] for task in split.test_tasks])
    assert (choices == wanted).all(axis=1).any()
    assert (choices[-1] == split.reference).all()
    points = operating_points(choices, quality, energy_j)
    good = points[points[:, 1] >= 0.9 * quality[:, 2].mean()]
    assert good[:, 0].min() < 0.1 * energy_j[:, 2].mean()


def test_rules_are_one_model_for_each_task_and_setting(specialists):
    split, _, _ = specialists.split()
    choices = TaskRules().run(split).choices
    tasks = np.array(split.test_tasks)
    for task in ("sums", "words"):
        rows = choices[:, tasks == task]
        assert (rows == rows[:, :1]).all()


def test_task_means_are_shrunken_by_hand(make_case, make_matrix):
    tasks = ["a"] * 6 + ["b"] * 4
    quality = np.array([[1.0, 0.0, 1.0]] * 6 + [[0.0, 1.0, 1.0]] * 4)
    split, _, _ = make_case(make_matrix(quality, tasks=tasks)).split()
    n_a, n_b = split.train.tasks.count("a"), split.train.tasks.count("b")
    found = TaskMeans(prior_weight=2.0).run(split).quality
    overall = n_a / (n_a + n_b)
    expected = {"a": (n_a + 2 * overall) / (n_a + 2), "b": 2 * overall / (n_b + 2)}
    for row, task in zip(found, split.test_tasks, strict=True):
        assert row[0] == pytest.approx(expected[task])
        assert row[2] == 1.0


def test_a_task_that_was_never_seen_gets_the_overall_mean(make_case, make_matrix):
    tasks = [f"task {i}" for i in range(20)]
    quality = np.random.default_rng(0).random((20, 3))
    split, _, _ = make_case(make_matrix(quality, tasks=tasks)).split()
    found = TaskMeans().run(split).quality
    np.testing.assert_allclose(found, np.tile(split.train.quality.mean(axis=0), (len(found), 1)))
    rules = TaskRules().run(split).choices
    assert (rules == rules[:, :1]).all()


def test_empty_labels_are_one_task(make_case, make_matrix):
    split, _, _ = make_case(make_matrix(np.tile([[0.0, 1.0, 1.0]], (20, 1)))).split()
    found = TaskMeans().run(split).quality
    np.testing.assert_allclose(found, np.tile([0.0, 1.0, 1.0], (len(found), 1)))
