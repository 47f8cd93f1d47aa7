from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.eval.matrix import AnswerMatrix
from router.eval.protocol import feature_rows
from router.features import FeatureExtractor, FeatureSpec
from router.novelty import NoveltyGuard
from router.training import novelty
from router.training.novelty import fit_guard, trusted_reach

SPEC = FeatureSpec(n_buckets=2**12)


@pytest.fixture(scope="module")
def guard(problem: Any) -> NoveltyGuard:
    return fit(problem)


def fit(problem: Any, seed: int = 0) -> NoveltyGuard:
    matrix = problem.matrix
    return fit_guard(problem.features, matrix.groups, matrix.quality, reference=2, seed=seed)


def same(one: NoveltyGuard, other: NoveltyGuard) -> bool:
    first, second = one.to_arrays(), other.to_arrays()
    return all(np.array_equal(first[name], second[name]) for name in first)


def test_a_kind_that_was_not_seen_is_noticed(problem: Any):
    tasks = np.array(problem.matrix.tasks)
    for kind in ("sums", "words", "puzzles"):
        known, unseen = np.flatnonzero(tasks != kind), np.flatnonzero(tasks == kind)
        guard = fit_guard(
            feature_rows(problem.features, known),
            problem.matrix.groups[known],
            problem.matrix.quality[known],
            reference=2,
        )
        found = guard.novelty(feature_rows(problem.features, unseen))
        assert (found >= guard.level).mean() > 0.95, kind


def test_new_prompts_of_known_kinds_are_not(
    guard: NoveltyGuard, make_matrix: Callable[..., AnswerMatrix]
):
    new = make_matrix(600, seed=9)
    found = guard.novelty(FeatureExtractor(SPEC).extract(new.prompts))
    assert (found >= guard.level).mean() < 0.05
    assert found.mean() == pytest.approx(0.5, abs=0.08)


@pytest.mark.slow
def test_false_alarms_are_as_rare_as_stated(make_matrix: Callable[..., AnswerMatrix]):
    extractor = FeatureExtractor(SPEC)
    new = extractor.extract(make_matrix(1000, seed=99).prompts)
    alarms = []
    for seed in range(8):
        matrix = make_matrix(300, seed=seed)
        guard = fit_guard(
            extractor.extract(matrix.prompts), matrix.groups, matrix.quality, 2, seed=seed
        )
        alarms.append((guard.novelty(new) >= guard.level).mean())
    assert np.mean(alarms) < 0.025


def test_the_same_seed_gives_the_same_guard(problem: Any, guard: NoveltyGuard):
    assert same(fit(problem), guard)
    assert not same(fit(problem, seed=1), guard)


def test_copies_of_a_text_count_once(problem: Any, guard: NoveltyGuard):
    twice = np.concatenate([np.arange(240), np.arange(240)])
    matrix = problem.matrix
    again = fit_guard(
        feature_rows(problem.features, twice), matrix.groups[twice], matrix.quality[twice], 2
    )
    assert same(again, guard)


def test_sizes_are_bounded(problem: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(novelty, "_MAX_PROMPTS", 100)
    monkeypatch.setattr(novelty, "_MAX_BANK", 50)
    small = fit(problem)
    assert len(small.neighbourhood.bank) == 50
    assert small.scores.max() > 0
    assert (small.novelty(problem.features) >= small.level).mean() < 0.1
    assert sum(array.nbytes for array in small.to_arrays().values()) < 1e6


@pytest.mark.parametrize("n", [4, 5, 20, 60])
def test_few_prompts(problem: Any, n: int):
    rows = np.arange(n)
    few = fit_guard(
        feature_rows(problem.features, rows), rows, problem.matrix.quality[rows], reference=2
    )
    assert few.level == pytest.approx(n / (n + 1) if n < 49 else 60 / 61)
    assert ((few.novelty(problem.features) >= 0) & (few.novelty(problem.features) < 1)).all()


def test_too_few_prompts(problem: Any):
    with pytest.raises(ValueError, match="3 distinct prompts: at least four"):
        fit_guard(problem.features, np.arange(240) % 3, problem.matrix.quality, 2)


def test_prompts_that_are_all_alike():
    texts = [f"Add {i} to {i + 1}." for i in range(100, 160)]  # digits all read as one
    features = FeatureExtractor(SPEC).extract(texts)
    features = replace(features, dense=np.repeat(features.dense[:1], len(texts), axis=0))
    guard = fit_guard(features, np.arange(60), np.ones((60, 2)), 1)
    assert (guard.novelty(features) < guard.level).all()
    other = FeatureExtractor(SPEC).extract(["Write a poem about frost, please.", "x"])
    assert (guard.novelty(other) >= guard.level).all()


def test_precomputed_embeddings(problem: Any):
    rows = np.random.default_rng(1).standard_normal((240, 5)).astype(np.float32)
    spec = FeatureSpec(encoder="precomputed:5", n_buckets=64)
    features = FeatureExtractor(spec).extract(problem.matrix.prompts, rows)
    guard = fit_guard(features, problem.matrix.groups, problem.matrix.quality, 2)
    assert (guard.novelty(features) >= guard.level).mean() < 0.05


@given(st.integers(4, 20_000))
def test_ranks_that_are_kept(n: int):
    ranks = novelty._kept_ranks(n)
    assert ranks[0] >= 1
    assert ranks[-1] == n
    assert (np.diff(ranks) > 0).all()
    assert len(ranks) <= 200
    alarm = novelty._alarm_rank(n)
    assert alarm in ranks
    if n >= 49:  # the rank of a conformal p-value of 2 %
        assert 1 - alarm / (n + 1) <= 0.02 + 1e-12 < 1 - (alarm - 2) / (n + 1)
    else:
        assert alarm == n


CLUSTER = np.repeat(np.arange(5), 40)


def test_a_model_as_good_everywhere_is_trusted_with_every_bar():
    quality = np.random.default_rng(0).integers(0, 2, (200, 1)).astype(float)
    assert trusted_reach(np.hstack([quality, quality]), CLUSTER, 1) == (1.0, 1.0)


def test_a_model_is_trusted_less_where_kinds_of_tasks_differ():
    reference = np.ones(200)
    even = np.where(np.arange(200) % 10 < 9, 1.0, 0.0)  # 0.9 in every cluster
    uneven = np.ones(200)
    uneven[CLUSTER == 0] = 0.5  # 0.9 in all, by one weak cluster
    quality = np.column_stack([even, uneven, reference])
    first, second, third = trusted_reach(quality, CLUSTER, 2)
    assert third == 1.0
    assert 0.8 < first < 0.9
    assert second < 0.6


def test_few_prompts_are_trusted_less():
    rng = np.random.default_rng(3)
    quality = np.column_stack([rng.random(4000) < 0.8, rng.random(4000) < 0.85]).astype(float)
    few = trusted_reach(quality[:200], CLUSTER, 1)[0]
    many = trusted_reach(quality, np.repeat(np.arange(20), 200), 1)[0]
    assert few < many < 0.95


def test_missing_answers_are_left_out():
    quality = np.ones((200, 3))
    quality[::2, 0] = np.nan
    quality[:, 1] = np.nan
    quality[CLUSTER > 0, 1] = np.nan
    assert trusted_reach(quality, CLUSTER, 2) == (1.0, 0.0, 1.0)


def test_one_cluster_tells_nothing_of_others():
    assert trusted_reach(np.ones((9, 2)), np.zeros(9, int), 1) == (0.0, 1.0)


def test_a_model_that_is_never_right_is_never_trusted():
    quality = np.column_stack([np.zeros(200), np.ones(200)])
    assert trusted_reach(quality, CLUSTER, 1) == (0.0, 1.0)


def test_a_reference_that_is_never_right():
    assert trusted_reach(np.zeros((200, 2)), CLUSTER, 1) == (1.0, 1.0)


def test_the_prompts_of_the_neighbourhood_are_remembered_by_hash(problem: Any, monkeypatch):
    monkeypatch.setattr(novelty, "_MAX_BANK", 50)
    matrix = problem.matrix
    hashes = 1000 + np.arange(len(matrix.groups))
    quality = np.where(
        np.arange(matrix.quality.size).reshape(matrix.quality.shape) % 7, matrix.quality, np.nan
    )
    guard = fit_guard(problem.features, matrix.groups, quality, 2, hashes=hashes)
    assert guard.remembered is not None
    rows = guard.remembered.hashes - 1000
    assert len(rows) == len(set(rows.tolist())) == 50
    np.testing.assert_array_equal(guard.remembered.quality, quality[rows])
    away = guard.neighbourhood.distances(feature_rows(problem.features, rows))
    assert (away.argmin(axis=1) == np.arange(50)).mean() > 0.95  # copies but for digits are as near
    again = NoveltyGuard.from_arrays(guard.to_arrays())
    assert again.remembered is not None
    assert again.remembered.hashes.tolist() == guard.remembered.hashes.tolist()
    with pytest.raises(ValueError, match="a row a prompt of the neighbourhood"):
        replace(guard, remembered=guard.remembered.with_model())
    assert fit(problem).remembered is None
