from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from router.eval.matrix import AnswerMatrix
from router.eval.protocol import feature_rows, split_prompts, true_energy
from router.features import FeatureExtractor, FeatureSpec
from router.training import fitting
from router.training.fitting import fit_router
from router.training.leave_one_model_out import Addition, LeaveOneOut, full_share
from router.training.targets import build_targets

SPEC = FeatureSpec(n_buckets=2**10)
MIDDLE = 1


@pytest.fixture(scope="module")
def matrix(make_matrix) -> AnswerMatrix:
    """Three models of the pool and two others, one of which has gaps."""
    runs = make_matrix(200)
    extra = np.roll(runs.quality[:, :2], 1, axis=1)
    extra[::9, 1] = np.nan
    gap = np.full((len(runs), 2), np.nan)
    return replace(
        runs,
        models=(*runs.models, "other", "rare"),
        quality=np.hstack([runs.quality, extra]),
        prompt_tokens=np.hstack([runs.prompt_tokens, gap]),
        completion_tokens=np.hstack([runs.completion_tokens, gap]),
        energy_j=np.hstack([runs.energy_j, gap]),
    )


@pytest.fixture(scope="module")
def routers(matrix: AnswerMatrix, pool) -> LeaveOneOut:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "_MAX_REPEATS", 1)
        return LeaveOneOut(matrix, pool, FeatureExtractor(SPEC), seed=0, n_jobs=1)


def test_a_router_without_a_model_is_one_that_never_saw_it(
    routers: LeaveOneOut, matrix: AnswerMatrix, pool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(fitting, "_MAX_REPEATS", 1)
    kept = [0, 2]
    smaller = replace(pool, models=tuple(pool.models[j] for j in kept))
    runs = matrix.columns(["small", "large", "other"])
    train, _ = split_prompts(matrix.groups, 0)
    extractor = FeatureExtractor(SPEC)
    features = feature_rows(extractor.extract(matrix.prompts), train)
    cells = runs.columns(smaller.names).rows(train)
    fitted = fit_router(
        features,
        build_targets(cells, runs.columns(["other"]).rows(train), smaller),
        cells.groups,
        true_energy(runs, smaller)[train],
        smaller,
        seed=0,
        n_jobs=1,
    )
    found = routers.without(MIDDLE)
    assert found.pool.names == ("small", "large")
    expected = fitted.model.to_arrays()
    for name, array in found.model.to_arrays().items():
        np.testing.assert_allclose(array, expected[name], atol=2e-3, err_msg=name)
    np.testing.assert_allclose(found.dial.quality, fitted.dial.quality, atol=1e-9)


def test_the_gains_of_one_model(routers: LeaveOneOut, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fitting, "_MAX_REPEATS", 1)
    found = list(routers.additions(MIDDLE, (30, 60), 2))
    assert [(a.n, a.chosen, a.draw) for a in found] == [
        (30, "random", 0),
        (30, "random", 1),
        (30, "selected", 0),
        (60, "random", 0),
        (60, "random", 1),
        (60, "selected", 0),
    ]
    assert {a.model for a in found} == {"middle"}
    assert len({(a.full_gain, a.told_gain, a.kept_before) for a in found}) == 1
    first = found[0]
    # the middle model is the best bargain for poems
    assert first.full_gain > 0.2
    assert first.told_gain == pytest.approx(first.full_gain, abs=0.1)
    assert min(a.gain for a in found if a.n == 60) > 0.15
    # the kind of prompt says it all but for the luck of the answers
    assert all(0.05 < a.brier < 0.19 and a.deviation > 0.0 for a in found)
    assert all(abs(a.error) < 0.3 and len(a.kept) == 3 for a in found)
    assert Addition.from_dict(first.to_dict()) == first


def test_draws_are_of_training_prompts_and_go_on(routers: LeaveOneOut):
    short, long = routers.draw(20, 1), routers.draw(50, 1)
    np.testing.assert_array_equal(short, long[:20])
    assert len(np.unique(routers.cells.groups[long])) == 50
    assert set(short.tolist()) != set(routers.draw(20, 0).tolist())


def test_a_small_gain_has_a_tolerance():
    assert full_share(1.0, 0.9) == pytest.approx(0.9)
    assert full_share(0.05, 0.03) == pytest.approx(0.9)
    assert full_share(-0.1, -0.1) == 1.0
    assert full_share(0.1, 0.2) > 1.0
