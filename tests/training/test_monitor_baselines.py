from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from router import Router
from router.artifact import Artifact
from router.features import FeatureExtractor, FeatureSpec
from router.monitor import Baseline
from router.training.monitor_baselines import (
    UnseenPrompts,
    held_out,
    monitor_baselines,
    out_of_fold,
)
from router.training.novelty import fit_guard
from router.training.train import assemble


@pytest.fixture(scope="module")
def artifact(fitted: Any, problem: Any) -> Artifact:
    quality = problem.targets.quality[:, : problem.targets.n_models]
    guard = fit_guard(problem.features, problem.matrix.groups, quality, fitted.reference)
    extractor = FeatureExtractor(FeatureSpec(n_buckets=2**12))
    return assemble(fitted, problem.targets, problem.pool, extractor, {}, guard=guard)


def totals(baseline: Baseline) -> tuple[dict[str, int], float, float]:
    cells = baseline.cells.values()
    return (
        {name: baseline.n_answers_of(name) for name in baseline.models},
        sum(cell.n * cell.probability for cell in cells),
        sum(cell.n * cell.quality for cell in cells),
    )


def test_held_out_prompts_are_routed_as_the_router_routes_them(artifact, make_matrix):
    # the strangest prompts go where the guard sends them
    fresh = make_matrix(150, seed=5)
    prompts = [*fresh.prompts[:140], *(f"zq{i} 本日 «{i * 7919}»" for i in range(10))]
    router = Router(artifact)
    extractor = FeatureExtractor(artifact.features)
    features = extractor.extract(prompts)
    unseen = held_out(artifact, router.score(prompts), features, fresh.quality)
    assert unseen.novelty is not None
    assert (unseen.novelty >= artifact.guard.level).sum() >= 8
    found = monitor_baselines(artifact, [unseen])
    assert [baseline.bar for baseline in found.bars] == [0.9, 0.95, 0.98, 1.0]
    ids = [model.id for model in router.models]
    for baseline in found.bars:
        decisions = router.route_many(prompts, quality=baseline.bar)
        chosen = [ids.index(decision.model) for decision in decisions]
        counts, predicted, graded = totals(baseline)
        assert list(counts.values()) == np.bincount(chosen, minlength=3).tolist()
        assert predicted == pytest.approx(sum(d.probability for d in decisions), rel=1e-4)
        assert graded == pytest.approx(fresh.quality[np.arange(150), chosen].sum(), rel=1e-4)
        novelty = sorted(float(f"{d.novelty:.3g}") for d in decisions)
        assert list(baseline.novelty) == novelty


def test_training_prompts_count_with_their_predictions_out_of_fold(artifact, fitted, problem):
    unseen = out_of_fold(fitted, problem.targets)
    assert unseen.novelty is None
    np.testing.assert_array_equal(unseen.expected_quality, fitted.evidence.quality)
    np.testing.assert_array_equal(unseen.quality, problem.matrix.quality)
    best = monitor_baselines(artifact, [unseen], bars=(1.0,)).bars[0]
    assert best.n_answers == len(problem.matrix)
    both = monitor_baselines(artifact, [unseen, unseen], bars=(1.0,)).bars[0]
    assert both.n_answers == 2 * best.n_answers


def test_missing_grades_do_not_count(artifact, fitted, problem):
    unseen = out_of_fold(fitted, problem.targets)
    unseen.quality[:100] = np.nan
    assert monitor_baselines(artifact, [unseen]).bars[0].n_answers == len(problem.matrix) - 100


def test_without_held_out_prompts_novelty_is_spread_as_the_guard_spreads_it(artifact, problem):
    nothing = UnseenPrompts(*np.zeros((4, 0, 3)))
    novelty = np.array(monitor_baselines(artifact, [nothing]).bars[0].novelty)
    # 240 training prompts; quantiles of a uniform distribution, in the guard's steps
    assert len(novelty) == len(np.unique(problem.matrix.groups))
    np.testing.assert_allclose(np.quantile(novelty, [0.25, 0.5, 0.9]), [0.25, 0.5, 0.9], atol=0.02)
    bare = replace(artifact, guard=None)
    assert monitor_baselines(bare, [nothing]).bars[0].novelty == ()


def test_a_router_without_a_guard_has_no_novelty(artifact, make_matrix):
    fresh = make_matrix(20, seed=6)
    scores = Router(artifact).score(fresh.prompts)
    bare = replace(artifact, guard=None)
    features: Any = SimpleNamespace()
    assert held_out(bare, scores, features, fresh.quality).novelty is None
