from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.dial import Dial, PoolMeans, Setting, choose, dial_settings, dial_sweep, shrink
from router.errors import ConfigError
from router.eval.frontier import upper_hull

MEANS = PoolMeans((0.5, 0.7, 0.9), (1.0, 10.0, 100.0))
DIAL = Dial(
    (Setting(1.0, 0.0), Setting(0.1, 0.0), Setting(0.0, 0.0), Setting(0.5, 0.5)),
    (0.7, 0.95, 0.99, 0.9),
    (0.1, 0.4, 0.9, 0.2),
    MEANS,
    100,
)


def outcomes(seed: int, n: int = 400) -> tuple[Any, Any, Any]:
    """Return expectations and outcomes of three models, each better and dearer."""
    rng = np.random.default_rng(seed)
    expected = np.clip(rng.uniform(0, 1, (n, 1)) + np.array([-0.2, 0.0, 0.2]), 0.02, 0.98)
    energy_j = rng.uniform(0.5, 1.5, (n, 3)) * [1.0, 10.0, 100.0]
    quality = (rng.uniform(0, 1, (n, 3)) < expected).astype(float)
    return expected, energy_j, quality


def test_the_sweep_goes_from_the_cheapest_to_the_best_and_the_reference():
    rng = np.random.default_rng(0)
    quality = rng.uniform(0.3, 0.9, (50, 4))
    energy_j = rng.uniform(1.0, 2.0, (50, 4)) * [1.0, 10.0, 100.0, 1000.0]
    means = PoolMeans.of(quality, energy_j)
    choices = dial_sweep(quality, energy_j, means, 2)
    rows = np.arange(50)
    np.testing.assert_array_equal(choices[0], energy_j.argmin(axis=1))
    np.testing.assert_array_equal(choices[-1], 2)
    assert (np.diff(energy_j[rows, choices[:-1]].mean(axis=1)) >= 0).all()
    assert (choices == quality.argmax(axis=1)).all(axis=1).any()
    assert len(choices) >= 60


def test_the_fully_shrunken_settings_are_fixed_models_on_the_hull_of_the_means():
    expected, energy_j, _ = outcomes(0)
    means = PoolMeans((0.5, 0.55, 0.9), (1.0, 50.0, 60.0))  # the second is no bargain
    settings = [s for s in dial_settings(expected, energy_j, means) if s.shrinkage == 1.0]
    chosen = [choose(expected, energy_j, means, setting) for setting in settings]
    assert [set(choice.tolist()) for choice in chosen] == [{0}, {2}]


@given(
    st.lists(
        st.tuples(st.integers(1, 999), st.integers(1, 999)), min_size=1, max_size=8, unique=True
    )
)
def test_every_model_on_the_hull_is_a_fixed_model_however_narrow_its_range_of_prices(models):
    means = PoolMeans(tuple(q / 1000 for q, _ in models), tuple(float(e) for _, e in models))
    quality, energy_j = np.array([means.quality]), np.array([means.energy_j])
    settings = [s for s in dial_settings(quality, energy_j, means) if s.shrinkage == 1.0]
    chosen = [int(choose(quality, energy_j, means, setting)[0]) for setting in settings]
    hull = upper_hull(np.column_stack([means.energy_j, means.quality]))
    assert [(energy_j[0, j], quality[0, j]) for j in chosen] == [tuple(corner) for corner in hull]


def measure(expected, energy_j, quality) -> Dial:
    means = PoolMeans.of(quality, energy_j)
    return Dial.measure(expected, energy_j, quality, energy_j, means, 2)


def test_means_are_of_what_was_run():
    quality, energy_j = np.array([[1.0, 0.0], [0.0, np.nan]]), np.array([[1.0, 2.0], [3.0, 99.0]])
    assert PoolMeans.of(quality, energy_j) == PoolMeans((0.5, 0.0), (2.0, 2.0))


def test_dominated_models_are_found_and_pruned_ones_never_chosen():
    means = PoolMeans((0.5, 0.4, 0.5, 0.9), (5.0, 9.0, 8.0, 90.0))
    assert means.dominated() == (1, 2)
    pruned = PoolMeans(means.quality, means.energy_j, (1, 2))
    quality, energy_j = np.array([[0.1, 0.9, 0.8, 0.2]]), np.array([[5.0, 1.0, 2.0, 90.0]])
    for shrinkage in (0.0, 0.5, 1.0):
        setting = Setting(0.001, shrinkage)
        assert choose(quality, energy_j, pruned, setting).tolist() in ([0], [3])
    assert not np.isinf(quality).any()


def test_equal_models_do_not_dominate_each_other():
    assert PoolMeans((0.5, 0.5), (5.0, 5.0)).dominated() == ()


def test_shrinkage_moves_qualities_to_the_means():
    quality, energy_j = np.array([[0.1, 0.5, 1.0]]), np.array([[2.0, 20.0, 200.0]])
    same, cost_j = shrink(quality, energy_j, MEANS, Setting(0.1, 0.0))
    np.testing.assert_array_equal(same, quality)
    half, cost_j = shrink(quality, energy_j, MEANS, Setting(0.1, 0.5))
    np.testing.assert_allclose(half, [[0.3, 0.6, 0.95]])
    np.testing.assert_array_equal(cost_j, energy_j)
    full, cost_j = shrink(quality, energy_j, MEANS, Setting(0.1, 1.0))
    np.testing.assert_array_equal(full, [MEANS.quality])
    np.testing.assert_array_equal(cost_j, [MEANS.energy_j])


@pytest.mark.parametrize(
    ("bar", "setting"),
    [
        (0.01, Setting(1.0, 0.0)),
        (0.7, Setting(1.0, 0.0)),
        (0.71, Setting(0.5, 0.5)),
        (0.9, Setting(0.5, 0.5)),
        (0.91, Setting(0.1, 0.0)),
        (0.99, Setting(0.0, 0.0)),
        (1.0, None),
    ],
)
def test_the_setting_of_least_energy_that_keeps_the_bar(bar: float, setting: Setting | None):
    assert DIAL.setting_for(bar) == setting


def test_a_setting_that_saves_nothing_gives_way_to_the_reference():
    dear = Dial((Setting(0.0, 0.0),), (1.01,), (1.2,), MEANS, 10)
    assert dear.setting_for(0.9) is None


@pytest.mark.parametrize("bar", [0.0, -0.1, 1.0001, 98.0, float("nan"), float("inf")])
def test_bars_out_of_range(bar: float):
    with pytest.raises(ConfigError, match=r"use a share of the reference in \(0, 1\]"):
        DIAL.setting_for(bar)


@given(st.integers(0, 30), st.lists(st.floats(0.01, 1.0), min_size=2, max_size=2).map(sorted))
def test_a_higher_bar_is_never_met_with_less_energy(seed: int, bars: list[float]):
    expected, energy_j, quality = outcomes(seed, 60)
    dial = measure(expected, energy_j, quality)
    energy = dict(zip(dial.settings, dial.energy, strict=True))
    low, high = (dial.setting_for(bar) for bar in bars)
    assert (energy[low] if low else 1.0) <= (energy[high] if high else 1.0)


def test_what_was_measured_is_what_the_settings_lead_to():
    expected, energy_j, quality = outcomes(1)
    dial = measure(expected, energy_j, quality)
    assert dial.n_prompts == 400
    rows = np.arange(400)
    for i in range(0, len(dial.settings), 23):
        chosen = choose(expected, energy_j, dial.means, dial.settings[i])
        kept = quality[rows, chosen].mean() / quality[:, 2].mean()
        spent = energy_j[rows, chosen].mean() / energy_j[:, 2].mean()
        assert dial.quality[i] <= kept + 1e-12
        assert dial.energy[i] == pytest.approx(spent)
    setting = dial.setting_for(0.9)
    assert setting is not None
    chosen = choose(expected, energy_j, dial.means, setting)
    assert quality[rows, chosen].mean() >= 0.9 * quality[:, 2].mean() - 1e-12
    assert energy_j[rows, chosen].mean() < energy_j[:, 2].mean()


def test_measured_quality_is_monotone_in_the_price():
    expected, energy_j, quality = outcomes(2, 100)
    dial = measure(expected, energy_j, quality)
    for shrinkage in {setting.shrinkage for setting in dial.settings}:
        pairs = [
            (setting.price, kept)
            for setting, kept in zip(dial.settings, dial.quality, strict=True)
            if setting.shrinkage == shrinkage
        ]
        assert (np.diff([price for price, _ in pairs]) < 0).all()
        assert (np.diff([kept for _, kept in pairs]) >= 0).all()


def test_prompts_that_a_model_was_not_run_on_do_not_count():
    expected, energy_j, quality = outcomes(3)
    quality[::4, 1] = np.nan
    dial = measure(expected, energy_j, quality)
    assert dial.n_prompts == 300
    assert np.isfinite([*dial.quality, *dial.energy]).all()
    assert np.isfinite([*dial.means.quality, *dial.means.energy_j]).all()


def test_without_a_complete_prompt_only_the_reference_keeps_a_bar():
    expected, energy_j, quality = outcomes(4, 30)
    quality[:15, 0] = quality[15:, 1] = np.nan
    dial = measure(expected, energy_j, quality)
    assert dial.n_prompts == 0
    assert dial.setting_for(0.01) is None
    assert Dial.from_dict(json.loads(json.dumps(dial.to_dict(), allow_nan=False))) == dial


def test_a_reference_that_is_never_right():
    expected, energy_j, quality = outcomes(5, 30)
    dial = measure(expected, energy_j, np.zeros_like(quality))
    assert dial.setting_for(0.5) is None


def test_the_dial_round_trips_through_json():
    assert Dial.from_dict(json.loads(json.dumps(DIAL.to_dict()))) == DIAL


@pytest.mark.parametrize(
    "change",
    [
        {"price": [1.0, 0.1]},
        {"price": [-1.0, 0.1, 0.0, 0.5]},
        {"price": [float("inf"), 0.1, 0.0, 0.5]},
        {"price": ["dear", 0.1, 0.0, 0.5]},
        {"price": None},
        {"shrinkage": [0.0, 0.0, 0.0, 1.1]},
        {"shrinkage": [0.0, 0.0, 0.0, -0.1]},
        {"quality": [0.7, float("nan"), 0.99, 0.9]},
        {"energy": [0.1, 0.4, [0.9], 0.2]},
        {"energy": [-0.1, 0.4, 0.9, 0.2]},
        {"mean_quality": "good"},
        {"n_prompts": "many"},
    ],
)
def test_dials_that_cannot_be_are_refused(change: dict[str, Any]):
    with pytest.raises((TypeError, ValueError)):
        Dial.from_dict(DIAL.to_dict() | change)


def test_a_missing_entry_is_named():
    stored = DIAL.to_dict()
    del stored["energy"]
    with pytest.raises(KeyError, match="energy"):
        Dial.from_dict(stored)
