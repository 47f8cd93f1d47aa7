from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from router.dial import dial_sweep
from router.eval.matrix import AnswerMatrix
from router.eval.protocol import (
    BenchmarkSplit,
    Outcome,
    feature_rows,
    split_prompts,
    true_energy,
)
from router.features import Features
from router.pool import Pool, PoolModel


def _model(name: str, joules: float, assumed: float | None = None) -> PoolModel:
    return PoolModel(
        name=name,
        api_id=name,
        joules_per_prompt_token=joules / 10,
        joules_per_completion_token=joules,
        low_factor=0.5,
        high_factor=2.0,
        basis="estimated",
        assumed_completion_tokens=assumed,
    )


def _matrix(
    quality: object,
    *,
    completion_tokens: object = 100.0,
    prompt_tokens: object = 10.0,
    energy_j: object = np.nan,
    models: Sequence[str] = ("small", "middle", "large"),
    tasks: Sequence[str] | None = None,
    groups: Sequence[int] | None = None,
    prompts: Sequence[object] | None = None,
) -> AnswerMatrix:
    grades = np.array(quality, dtype=np.float64)
    n, m = grades.shape

    def cells(values: object) -> np.ndarray:
        return np.broadcast_to(np.array(values, dtype=np.float64), (n, m)).copy()

    return AnswerMatrix(
        prompts=tuple(prompts or (f"Question {i}?" for i in range(n))),
        prompt_ids=tuple(f"p{i}" for i in range(n)),
        models=tuple(models[:m]),
        quality=grades,
        prompt_tokens=cells(prompt_tokens),
        completion_tokens=cells(completion_tokens),
        energy_j=cells(energy_j),
        tasks=tuple(tasks or [""] * n),
        groups=np.array(range(n) if groups is None else groups, np.int64),
    )


def _features(kinds: Sequence[int], seed: int = 0) -> Features:
    """Features that tell the kind of a prompt in every block, with some noise."""
    rng = np.random.default_rng(seed)
    kinds = np.asarray(kinds)
    n = len(kinds)
    embedding = np.eye(6)[kinds] + 0.15 * rng.standard_normal((n, 6))
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    statistics = np.stack([kinds + 0.1 * rng.standard_normal(n), np.ones(n)], axis=1)
    indices = np.stack([kinds, rng.integers(10, 50, n), np.full(n, 60)], axis=1)
    return Features(
        dense=np.hstack([embedding, statistics]).astype(np.float32),
        profile=np.stack([kinds, rng.random(n)], axis=1).astype(np.float32),
        indptr=np.arange(0, 3 * n + 1, 3, dtype=np.int64),
        indices=indices.reshape(-1).astype(np.int32),
        values=np.full(3 * n, 1 / np.sqrt(3), np.float32),
        n_columns=64,
        n_embedding=6,
    )


@dataclass(frozen=True)
class Case:
    """A pool with its runs and their features."""

    matrix: AnswerMatrix
    pool: Pool
    features: Features

    def split(self, seed: int = 0) -> tuple[BenchmarkSplit, np.ndarray, np.ndarray]:
        """Return a split with true energy as the predicted one, and the test outcomes."""
        energy_j = true_energy(self.matrix, self.pool)
        cells = self.matrix.columns(self.pool.names)
        train, test = split_prompts(cells.groups, seed)
        held_out = cells.rows(test)
        split = BenchmarkSplit(
            seed=seed,
            train=cells.rows(train),
            extra=None,
            test_prompts=held_out.prompts,
            test_ids=held_out.prompt_ids,
            test_tasks=held_out.tasks,
            train_features=feature_rows(self.features, train),
            test_features=feature_rows(self.features, test),
            train_energy_j=energy_j[train],
            test_energy_j=energy_j[test],
        )
        return split, held_out.quality, energy_j[test]


class KindRouter:
    """A router that looks the mean quality and energy of the largest embedding column up."""

    name = "WattRoute"

    def run(self, split: BenchmarkSplit) -> Outcome:
        train = split.train_features.dense[:, :6].argmax(axis=1)
        test = split.test_features.dense[:, :6].argmax(axis=1)
        quality = np.tile(split.train.quality.mean(axis=0), (6, 1))
        energy_j = np.tile(split.train_energy_j.mean(axis=0), (6, 1))
        for kind in np.unique(train):
            quality[kind] = split.train.quality[train == kind].mean(axis=0)
            energy_j[kind] = split.train_energy_j[train == kind].mean(axis=0)
        return Outcome(
            choices=dial_sweep(quality[test], energy_j[test], split.means, split.reference),
            quality=quality[test],
            energy_j=energy_j[test],
            completion_tokens=np.full((len(test), quality.shape[1]), 100.0),
            figures={"train_s": 0.25, "decision_us_p50": 300.0},
        )


@pytest.fixture
def make_matrix() -> Callable[..., AnswerMatrix]:
    return _matrix


@pytest.fixture
def make_features() -> Callable[..., Features]:
    return _features


@pytest.fixture(scope="session")
def pool() -> Pool:
    return Pool("three", (_model("small", 0.1), _model("middle", 0.5), _model("large", 5.0)))


@pytest.fixture
def make_model() -> Callable[..., PoolModel]:
    return _model


@pytest.fixture(scope="session")
def specialists(pool: Pool) -> Case:
    """Two cheap models that are right on one kind of prompt each, and a large one on most."""
    rng = np.random.default_rng(7)
    n = 300
    kinds = rng.integers(0, 2, n)
    chance = np.array([[0.95, 0.05, 0.9], [0.05, 0.95, 0.9]])[kinds]
    matrix = _matrix(
        rng.random((n, 3)) < chance,
        completion_tokens=rng.integers(80, 120, (n, 3)),
        tasks=[("sums", "words")[kind] for kind in kinds],
    )
    return Case(matrix, pool, _features(kinds))


@pytest.fixture
def make_case(pool: Pool) -> Callable[..., Case]:
    def make(matrix: AnswerMatrix, kinds: Sequence[int] | None = None) -> Case:
        return Case(matrix, pool, _features([0] * len(matrix) if kinds is None else kinds))

    return make


@pytest.fixture(scope="session")
def router_method() -> KindRouter:
    return KindRouter()
