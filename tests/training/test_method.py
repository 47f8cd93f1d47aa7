from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from router.encoders import load_encoder
from router.errors import DataError
from router.eval.benchmark import run_benchmark
from router.eval.matrix import AnswerMatrix
from router.eval.result import BenchmarkResult
from router.features import FeatureExtractor, FeatureSpec
from router.training.embedding_cache import CachedEncoder
from router.training.method import LearnedRouter

SPEC = FeatureSpec(n_buckets=2**10)


def benchmark(matrix: AnswerMatrix, pool, extractor: FeatureExtractor) -> BenchmarkResult:
    router = LearnedRouter(pool, extractor)
    return run_benchmark(matrix, pool, router, seeds=[0], extractor=extractor, baselines=())


@pytest.fixture(scope="module")
def matrix(make_matrix: Callable[..., AnswerMatrix]) -> AnswerMatrix:
    return make_matrix(150)


@pytest.fixture(scope="module")
def result(matrix: AnswerMatrix, pool) -> BenchmarkResult:
    return benchmark(matrix, pool, FeatureExtractor(SPEC))


def figure(result: BenchmarkResult, name: str) -> float:
    (value,) = result.router.per_seed[name]
    return value


def test_it_beats_the_zero_router_where_the_text_tells(result: BenchmarkResult):
    assert result.router.name == "wattroute"
    assert figure(result, "log_energy_ratio") < -0.2
    assert figure(result, "auc") > 0.7
    assert figure(result, "length_error") < 0.3


def test_it_has_the_figures_of_the_protocol(result: BenchmarkResult):
    assert figure(result, "train_s") > 0
    assert 0.01 < figure(result, "artifact_mb") < 50
    assert 0 < figure(result, "decision_us_p50") <= figure(result, "decision_us_p99") < 1e6
    assert np.isfinite(figure(result, "out_of_fold_log_energy_ratio"))


def test_the_last_setting_is_the_reference(result: BenchmarkResult):
    (part,) = result.seed_decisions
    assert len(part.choices) >= 60
    assert (part.choices[-1] == 2).all()
    assert part.quality.shape == part.energy_j.shape == (45, 3)


def test_the_same_split_gives_the_same_decisions(result: BenchmarkResult, matrix, pool):
    again = benchmark(matrix, pool, FeatureExtractor(SPEC))
    for one, other in zip(result.seed_decisions, again.seed_decisions, strict=True):
        np.testing.assert_array_equal(one.choices, other.choices)
        np.testing.assert_array_equal(one.quality, other.quality)


def test_answers_to_test_prompts_change_nothing(result: BenchmarkResult, matrix, pool):
    (part,) = result.seed_decisions
    tested = np.isin(matrix.prompt_ids, part.prompt_ids)
    quality, tokens = matrix.quality.copy(), matrix.completion_tokens.copy()
    quality[tested] = 1 - quality[tested]
    tokens[tested] *= 3
    changed = replace(matrix, quality=quality, completion_tokens=tokens)
    (found,) = benchmark(changed, pool, FeatureExtractor(SPEC)).seed_decisions
    assert found.prompt_ids == part.prompt_ids
    np.testing.assert_array_equal(found.quality, part.quality)
    np.testing.assert_array_equal(found.energy_j, part.energy_j)


def test_embeddings_that_came_with_the_runs(matrix: AnswerMatrix, pool):
    kinds = np.unique(matrix.tasks, return_inverse=True)[1]
    given = replace(matrix, embeddings=np.eye(3, dtype=np.float32)[kinds])
    extractor = FeatureExtractor(replace(SPEC, encoder="precomputed:3"))
    found = benchmark(given, pool, extractor).router.per_seed
    assert found["log_energy_ratio"][0] < -0.2
    assert "artifact_mb" in found
    assert "decision_us_p50" not in found  # there is no encoder to wait for


def test_embeddings_of_another_encoder_are_not_mixed_up(
    result: BenchmarkResult, matrix: AnswerMatrix, pool
):
    foreign = np.random.default_rng(0).standard_normal((150, 256)).astype(np.float32)
    found = benchmark(replace(matrix, embeddings=foreign), pool, FeatureExtractor(SPEC))
    np.testing.assert_array_equal(found.seed_decisions[0].quality, result.seed_decisions[0].quality)


def test_decisions_are_timed_without_the_cache(matrix: AnswerMatrix, pool, tmp_path):
    class Counting:
        n_texts = 0

        def encode(self, texts):
            self.n_texts += len(texts)
            return load_encoder("static").encode(texts)

        def fingerprint(self) -> str:
            return load_encoder("static").fingerprint()

    inner = Counting()
    extractor = FeatureExtractor(SPEC, CachedEncoder(inner, tmp_path))
    benchmark(matrix, pool, extractor)
    assert inner.n_texts >= 150 + 45  # each prompt once, and once more for each that is timed


def test_too_few_prompts(make_matrix, pool):
    with pytest.raises(DataError, match="distinct graded prompts"):
        benchmark(make_matrix(24), pool, FeatureExtractor(SPEC))
