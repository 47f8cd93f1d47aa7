from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from router.dial import dial_sweep
from router.errors import DataError
from router.eval.corruption import Corruption
from router.eval.frontier import operating_points, zero_router_points
from router.eval.metrics import log_energy_ratio
from router.eval.protocol import feature_rows, true_energy
from router.messages import prompt_text
from router.training.fit_options import DEFAULT_HEADS
from router.training.fitting import FittedRouter, fit_router
from router.training.targets import build_targets
from router.training.train import expected


def characters(prompts) -> np.ndarray:
    return np.array([float(len(prompt_text(prompt).text)) for prompt in prompts])


def head_of(problem, n: int):
    """Return the first n prompts of a problem."""
    rows = np.arange(n)
    matrix = problem.matrix.rows(rows)
    return replace(
        problem,
        matrix=matrix,
        features=feature_rows(problem.features, rows),
        targets=build_targets(matrix, None, problem.pool),
        energy_j=problem.energy_j[rows],
    )


def test_it_beats_the_zero_router_out_of_fold(fitted: FittedRouter):
    evidence = fitted.evidence
    assert evidence.log_energy_ratio < -0.25
    assert np.isfinite(list(evidence.stack_scores.values())).all()
    assert sum(evidence.stack_weights.values()) == pytest.approx(1)
    assert evidence.stack_weights.keys() == evidence.stack_scores.keys()


def test_out_of_fold_expectations_are_good(fitted: FittedRouter, problem):
    quality, energy_j = fitted.evidence.quality, fitted.evidence.energy_j
    assert quality.shape == energy_j.shape == problem.matrix.quality.shape
    assert ((quality >= 0) & (quality <= 1)).all()
    assert (energy_j > 0).all()
    by_mean = np.square(problem.matrix.quality - problem.matrix.quality.mean(axis=0)).mean()
    assert np.square(problem.matrix.quality - quality).mean() < 0.7 * by_mean
    assert np.median(np.abs(np.log(energy_j / problem.energy_j))) < 0.3


def test_every_head_has_figures(fitted: FittedRouter, problem):
    figures = fitted.evidence.head_figures
    assert set(figures) == {n for n in problem.bank().names if n.startswith(DEFAULT_HEADS)}
    assert len(figures) < len(problem.bank().names)
    for found in figures.values():
        assert set(found) == {"brier", "log_energy_ratio", "weight"}
        assert 0 <= found["brier"] <= 1
        assert found["weight"] >= 0
    assert any(found["weight"] > 0 for found in figures.values())


def test_the_reference_is_the_best_model(fitted: FittedRouter, problem):
    assert problem.matrix.models[fitted.reference] == "large"


def test_new_prompts_are_routed_well(fitted: FittedRouter, problem, make_matrix, make_problem):
    new = make_problem(make_matrix(300, seed=9))
    quality, energy_j, tokens = expected(fitted, new.features, new.matrix.prompts, problem.pool)
    assert quality.shape == energy_j.shape == tokens.shape == (300, 3)
    price = 0.1 / np.median(energy_j[:, 2])
    chosen = (quality - price * energy_j).argmax(axis=1)
    truth, joules = new.matrix.quality, new.energy_j
    rows = np.arange(300)
    assert truth[rows, chosen].mean() > truth[:, fitted.reference].mean() - 0.05
    assert joules[rows, chosen].mean() < 0.8 * joules[:, fitted.reference].mean()


def test_noise_costs_next_to_nothing(make_matrix, make_problem):
    """Where the text says nothing, the router is a mix of fixed models."""

    def make_noise(n: int, seed: int):
        rng = np.random.default_rng(1000 + seed)
        matrix = replace(
            make_matrix(n, seed=seed),
            quality=(rng.random((n, 3)) < [0.5, 0.65, 0.8]).astype(float),
            prompt_tokens=np.full((n, 3), 20.0),
            completion_tokens=np.exp(5 + 0.3 * rng.standard_normal((n, 3))),
        )
        return make_problem(matrix)

    ratios = []
    for seed in range(2):
        known, new = make_noise(200, seed), make_noise(1000, 50 + seed)
        fitted = known.fit()
        quality, energy_j, _ = expected(fitted, new.features, new.matrix.prompts, new.pool)
        choices = dial_sweep(quality, energy_j, fitted.dial.means, fitted.reference)
        truth, joules = new.matrix.quality, new.energy_j
        zero = zero_router_points(known.matrix.quality, known.energy_j, truth, joules)
        j = fitted.reference
        reference = np.array([joules[:, j].mean(), truth[:, j].mean()])
        ratios.append(log_energy_ratio(operating_points(choices, truth, joules), zero, reference))
    assert np.mean(ratios) < 0.05


def test_too_few_prompts(problem):
    with pytest.raises(DataError, match="19 distinct graded prompts: at least 20 are needed"):
        head_of(problem, 19).fit()


def test_repeated_prompts_are_one(problem):
    few = head_of(problem, 30)
    repeated = replace(few, matrix=replace(few.matrix, groups=np.arange(30) % 15))
    with pytest.raises(DataError, match="15 distinct"):
        repeated.fit()


def test_twenty_prompts_are_enough(problem):
    few = head_of(problem, 20)
    fitted = few.fit()
    # with so few no figure is claimed
    assert np.isnan(fitted.evidence.log_energy_ratio)
    scores = fitted.model.score(few.features, characters(few.matrix.prompts))
    assert np.isfinite(scores.quality).all()


def all_arrays(fitted: FittedRouter) -> dict[str, np.ndarray]:
    evidence = fitted.evidence
    return {
        **fitted.model.to_arrays(),
        "low": fitted.lengths.low,
        "evidence": evidence.quality,
        "energy": evidence.energy_j,
    }


def test_the_same_seed_gives_the_same_arrays(problem):
    few = head_of(problem, 60)
    first, again = all_arrays(few.fit(seed=3)), all_arrays(few.fit(seed=3))
    assert first.keys() == again.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, again[name], err_msg=name)


def test_the_number_of_jobs_changes_nothing(problem):
    few = head_of(problem, 60)
    one, three = (
        fit_router(
            few.features, few.targets, few.matrix.groups, few.energy_j, few.pool, n_jobs=n_jobs
        )
        for n_jobs in (1, 3)
    )
    for name, array in all_arrays(one).items():
        np.testing.assert_array_equal(array, all_arrays(three)[name], err_msg=name)


def test_another_seed_works_as_well(problem):
    few = head_of(problem, 60)
    first, other = few.fit(seed=0), few.fit(seed=1)
    assert not np.array_equal(first.evidence.quality, other.evidence.quality)
    assert np.abs(first.evidence.quality - other.evidence.quality).mean() < 0.15


def test_models_outside_the_pool_take_part(problem_with_extra, fitted: FittedRouter):
    with_extra = problem_with_extra.fit()
    assert with_extra.evidence.quality.shape[1] == with_extra.model.n_models == 3
    assert with_extra.reference == fitted.reference
    assert any(name.startswith("extra") for name in with_extra.evidence.stack_scores)
    assert with_extra.evidence.log_energy_ratio < -0.25


def test_without_nesting_and_repeats(problem, monkeypatch: pytest.MonkeyPatch):
    from router.training import fitting

    monkeypatch.setattr(fitting, "_NESTED_LIMIT", 50)
    assert head_of(problem, 60).fit().evidence.log_energy_ratio < 0.1


def spoil(problem, quality: np.ndarray):
    matrix = replace(problem.matrix, quality=quality)
    return replace(problem, matrix=matrix, targets=build_targets(matrix, None, problem.pool))


def test_no_figure_is_claimed_for_filled_gaps(problem):
    quality = problem.matrix.quality.copy()
    quality[np.arange(240), np.arange(240) % 3] = np.nan
    fitted = spoil(problem, quality).fit()
    assert np.isnan(fitted.evidence.log_energy_ratio)
    assert np.isnan(list(fitted.evidence.stack_scores.values())).all()
    # but the router still has a choice
    assert fitted.dial.setting_for(0.8) is not None


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_energy_is_learned_from_answers_that_were_given(problem, share: float):
    matrix = Corruption("missing", share).spoil(problem.matrix, np.random.default_rng(0))
    energy_j = true_energy(matrix, problem.pool)
    targets = build_targets(matrix, None, problem.pool)
    fitted = replace(problem, matrix=matrix, targets=targets, energy_j=energy_j).fit()
    truth = problem.energy_j.mean(axis=0)
    np.testing.assert_allclose(fitted.evidence.energy_j.mean(axis=0), truth, rtol=0.1)
    np.testing.assert_allclose(fitted.dial.means.energy_j, truth, rtol=0.1)


def test_a_dominated_model_is_pruned_only_where_that_helps(problem):
    quality = problem.matrix.quality.copy()
    quality[:, 2] = quality[:, 1] * (np.arange(240) % 3 > 0)  # dearer than the middle, and worse
    fitted = spoil(problem, quality).fit()
    assert fitted.reference == 1
    assert fitted.dial.means.pruned in ((), (2,))
    assert fitted.dial.means.dominated() == (2,)
    assert problem.fit().dial.means.pruned == ()


def test_progress_is_told(problem):
    few = head_of(problem, 25)
    lines: list[str] = []
    fit_router(
        few.features, few.targets, few.matrix.groups, few.energy_j, few.pool, progress=lines.append
    )
    assert len(lines) >= 3
    assert all(lines)
