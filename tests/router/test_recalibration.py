from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.recalibration import KNOTS, Recalibration, log_odds


def _some_map() -> Recalibration:
    rng = np.random.default_rng(3)
    return Recalibration(np.cumsum(rng.uniform(0.1, 2.0, (4, KNOTS.size)), axis=1) - 8.0)


@pytest.mark.parametrize("quality", [0.0, 1e-300, 1.0 - 1e-16, 1.0])
def test_extreme_expectations_have_probabilities_inside_the_unit_interval(quality: float) -> None:
    found = _some_map().probability(np.full((1, 4), quality))
    assert np.isfinite(found).all()
    assert (found > 0).all()
    assert (found < 1).all()


def test_the_map_passes_through_its_knots() -> None:
    recalibration = _some_map()
    at_knots = 1 / (1 + np.exp(-KNOTS))
    found = recalibration.probability(np.tile(at_knots[:, None], (1, 4)))
    np.testing.assert_allclose(found.T, 1 / (1 + np.exp(-recalibration.values)), rtol=1e-9)


def test_it_is_what_interpolation_gives() -> None:
    recalibration = _some_map()
    quality = np.random.default_rng(0).random((200, 4))
    expected = [
        1 / (1 + np.exp(-np.interp(log_odds(column), KNOTS, values)))
        for column, values in zip(quality.T, recalibration.values, strict=True)
    ]
    np.testing.assert_allclose(recalibration.probability(quality), np.array(expected).T, rtol=1e-9)


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_higher_quality_never_has_a_lower_probability(a: float, b: float) -> None:
    low, high = sorted((a, b))
    found = _some_map().probability(np.array([[low] * 4, [high] * 4]))
    assert (found[1] >= found[0]).all()


def test_the_identity_changes_only_the_extremes() -> None:
    quality = np.linspace(0.003, 0.997, 50)[:, None]
    found = Recalibration.identity(1).probability(quality)
    np.testing.assert_allclose(found, quality, atol=1e-12)


def test_no_prompts_give_no_probabilities() -> None:
    assert _some_map().probability(np.zeros((0, 4))).shape == (0, 4)
