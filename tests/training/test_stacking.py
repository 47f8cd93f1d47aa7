from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from router.training.stacking import FittedStack, Stack, combine, fit_stack, stack_variants

LINKS = ("linear", "logistic")
N_MODELS = 5


@dataclass(frozen=True)
class Case:
    """Answers, and what three candidates predict: a good one, a poor one and noise."""

    quality: np.ndarray
    chance: np.ndarray
    candidates: np.ndarray

    @property
    def observed(self) -> np.ndarray:
        return np.ones(self.quality.shape, bool)

    def fit(self, stack: Stack, n_models: int = N_MODELS, **changes: object) -> FittedStack:
        given = {"targets": self.quality, "observed": self.observed, "candidates": self.candidates}
        return fit_stack(stack, **{**given, **changes}, n_models=n_models)


def ladder(n: int, seed: int = 0, n_models: int = N_MODELS) -> Case:
    """One difficulty decides for all models, as on a ladder of abilities."""
    rng = np.random.default_rng(seed)
    difficulty = rng.standard_normal(n)
    ability = np.linspace(-1, 1, n_models)
    chance = 1 / (1 + np.exp(-2 * (ability - difficulty[:, None])))
    seen = difficulty[:, None] + 0.3 * rng.standard_normal((n, 1))
    good = 1 / (1 + np.exp(-2 * (ability - seen)))
    poor = 0.5 + 0.2 * (good - 0.5) + 0.1 * rng.standard_normal((n, n_models))
    noise = 0.5 + 0.2 * rng.standard_normal((n, n_models))
    quality = (rng.random((n, n_models)) < chance).astype(float)
    return Case(quality, chance, np.stack([good, poor, noise]).astype(np.float32))


def predicted(fitted: FittedStack, candidates: np.ndarray) -> np.ndarray:
    return fitted.quality(fitted.latent(candidates))


@pytest.mark.parametrize("link", LINKS)
def test_a_planted_direction_is_found(link: str):
    train, test = ladder(1500), ladder(4000, seed=1)
    fitted = train.fit(Stack(False, 1, link))
    spread = np.linalg.svd(train.chance - train.chance.mean(axis=0))[2][0]
    assert abs(fitted.directions[:, 0] @ spread) > 0.97
    assert fitted.weights[0, 0] > 0.8
    assert fitted.weights[2, 0] < 0.1
    found = predicted(fitted, test.candidates)
    assert np.corrcoef(found.ravel(), test.chance.ravel())[0, 1] > 0.94
    assert np.abs(found - test.chance).mean() < 0.09


def test_directions_without_signal_vanish():
    fitted = ladder(1500).fit(Stack(False, N_MODELS, "linear"))
    np.testing.assert_allclose(fitted.directions.T @ fitted.directions, np.eye(N_MODELS), atol=1e-9)
    totals = fitted.weights.sum(axis=0)
    assert totals[0] > 0.8
    assert totals[3:].max() < 0.1  # the second and third are the curve of the ladder
    assert (fitted.weights >= 0).all()


@pytest.mark.parametrize("link", LINKS)
def test_pure_noise_predicts_the_means(link: str):
    totals, errors = [], []
    for seed in range(12):
        case = ladder(400, seed)
        rng = np.random.default_rng(seed)
        noise = 0.5 + 0.2 * rng.standard_normal(case.candidates.shape).astype(np.float32)
        fitted = case.fit(Stack(False, N_MODELS, link), candidates=noise)
        totals.append(fitted.weights.sum())
        off = predicted(fitted, noise) - case.quality.mean(axis=0)
        errors.append(np.sqrt(np.square(off).mean()))
    assert np.mean(totals) < 0.25
    assert np.mean(errors) < 0.04


def test_the_logistic_link_is_calibrated():
    train, test = ladder(3000), ladder(20_000, seed=1)
    # all candidates promise too much and too little
    stretched = [0.5 + 2 * (c.candidates - 0.5) for c in (train, test)]
    fitted = train.fit(Stack(False, 1, "logistic"), candidates=stretched[0])
    found = predicted(fitted, stretched[1])
    for j in range(N_MODELS):
        order = np.argsort(found[:, j])
        for part in np.array_split(order, 8):
            assert test.quality[part, j].mean() == pytest.approx(found[part, j].mean(), abs=0.08)
        assert test.quality[:, j].mean() == pytest.approx(found[:, j].mean(), abs=0.02)


def test_missing_cells_do_not_count_in_the_logistic_link():
    case = ladder(1500)
    observed = case.observed
    observed[:, 1] = np.random.default_rng(2).random(len(observed)) < 0.5
    garbage = np.where(observed, case.quality, 0.0)
    found = predicted(
        case.fit(Stack(False, N_MODELS, "logistic"), targets=garbage, observed=observed),
        case.candidates,
    )
    truth = case.quality[observed[:, 1], 1].mean()
    assert found[:, 1].mean() == pytest.approx(truth, abs=0.03)
    other = found[:, [0, 2, 3, 4]].mean(axis=0)
    np.testing.assert_allclose(other, case.quality[:, [0, 2, 3, 4]].mean(axis=0), atol=0.02)


def test_a_model_that_was_hardly_run():
    case = ladder(300)
    for rows in ([], [0], [0, 1]):
        observed = case.observed
        observed[:, 4] = np.isin(np.arange(300), rows)
        fitted = case.fit(Stack(False, N_MODELS, "logistic"), observed=observed)
        found = predicted(fitted, case.candidates)[:, 4]
        assert ((found > 0) & (found < 1)).all()


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_model_of_constant_quality(link: str, value: float):
    case = ladder(300)
    case.quality[:, 2] = value
    case.candidates[:, :, 2] = value
    found = predicted(case.fit(Stack(False, N_MODELS, link)), case.candidates)
    np.testing.assert_allclose(found[:, 2], value, atol=1e-3)
    assert found[:, 0].std() > 0.1


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("value", [0.0, 0.25, 1.0])
def test_all_models_of_constant_quality(link: str, value: float):
    case = ladder(100)
    case.quality[:] = value
    found = predicted(case.fit(Stack(False, 2, link)), case.candidates)
    np.testing.assert_allclose(found, value, atol=1e-3)


@pytest.mark.parametrize("link", LINKS)
def test_two_identical_models(link: str):
    case = ladder(500)
    case.quality[:, 3] = case.quality[:, 1]
    case.candidates[:, :, 3] = case.candidates[:, :, 1]
    found = predicted(case.fit(Stack(False, N_MODELS, link)), case.candidates)
    np.testing.assert_allclose(found[:, 3], found[:, 1], atol=1e-6)


@pytest.mark.parametrize("link", LINKS)
def test_identical_candidates_share_one_weight(link: str):
    case = ladder(500)
    stack = Stack(False, 1, link)
    alone = case.fit(stack, candidates=case.candidates[:1])
    three = np.repeat(case.candidates[:1], 3, axis=0)
    fitted = case.fit(stack, candidates=three)
    np.testing.assert_allclose(
        predicted(fitted, three), predicted(alone, case.candidates[:1]), atol=1e-6
    )


@pytest.mark.parametrize("link", LINKS)
def test_fractional_qualities(link: str):
    case = ladder(2000)
    graded = replace(case, quality=case.chance)
    found = predicted(graded.fit(Stack(False, 1, link)), case.candidates)
    np.testing.assert_allclose(found.mean(axis=0), case.chance.mean(axis=0), atol=0.02)
    assert np.abs(found - case.chance).mean() < 0.09


def test_models_outside_the_pool_give_directions_only():
    case = ladder(800, n_models=8)
    fitted = case.fit(Stack(True, 4, "linear"), n_models=3)
    assert (fitted.mean.size, fitted.directions.shape) == (8, (8, 4))
    assert predicted(fitted, case.candidates).shape == (800, 3)
    # they stand behind the pool's models, and without them nothing of theirs is read
    plain = case.fit(Stack(False, 3, "linear"), n_models=3)
    spoiled = case.candidates.copy()
    spoiled[:, :, 3:] = np.nan
    np.testing.assert_array_equal(predicted(plain, spoiled), predicted(plain, case.candidates))


@pytest.mark.parametrize("link", LINKS)
def test_copies_of_the_rows_change_nothing(link: str):
    case = ladder(120)
    stack = Stack(False, 2, link)
    once = case.fit(stack)
    thrice = case.fit(
        stack,
        targets=np.tile(case.quality, (3, 1)),
        observed=np.tile(case.observed, (3, 1)),
        candidates=np.tile(case.candidates, (1, 3, 1)),
        copies=3,
    )
    np.testing.assert_allclose(thrice.weights, once.weights, atol=1e-6)
    np.testing.assert_allclose(
        predicted(thrice, case.candidates), predicted(once, case.candidates), atol=1e-4
    )


@pytest.mark.parametrize("stack", stack_variants(N_MODELS, 0))
def test_the_same_data_give_the_same_stack(stack: Stack):
    first, again = (ladder(200).fit(stack) for _ in range(2))
    for name in ("directions", "weights", "coefficients", "intercept"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))


@pytest.mark.parametrize(("n_models", "n_extra"), [(2, 0), (2, 1), (3, 64), (12, 0), (40, 3)])
def test_variants_fit_the_pool(n_models: int, n_extra: int):
    variants = stack_variants(n_models, n_extra)
    assert len({stack.name for stack in variants}) == len(variants)
    assert any(not stack.extra for stack in variants)
    for stack in variants:
        assert stack.link in LINKS
        assert 1 <= stack.rank <= (n_models + n_extra if stack.extra else n_models)
        assert not (stack.extra and n_extra == 0)


columns_and_truth = st.integers(1, 30).flatmap(
    lambda n: st.tuples(
        arrays(np.float64, n, elements=st.floats(-10, 10, width=16)),
        arrays(np.float64, (n, 3), elements=st.floats(-10, 10, width=16)),
    )
)


@given(columns_and_truth)
def test_combinations_are_finite_and_never_negative(case):
    truth, columns = case
    weights = combine(truth, columns)
    assert weights.shape == (3,)
    assert np.isfinite(weights).all()
    assert (weights >= 0).all()
    # shrinking never makes more of it than least squares would
    assert np.square(columns @ weights).sum() <= np.square(truth).sum() * (1 + 1e-6) + 1e-12


def test_combinations_of_nothing():
    truth = np.array([1.0, -1.0, 2.0])
    np.testing.assert_array_equal(combine(truth, np.zeros((3, 4))), np.zeros(4))
    np.testing.assert_array_equal(combine(truth, -truth[:, None]), np.zeros(1))
    np.testing.assert_array_equal(combine(np.zeros(3), np.ones((3, 2))), np.zeros(2))
    np.testing.assert_allclose(combine(truth, 2 * truth[:, None]), [0.5])


def test_collinear_columns_are_no_trouble():
    rng = np.random.default_rng(0)
    truth = rng.standard_normal(50)
    columns = np.outer(truth, rng.random(15)) + 1e-9 * rng.standard_normal((50, 15))
    np.testing.assert_allclose(columns @ combine(truth, columns), truth, atol=1e-4)
