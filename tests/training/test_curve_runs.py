from __future__ import annotations

import numpy as np
import pytest

from router.errors import ConfigError
from router.eval.corruption import Corruption
from router.eval.protocol import split_prompts
from router.eval.result import HEADLINE
from router.eval.served import SERVED
from router.features import FeatureExtractor, FeatureSpec
from router.training import fitting
from router.training.learning_curve import run_learning_curve
from router.training.method import LearnedRouter
from router.training.split_fit import fit_split


@pytest.fixture(scope="module")
def quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "_MAX_REPEATS", 1)
        yield FeatureExtractor(FeatureSpec(n_buckets=2**10))


@pytest.fixture(scope="module")
def curve(make_matrix, pool, quick):
    return run_learning_curve(
        make_matrix(200), pool, sizes=(100, 25, 5000), seeds=(0, 1), extractor=quick
    )


def test_sizes_come_in_order_and_the_full_splits_last(curve):
    assert [point.size for point in curve.points] == [25, 100, 140]
    assert curve.pool == "three"
    assert curve.corruption == ""


def test_more_prompts_teach_more(curve):
    brier = [point.interval("brier").mean for point in curve.points]
    assert brier[-1] < brier[0]
    assert curve.points[-1].interval(HEADLINE).mean < -0.3
    assert curve.points[-1].interval(SERVED).mean < curve.points[0].interval(SERVED).mean


def test_the_full_split_is_what_the_benchmark_measures(curve, make_matrix, pool, quick):
    from router.eval.benchmark import run_benchmark

    found = run_benchmark(
        make_matrix(200), pool, LearnedRouter(pool, quick), seeds=(0, 1), extractor=quick,
        baselines=(),
    )  # fmt: skip
    for figure in (HEADLINE, "brier", "energy_at_0.95"):
        expected = found.router.per_seed[figure]
        assert curve.points[-1].per_seed[figure] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("text", ["flip:0.2", "missing:0.5"])
def test_training_is_spoilt_and_the_test_prompts_are_not(
    text, make_matrix, pool, quick, monkeypatch
):
    seen = {}

    def watch(split, pool, **options):
        seen["split"] = split
        return fit_split(split, pool, **options)

    monkeypatch.setattr("router.training.learning_curve.fit_split", watch)
    matrix = make_matrix(120)
    curve = run_learning_curve(
        matrix, pool, sizes=(), seeds=(3,), extractor=quick, corruption=Corruption.parse(text)
    )
    assert curve.corruption == text
    train, test = split_prompts(matrix.groups, 3)
    assert seen["split"].train.prompt_ids == tuple(matrix.prompt_ids[i] for i in train)
    assert not np.array_equal(seen["split"].train.quality, matrix.quality[train], equal_nan=True)
    # The reference model's test quality, of which a bar is a share, is that of the clean runs.
    at_top = curve.points[0].per_seed["zero_served_quality_1.00"][0]
    assert at_top in [
        q / matrix.quality[test].mean(axis=0)[2] for q in matrix.quality[test].mean(0)
    ]


def test_bad_arguments_are_refused_before_the_work(make_matrix, pool):
    with pytest.raises(ConfigError, match="at least 20"):
        run_learning_curve(make_matrix(60), pool, sizes=(50, 19))
    with pytest.raises(ConfigError, match="each once"):
        run_learning_curve(make_matrix(60), pool, seeds=(1, 1))
