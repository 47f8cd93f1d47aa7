from __future__ import annotations

import numpy as np
import pytest

from router.eval.metrics import ece, ece_floor
from router.recalibration import Recalibration
from router.training.recalibrate import fit_recalibration


def _bold(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Expectations of three models that are too bold, too timid and right, with outcomes."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(0, 1.5, (n, 3))
    right = (rng.random((n, 3)) < 1 / (1 + np.exp(-odds))).astype(float)
    return 1 / (1 + np.exp(-odds * [2.0, 0.5, 1.0])), right


def test_it_mends_bold_and_timid_expectations_of_new_prompts() -> None:
    expected, quality = _bold(3000, 0)
    new, outcome = _bold(3000, 1)
    mended = fit_recalibration(expected, quality).probability(new)
    for j in range(2):
        assert ece(mended[:, [j]], outcome[:, [j]]) < ece(new[:, [j]], outcome[:, [j]]) / 2
    assert ece(mended, outcome) < 1.25 * ece_floor(mended)


def test_partial_credit_becomes_a_probability() -> None:
    rng = np.random.default_rng(2)
    good = rng.random((4000, 1)) < 0.5
    quality = np.where(good, 0.6, 0.2)
    found = fit_recalibration(np.full((4000, 1), 0.4), quality).probability(np.array([[0.4]]))
    assert found[0, 0] == pytest.approx(good.mean(), abs=0.02)


def test_few_prompts_change_little() -> None:
    rng = np.random.default_rng(4)
    expected = rng.uniform(0.3, 0.7, (30, 1))
    quality = (rng.random((30, 1)) < expected).astype(float)
    quality[:2] = 1.0
    found = fit_recalibration(expected, quality)
    grid = np.linspace(0.05, 0.95, 19)[:, None]
    assert np.abs(found.probability(grid) - grid).max() < 0.2


def test_a_model_with_hardly_a_grade_stays_as_it_is() -> None:
    expected = np.full((100, 2), 0.5)
    quality = np.ones((100, 2))
    quality[19:, 1] = np.nan
    found = fit_recalibration(expected, quality)
    assert found.probability(np.array([[0.5, 0.5]]))[0, 0] > 0.9
    np.testing.assert_array_equal(found.values[1], Recalibration.identity(1).values[0])


@pytest.mark.parametrize("answer", [0.0, 1.0])
def test_a_model_that_is_always_or_never_right_has_a_finite_map(answer: float) -> None:
    expected = np.random.default_rng(0).random((500, 1))
    found = fit_recalibration(expected, np.full((500, 1), answer))
    assert np.isfinite(found.values).all()
    assert (np.diff(found.values) > 0).all()
    assert abs(found.probability(np.array([[0.5]]))[0, 0] - answer) < 0.05


def test_expectations_of_exactly_0_and_1_do_not_break_it() -> None:
    expected = np.repeat([[0.0], [1.0]], 50, axis=0)
    found = fit_recalibration(expected, expected.copy())
    low, high = found.probability(np.array([[0.0], [1.0]]))[:, 0]
    assert low < 0.02
    assert high > 0.98
