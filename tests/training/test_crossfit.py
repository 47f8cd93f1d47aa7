from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.training.crossfit import CrossFit, assign_folds, cross_fit
from router.training.heads import HeadBank

N_FOLDS = 4


@pytest.fixture(scope="module")
def bank(problem) -> HeadBank:
    return problem.bank()


@pytest.fixture(scope="module")
def targets(problem) -> np.ndarray:
    return problem.targets.stacked()


@pytest.fixture(scope="module")
def fold(problem) -> np.ndarray:
    return assign_folds(problem.matrix.groups, N_FOLDS, seed=0)


@pytest.fixture(scope="module")
def fits(bank: HeadBank, targets: np.ndarray, fold: np.ndarray) -> CrossFit:
    return cross_fit(bank, targets, fold, nested=True)


@given(
    groups=st.lists(st.integers(-50, 50), min_size=1, max_size=80),
    n_folds=st.integers(2, 6),
    seed=st.integers(0, 100),
)
def test_groups_never_cross_folds(groups: list[int], n_folds: int, seed: int):
    fold = assign_folds(np.array(groups), n_folds, seed)
    assert fold.shape == (len(groups),)
    fold_of = dict(zip(groups, fold.tolist(), strict=True))
    assert [fold_of[group] for group in groups] == fold.tolist()
    sizes = np.bincount(list(fold_of.values()), minlength=n_folds)
    assert sizes.max() - sizes.min() <= 1
    np.testing.assert_array_equal(fold, assign_folds(np.array(groups), n_folds, seed))


def test_the_seed_shuffles_the_folds():
    groups = np.arange(100)
    assert not np.array_equal(assign_folds(groups, 4, 0), assign_folds(groups, 4, 1))


def altered(targets: np.ndarray, rows: np.ndarray) -> np.ndarray:
    changed = targets.copy()
    changed[rows] = 1e3 * np.random.default_rng(0).standard_normal(changed[rows].shape)
    return changed


@pytest.mark.parametrize(("f", "g"), [(0, 1), (3, 2)])
def test_nothing_leaks_into_predictions(bank, targets, fold, fits, f: int, g: int):
    """Predictions of fold g for the stack that is judged on f know neither f's answers nor g's."""
    rows = np.isin(fold, (f, g))
    changed = cross_fit(bank, altered(targets, rows), fold, nested=True)
    np.testing.assert_array_equal(changed.inner[f][:, fold == g], fits.inner[f][:, fold == g])
    np.testing.assert_array_equal(changed.inner[g][:, fold == f], fits.inner[g][:, fold == f])
    # and the test can fail: other predictions do change
    other = next(h for h in range(N_FOLDS) if h not in (f, g))
    assert not np.allclose(changed.inner[f][:, fold == other], fits.inner[f][:, fold == other])
    assert not np.allclose(changed.outer[:, fold == g], fits.outer[:, fold == g])


def test_outer_predictions_do_not_know_their_own_fold(bank, targets, fold, fits):
    rows = fold == 2
    changed = cross_fit(bank, altered(targets, rows), fold, nested=False)
    np.testing.assert_array_equal(changed.outer[:, rows], fits.outer[:, rows])
    assert not np.allclose(changed.outer[:, ~rows], fits.outer[:, ~rows])


def test_predictions_are_where_they_belong(bank, targets, fold, fits):
    rows = np.arange(len(targets))
    for f, g in list(permutations(range(N_FOLDS), 2))[:4]:
        (expected,) = bank.fit_predict(rows[~np.isin(fold, (f, g))], targets, [rows[fold == g]])
        np.testing.assert_array_equal(fits.inner[f][:, fold == g], expected)
        np.testing.assert_array_equal(fits.inner[f][:, fold == f], fits.outer[:, fold == f])
    (expected,) = bank.fit_predict(rows[fold != 1], targets, [rows[fold == 1]])
    np.testing.assert_array_equal(fits.outer[:, fold == 1], expected)
    assert fits.outer.shape == (len(bank.names), *targets.shape)


def test_without_nesting_the_outer_predictions_are_repeated(bank, targets, fold, fits):
    plain = cross_fit(bank, targets, fold, nested=False)
    np.testing.assert_array_equal(plain.outer, fits.outer)
    assert len(plain.inner) == N_FOLDS
    assert all(inner is plain.outer for inner in plain.inner)


def test_the_number_of_jobs_changes_nothing(bank, targets, fold, fits):
    alone = cross_fit(bank, targets, fold, nested=True, n_jobs=1)
    np.testing.assert_array_equal(alone.outer, fits.outer)
    for one, other in zip(alone.inner, fits.inner, strict=True):
        np.testing.assert_array_equal(one, other)


def test_fewer_groups_than_folds(bank, targets):
    groups = np.arange(len(targets)) % 3
    fold = assign_folds(groups, N_FOLDS, seed=0)
    found = cross_fit(bank, targets, fold, nested=True)
    assert len(found.inner) == 3
    assert np.isfinite(found.outer).all()
    assert all(np.isfinite(inner).all() for inner in found.inner)
