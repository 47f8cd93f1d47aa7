from __future__ import annotations

import numpy as np
import pytest

from router.errors import ConfigError
from router.eval.ablation import ALL_PARTS, OUT_OF_FOLD, TEST
from router.eval.splits import PoolPrompts
from router.features import FeatureExtractor, FeatureSpec
from router.training import fitting
from router.training.ablation import ablation_variants, run_ablation
from router.training.fit_options import FitOptions
from router.training.heads import FAMILIES
from router.training.split_fit import fit_split


@pytest.fixture(scope="module")
def quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "_MAX_REPEATS", 1)
        yield FeatureExtractor(FeatureSpec(n_buckets=2**10))


def test_each_variant_differs_from_the_whole_and_from_the_others():
    variants = ablation_variants(6)
    options = [variant.options for variant in variants]
    assert FitOptions() not in options
    assert len(set(map(repr, options))) == len(variants)
    assert len({variant.name for variant in variants}) == len(variants)


def test_names_do_not_depend_on_the_pool():
    few, many = ([variant.name for variant in ablation_variants(n_models)] for n_models in (2, 12))
    assert few == many


def test_a_pool_is_measured_with_and_without_each_part(make_matrix, pool, quick, monkeypatch):
    lines: list[str] = []
    found = run_ablation(make_matrix(120), pool, seeds=(4,), extractor=quick, progress=lines.append)
    assert found.pool == "three"
    assert found.n_prompts == 120
    variants = ablation_variants(3)
    assert list(found.figures)[:-1] == [ALL_PARTS, *(variant.name for variant in variants)]
    for variant in variants:
        for figure in (TEST, OUT_OF_FOLD):
            assert np.isfinite(found.figures[variant.name][figure]).all()
    (task_means,) = (name for name in found.figures if name.startswith("true-task"))
    assert found.figures[task_means][TEST][0] < 0
    # The kinds of prompt are told by every block, and two heads in three are enough.
    assert found.figures[ALL_PARTS][TEST][0] < -0.2
    assert found.figures["without ngrams"][TEST][0] < -0.2
    assert any(line.startswith("seed 4, without clusters:") for line in lines)


@pytest.mark.parametrize("name", ["with neighbours", "without clusters", "mean lengths"])
def test_shared_candidates_give_what_a_fit_of_its_own_gives(name, make_matrix, pool, quick):
    prompts = PoolPrompts.prepare(make_matrix(90), pool, extractor=quick)
    split = prompts.split(np.arange(60), np.arange(60, 90), seed=1)
    shared = fitting.fit_candidates(
        split.train_features,
        fit_split(split, pool).targets,
        split.train.groups,
        options=FitOptions(heads=FAMILIES),
        seed=1,
    )
    (options,) = (variant.options for variant in ablation_variants(3) if variant.name == name)
    apart, together = (
        fit_split(split, pool, options=options, candidates=candidates)
        for candidates in (None, shared)
    )
    assert np.allclose(apart.outcome.quality, together.outcome.quality, atol=1e-6)
    assert np.array_equal(apart.outcome.choices, together.outcome.choices)


def test_seeds_must_be_given_once(make_matrix, pool):
    with pytest.raises(ConfigError, match="each once"):
        run_ablation(make_matrix(40), pool, seeds=())
