"""Runs that are poor, lopsided or full of holes are learned from without a warning."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from router import Router
from router.artifact import read_artifact, write_artifact
from router.eval.corruption import Corruption
from router.eval.learning_curve import MARGIN, CurvePoint
from router.eval.matrix import AnswerMatrix
from router.eval.result import HEADLINE
from router.eval.served import SERVED_DIFFERENCE
from router.features import FeatureExtractor, FeatureSpec
from router.training import fitting
from router.training.learning_curve import run_learning_curve
from router.training.train import train_router


@pytest.fixture(scope="module")
def matrix(make_matrix) -> AnswerMatrix:
    return make_matrix(60)


def spoilt(matrix: AnswerMatrix, how: str) -> AnswerMatrix:
    rng = np.random.default_rng(3)
    quality = matrix.quality.copy()
    n = len(matrix)
    if how == "flipped":
        quality = np.abs(quality - (rng.random(quality.shape) < 0.2))
    elif how == "half missing":
        quality[rng.random(quality.shape) < 0.5] = np.nan
    elif how == "no prompt is complete":
        quality[np.arange(n), rng.integers(0, 3, n)] = np.nan
    elif how == "always and never right":
        quality[:, 0], quality[:, 2] = 0, 1
    elif how == "constant":
        quality[:, 1] = 0.5
    elif how == "all right":
        quality[:] = 1
    elif how == "all wrong":
        quality[:] = 0
    elif how == "identical":
        quality[:, 1] = quality[:, 2]
    elif how == "fractions":
        quality = rng.random(quality.shape)
    elif how == "one prompt of its task":
        return replace(matrix, tasks=("many",) * (n - 1) + ("one",))
    elif how == "texts that say nothing":
        return replace(matrix, prompts=tuple(f"Question {i:04d}?" for i in range(n)))
    elif how == "no tokens":
        nothing = np.full(quality.shape, np.nan)
        return replace(matrix, completion_tokens=nothing, prompt_tokens=nothing)
    elif how == "no energy":
        return replace(matrix, energy_j=np.zeros(quality.shape))
    elif how == "endless answers":
        return replace(matrix, completion_tokens=np.full(quality.shape, 1e9))
    return replace(matrix, quality=quality)


@pytest.mark.parametrize(
    "how",
    [
        "flipped",
        "half missing",
        "no prompt is complete",
        "always and never right",
        "constant",
        "all right",
        "all wrong",
        "identical",
        "fractions",
        "one prompt of its task",
        "texts that say nothing",
        "no tokens",
        "no energy",
        "endless answers",
    ],
)
def test_clumsy_runs_train_without_a_warning(
    matrix: AnswerMatrix, pool, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """pytest turns the warnings of numerical libraries into errors."""
    monkeypatch.setattr(fitting, "_MAX_REPEATS", 1)
    found = train_router(
        spoilt(matrix, how), pool, data_digest="", spec=FeatureSpec(n_buckets=2**10)
    )
    write_artifact(found.artifact, tmp_path / "router", "card")
    json.loads(
        (tmp_path / "router" / "manifest.json").read_text(),
        parse_constant=lambda name: pytest.fail(f"{name} is not JSON"),
    )
    assert read_artifact(tmp_path / "router").lineage["n_prompts"] > 40
    router = Router.load(tmp_path / "router")
    for quality in (0.5, 1.0):
        decision = router.route("Add 12 to 345 and give the number.", quality=quality)
        for candidate in decision.candidates:
            assert 0 <= candidate.probability <= 1
            assert 0 < candidate.energy_j.value_j < np.inf


def measured(
    matrix: AnswerMatrix, pool, corruption: Corruption | None = None, n_seeds: int = 2
) -> CurvePoint:
    """Figures on clean test labels."""
    curve = run_learning_curve(
        matrix,
        pool,
        sizes=(),
        seeds=range(n_seeds),
        extractor=FeatureExtractor(FeatureSpec(n_buckets=2**10)),
        corruption=corruption,
        n_jobs=1,
    )
    return curve.points[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "how",
    [
        None,
        "flip:0.2",
        "missing:0.5",
        "perfect",
        "failing",
        "constant",
        "twins",
        "lone-task",
    ],
)
def test_what_can_be_learned_is_learned_all_the_same(
    make_matrix, pool, how: str | None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(fitting, "_MAX_REPEATS", 1)
    point = measured(make_matrix(400), pool, None if how is None else Corruption.parse(how))
    assert point.interval(HEADLINE).mean < -0.15
    assert point.interval(SERVED_DIFFERENCE).mean <= MARGIN


@pytest.mark.slow
@pytest.mark.parametrize("how", ["identical", "all right", "all wrong", "texts that say nothing"])
def test_where_little_can_be_learned_nothing_is_lost(
    make_matrix, pool, how: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(fitting, "_MAX_REPEATS", 1)
    point = measured(spoilt(make_matrix(240), how), pool, n_seeds=6)
    assert point.interval(HEADLINE).mean <= MARGIN
    # where nothing is to be learned, chance moves the mean of six splits by 0.02
    assert point.interval(SERVED_DIFFERENCE).low <= MARGIN
    assert point.interval(SERVED_DIFFERENCE).mean <= 2 * MARGIN
