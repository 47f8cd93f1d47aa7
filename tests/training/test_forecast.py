from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import ConfigError
from router.features import FeatureExtractor, FeatureSpec
from router.training import fitting
from router.training.forecast import Forecast, forecast

EXTRACTOR = FeatureExtractor(FeatureSpec(n_buckets=2**10))
SIZES = st.integers(20, 5000)
SCALES = st.floats(-3, 6)


@given(SIZES, SCALES, st.floats(0.01, 2), st.floats(1.1, 8), st.floats(0.1, 8))
def test_more_prompts_never_cost_energy_and_most_is_gained_at_first(n, scale, error, factor, more):
    found = Forecast(n, scale, error, measured=True)
    saving, low, high = found.saving(factor)
    assert 0 <= low <= saving <= high < 1
    assert found.saving(factor + more)[0] >= saving
    assert Forecast(2 * n, scale, error, measured=True).saving(factor)[0] <= saving


def test_a_known_curve_is_continued():
    # ratio(n) = -0.5 + 2 n^-0.3, so from 400 to 800 prompts it falls by 2 (400^-0.3 - 800^-0.3)
    fall = 2 * (400**-0.3 - 800**-0.3)
    assert Forecast(400, 2.0, 0.1, measured=True).saving(2)[0] == pytest.approx(1 - math.exp(-fall))


@pytest.mark.parametrize("factor", [1.0, 0.5, math.inf, math.nan])
def test_fewer_prompts_are_not_forecast(factor):
    with pytest.raises(ConfigError, match="above 1"):
        Forecast(100, 1.0, 0.1, measured=True).saving(factor)


def test_the_advice_names_prompts_and_gain():
    few = Forecast(205, 3.0, 0.5, measured=True)
    assert few.worth_it
    assert few.advice() == (
        "205 graded prompts, more would pay: expected to save energy at equal quality, "
        "200 more about 11% (7% to 14%) and 620 more about 19% (13% to 24%)."
    )
    many = Forecast(4800, 0.5, 0.2, measured=True)
    assert "more would hardly pay" in many.advice()
    assert "4,800 more about 1%" in many.advice()
    stored = json.loads(json.dumps(few.to_dict(), allow_nan=False))
    assert [row["more_prompts"] for row in stored["savings"]] == [205, 615]


def test_few_prompts_get_the_usual_forecast_without_any_fit(make_matrix, pool, monkeypatch):
    monkeypatch.setattr("router.training.forecast.fit_split", None)
    found = forecast(make_matrix(60), pool)
    assert found is not None
    assert not found.measured
    assert found.worth_it
    assert "as with other pools" in found.advice()


def test_no_forecast_for_many_prompts_or_many_gaps(make_matrix, pool, monkeypatch):
    matrix = make_matrix(60)
    monkeypatch.setattr("router.training.forecast._MAX_PROMPTS", 59)
    assert forecast(matrix, pool) is None
    monkeypatch.undo()
    matrix.quality[:31, 1] = np.nan
    assert forecast(matrix, pool) is None
    matrix.quality[:] = np.nan
    assert forecast(matrix, pool) is None


def test_a_pool_is_measured_on_its_own_prompts(make_matrix, pool, monkeypatch):
    monkeypatch.setattr(fitting, "_MAX_REPEATS", 1)
    lines: list[str] = []
    matrix = make_matrix(120)
    found = forecast(matrix, pool, extractor=EXTRACTOR, progress=lines.append)
    assert found is not None
    assert found.measured
    assert found.n_prompts == 120
    assert 0 < found.error < 1.5  # the prompts had a say
    assert len(lines) == 1
    assert found == forecast(matrix, pool, extractor=EXTRACTOR)
