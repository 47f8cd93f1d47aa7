from __future__ import annotations

import numpy as np
import pytest

from router.artifact import Artifact
from router.errors import ConfigError, DataError
from router.eval.matrix import AnswerMatrix
from router.eval.protocol import feature_rows
from router.features import FeatureExtractor, Features, FeatureSpec
from router.training import fitting
from router.training import select_prompts as module
from router.training.select_prompts import select_prompts
from router.training.train import train_router

SPEC = FeatureSpec(n_buckets=2**10)


@pytest.fixture(scope="module")
def matrix(make_matrix) -> AnswerMatrix:
    return make_matrix(200)


@pytest.fixture(scope="module")
def features(matrix: AnswerMatrix) -> Features:
    return FeatureExtractor(SPEC).extract(matrix.prompts)


@pytest.fixture(scope="module")
def artifact(matrix: AnswerMatrix, pool) -> Artifact:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "_MAX_REPEATS", 1)
        return train_router(matrix, pool, data_digest="", spec=SPEC).artifact


def test_every_other_choice_helps_most_given_the_ones_before(features: Features):
    few = feature_rows(features, np.arange(30))
    covariance = module._covariance(few, None).astype(np.float64)
    noise = module._NOISE

    def left(rows: list[int]) -> float:
        inner = covariance[np.ix_(rows, rows)] + noise * np.eye(len(rows))
        cross = covariance[:, rows]
        return float(np.trace(covariance - cross @ np.linalg.solve(inner, cross.T)))

    found = select_prompts(few, 6)
    chosen: list[int] = []
    for i, (place, share) in enumerate(zip(found.index.tolist(), found.uncertainty, strict=True)):
        best = min(left([*chosen, j]) for j in range(30) if j not in chosen)
        chosen.append(place)
        if i % 2 == 0:
            assert left(chosen) == pytest.approx(best, rel=1e-4)
        assert share == pytest.approx(left(chosen) / np.trace(covariance), rel=1e-4)


def test_the_other_choices_are_draws(features: Features):
    """Over seeds each prompt is drawn about equally often, so they stand for all of them."""
    n = len(features)
    counts = np.zeros(n)
    for seed in range(100):
        counts[select_prompts(features, 20, seed=seed).index[1::2]] += 1
    first = select_prompts(features, 20, seed=0).index[0]
    assert counts.sum() == 1000
    assert counts[first] == 0  # chosen before anything is drawn
    rest = np.delete(counts, first)
    mean = 1000 / (n - 1)
    # chi-squared with some 200 degrees of freedom, five standard deviations
    assert ((rest - mean) ** 2 / mean).sum() < n + 5 * np.sqrt(2 * n)


@pytest.mark.parametrize("known", [False, True])
def test_the_choice_is_the_same_each_time_and_a_longer_one_goes_on(
    features: Features, artifact: Artifact, known: bool
):
    router = artifact if known else None
    first, longer = (select_prompts(features, n, artifact=router) for n in (20, 50))
    np.testing.assert_array_equal(first.index, select_prompts(features, 20, artifact=router).index)
    np.testing.assert_array_equal(first.index, longer.index[:20])
    assert len(np.unique(longer.index)) == 50
    assert (np.diff(longer.uncertainty) < 0.0).all()
    assert 0.0 < longer.uncertainty[-1] < longer.uncertainty[0] < 1.0


def test_every_kind_of_prompt_is_covered(
    features: Features, artifact: Artifact, matrix: AnswerMatrix
):
    tasks = np.array(matrix.tasks)
    index = select_prompts(features, 12, artifact=artifact).index
    assert set(tasks[index]) == {"sums", "words", "puzzles"}


def test_a_router_looks_where_its_models_part_ways(features: Features, artifact: Artifact):
    with_router = select_prompts(features, 40, artifact=artifact).index
    without = select_prompts(features, 40).index
    assert set(with_router.tolist()) != set(without.tolist())


def test_graded_prompts_are_taken_into_account_and_not_chosen(features: Features):
    first = select_prompts(features, 10).index
    graded = np.isin(np.arange(len(features)), first)
    more = select_prompts(features, 10, graded=graded)
    assert not set(more.index.tolist()) & set(first.tolist())
    np.testing.assert_array_equal(more.index[:5], select_prompts(features, 15).index[10:])


def test_one_prompt_of_each_group(features: Features):
    groups = np.arange(len(features)) // 4
    index = select_prompts(features, 50, groups=groups).index
    assert len(np.unique(groups[index])) == 50
    graded = np.zeros(len(features), bool)
    graded[3] = True  # so its group is done
    index = select_prompts(features, 49, groups=groups, graded=graded).index
    assert not np.isin(index, np.arange(4)).any()
    with pytest.raises(DataError, match=r"49 distinct prompts.*50 are asked for"):
        select_prompts(features, 50, groups=groups, graded=graded)


def test_of_very_many_candidates_a_sample_is_looked_at(
    features: Features, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "MAX_CANDIDATES", 60)
    first, same, other = (select_prompts(features, 30, seed=s).index for s in (0, 0, 1))
    np.testing.assert_array_equal(first, same)
    assert set(first.tolist()) != set(other.tolist())
    graded = np.arange(len(features)) < 55
    more = select_prompts(features, 30, graded=graded).index  # as many as are asked for
    assert len(more) == 30
    assert (more >= 55).all()


def test_prompts_without_any_features_are_all_the_same_to_it():
    empty = Features(
        dense=np.zeros((5, 4), np.float32),
        profile=np.zeros((5, 0), np.float32),
        indptr=np.zeros(6, np.int64),
        indices=np.zeros(0, np.int32),
        values=np.zeros(0, np.float32),
        n_columns=16,
        n_embedding=2,
    )
    found = select_prompts(empty, 5)
    assert sorted(found.index.tolist()) == [0, 1, 2, 3, 4]
    assert np.isfinite(found.uncertainty).all()


def test_wrong_numbers_are_refused(features: Features):
    with pytest.raises(ConfigError, match="n is 0"):
        select_prompts(features, 0)
    with pytest.raises(DataError, match="200 distinct prompts"):
        select_prompts(features, 201)
