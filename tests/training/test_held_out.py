from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from router import Router
from router.errors import ConfigError
from router.eval.matrix import AnswerMatrix
from router.features import FeatureSpec
from router.training.train import TrainedRouter, prompt_hashes, train_router

SPEC = FeatureSpec(n_buckets=2**10)


def train(matrix: AnswerMatrix, pool, **options: object) -> TrainedRouter:
    return train_router(matrix, pool, data_digest="ab" * 32, **{"spec": SPEC, **options})


@pytest.fixture(scope="module")
def matrix(make_matrix: Callable[..., AnswerMatrix]) -> AnswerMatrix:
    return make_matrix(700)


@pytest.fixture(scope="module")
def trained(matrix: AnswerMatrix, pool) -> TrainedRouter:
    return train(matrix, pool, calibration_share=0.5)


def test_training_and_calibration_share_no_text(
    trained: TrainedRouter, matrix: AnswerMatrix
) -> None:
    lineage = trained.artifact.lineage
    learned, held = set(lineage["prompt_hashes"]), set(lineage["calibration_hashes"])
    assert learned | held == set(prompt_hashes(matrix.prompts).tolist())
    assert not learned & held
    assert lineage["n_prompts"] == len(trained.targets.quality) == 700 - 350
    assert trained.artifact.calibration is not None
    assert 300 < trained.artifact.calibration.groups[0].n <= 350


def test_held_out_prompts_touch_nothing_of_the_training(
    trained: TrainedRouter, matrix: AnswerMatrix, pool
) -> None:
    """Other grades on them change the promises and not a number of the router."""
    held = np.isin(prompt_hashes(matrix.prompts), trained.artifact.lineage["calibration_hashes"])
    quality = matrix.quality.copy()
    quality[held] = 1.0 - quality[held]
    other = train(replace(matrix, quality=quality), pool, calibration_share=0.5)
    for name, array in trained.artifact.model.to_arrays().items():
        np.testing.assert_array_equal(array, other.artifact.model.to_arrays()[name])
    assert other.artifact.dial == trained.artifact.dial
    before, after = trained.artifact.calibration, other.artifact.calibration
    assert before is not None
    assert after is not None
    assert before.path == after.path
    assert before.method == after.method
    assert before.groups != after.groups


def test_promises_are_served(trained: TrainedRouter, make_matrix) -> None:
    router = Router(trained.artifact)
    new = make_matrix(400, seed=11)
    decisions = router.route_many(new.prompts, quality=0.9)
    certificate = next(d.certificate for d in decisions if d.certificate and d.certificate.holds)
    assert certificate.n > 300
    assert certificate.method == "exact"
    columns = [[m.id for m in router.models].index(d.model) for d in decisions]
    rows = np.arange(len(new))
    assert new.quality[rows, columns].mean() > 0.85 * new.quality[:, 2].mean()
    large = sum(d.energy_j.value_j for d in decisions)
    assert large < 0.9 * sum(d.candidates[2].energy_j.value_j for d in decisions)


def test_task_labels_are_the_kinds(trained: TrainedRouter) -> None:
    calibration = trained.artifact.calibration
    assert calibration is not None
    assert [group.name for group in calibration.groups] == ["", "puzzles", "sums", "words"]
    assert calibration.clusters is None


@pytest.mark.parametrize("label", ["", "{}"])
def test_without_labels_that_enough_share_kinds_are_discovered(
    matrix: AnswerMatrix, pool, label: str
) -> None:
    bare = replace(matrix, tasks=tuple(label.format(i) for i in range(len(matrix))))
    found = train(bare, pool, calibration_share=0.7).artifact
    assert found.calibration is not None
    assert found.calibration.clusters is not None
    assert len(found.calibration.groups) > 2
    assert all(g.name.startswith("cluster ") for g in found.calibration.groups[1:])
    router = Router(found)
    kinds = [d.certificate.group for d in router.route_many(matrix.prompts[:60], group="auto")]
    # clusters of templates: prompts of one task nearly always share one
    for task in ("sums", "words", "puzzles"):
        here = [kind for kind, label in zip(kinds, matrix.tasks, strict=False) if label == task]
        assert max(map(here.count, here)) > 0.7 * len(here)


@pytest.mark.parametrize("share", [0.0, 0.1])
def test_nothing_is_promised_where_too_few_would_be_held_out(
    matrix: AnswerMatrix, pool, share: float
) -> None:
    found = train(matrix.rows(np.arange(150)), pool, calibration_share=share).artifact
    assert found.calibration is None
    assert "calibration_hashes" not in found.lineage
    assert len(found.lineage["prompt_hashes"]) == 150
    decision = Router(found).route(matrix.prompts[0])
    assert decision.certificate is not None
    assert decision.certificate.reason == "not certified: this router was never calibrated"


def test_prompts_with_gaps_are_all_trained_on(matrix: AnswerMatrix, pool) -> None:
    quality = matrix.quality.copy()
    quality[::2, 0] = np.nan
    found = train(replace(matrix, quality=quality), pool, calibration_share=0.5).artifact
    held = np.isin(prompt_hashes(matrix.prompts), found.lineage["calibration_hashes"])
    assert held.sum() == 175
    assert not held[::2].any()


@pytest.mark.parametrize("share", [-0.1, 1.0, 2.0, float("nan")])
def test_shares_that_cannot_be(matrix: AnswerMatrix, pool, share: float) -> None:
    with pytest.raises(ConfigError, match="calibration_share"):
        train(matrix, pool, calibration_share=share)
