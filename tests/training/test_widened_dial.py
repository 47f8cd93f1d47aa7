from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from router.dial import Dial, PoolMeans, Setting
from router.training.widened_dial import widened_dial, widened_means

MEANS = PoolMeans((0.4, 0.8), (10.0, 100.0))
DIAL = Dial(
    settings=(
        Setting(0.02, 0.0),
        Setting(0.001, 0.0),
        Setting(0.02, 1.0),
        Setting(0.001, 1.0),
    ),
    quality=(0.5, 1.0, 0.5, 1.0),
    energy=(0.1, 1.0, 0.1, 1.0),
    means=MEANS,
    n_prompts=500,
)
N = 100


def sample(new_quality: object, new_energy_j: float) -> tuple[np.ndarray, np.ndarray]:
    """All prompts alike for the old models."""
    quality = np.tile([0.4, 0.8, 0.0], (N, 1))
    quality[:, 2] = new_quality
    return quality, np.tile([10.0, 100.0, new_energy_j], (N, 1))


def found(new_quality: object, new_energy_j: float, deviation: float = 0.0) -> Dial:
    quality, energy_j = sample(new_quality, new_energy_j)
    means = widened_means(MEANS, quality, energy_j)
    return widened_dial(DIAL, quality, energy_j, means, 1, deviation=deviation)


def test_a_model_that_is_never_chosen_changes_nothing():
    dial = found(0.1, 1000.0)
    assert dial.means.quality == pytest.approx((0.4, 0.8, 0.1))
    assert replace(dial, means=MEANS) == DIAL


def test_a_model_that_gets_every_prompt_leads_to_its_own_means():
    dial = found(0.8, 20.0)
    low = {
        (s.price, s.shrinkage): (q, e)
        for s, q, e in zip(dial.settings, dial.quality, dial.energy, strict=True)
    }
    # at the low price it takes the place of the best model: nothing lost, four fifths saved
    assert low[0.001, 0.0] == pytest.approx((1.0, 0.2))
    assert low[0.001, 1.0] == pytest.approx((1.0, 0.2))


def test_only_the_prompts_that_move_count():
    quality = np.where(np.arange(N) < 30, 0.9, 0.0)
    dial = found(quality, 20.0)
    place = dial.settings.index(Setting(0.001, 0.0))
    assert dial.quality[place] == pytest.approx(1.0 + 0.3 * (0.9 - 0.8) / 0.8)
    assert dial.energy[place] == pytest.approx(1.0 - 0.3 * 80.0 / 100.0)


def test_doubt_grows_where_few_prompts_move():
    quality = np.where(np.arange(N) < 25, 0.9, 0.0)
    place = DIAL.settings.index(Setting(0.001, 0.0))
    sure, unsure = found(quality, 20.0), found(quality, 20.0, deviation=0.04)
    assert sure.quality[place] - unsure.quality[place] == pytest.approx(0.04 * 0.25 / 0.8)
    assert sure.energy == unsure.energy


def test_the_new_model_alone_becomes_a_setting_where_it_is_worth_mixing():
    # between the two on the hull, where neither of the fixed settings would choose it
    dial = Dial(
        settings=(Setting(0.1, 0.0), Setting(0.01, 0.0), Setting(1e-4, 0.0), Setting(0.1, 1.0)),
        quality=(0.5, 0.9, 1.0, 0.5),
        energy=(0.1, 0.9, 1.0, 0.1),
        means=MEANS,
        n_prompts=500,
    )
    quality, energy_j = sample(0.75, 30.0)
    means = widened_means(MEANS, quality, energy_j)
    wider = widened_dial(dial, quality, energy_j, means, 1)
    alone = wider.settings.index(Setting(0.01, 1.0))
    assert wider.quality[alone] == pytest.approx(0.75 / 0.8)
    assert wider.energy[alone] == pytest.approx(0.3)
    # no fixed models on a dial, none added
    without = Dial(dial.settings[:3], (0.5, 0.9, 1.0), (0.1, 0.9, 1.0), MEANS, 500)
    assert widened_dial(without, quality, energy_j, means, 1).settings == without.settings


def test_lower_prices_are_trusted_with_no_less():
    rng = np.random.default_rng(0)
    quality, energy_j = rng.random((N, 3)), 100.0 * rng.random((N, 3))
    means = widened_means(MEANS, quality, energy_j)
    prices = np.geomspace(1.0, 1e-4, 30)
    dial = Dial(
        tuple(Setting(float(p), s) for s in (0.0, 0.5) for p in prices),
        tuple(np.tile(np.linspace(0.5, 1.0, 30), 2).tolist()),
        tuple(np.tile(np.linspace(0.1, 1.0, 30), 2).tolist()),
        MEANS,
        500,
    )
    wider = widened_dial(dial, quality, energy_j, means, 1, deviation=0.1)
    kept = np.array(wider.quality).reshape(2, 30)
    assert (np.diff(kept, axis=1) >= 0.0).all()
    assert (kept >= 0.0).all()
    assert wider.n_prompts == 500


def test_a_dial_that_was_never_measured_stays_empty():
    quality, energy_j = sample(0.9, 5.0)
    means = widened_means(MEANS, quality, energy_j)
    empty = Dial((), (), (), MEANS, 0)
    assert widened_dial(empty, quality, energy_j, means, 1) == Dial((), (), (), means, 0)


def test_means_are_those_of_prompts_like_the_training_prompts():
    rng = np.random.default_rng(1)
    easy = rng.random(2000)
    quality = np.stack([easy, 0.5 + easy / 2, 0.2 + 0.6 * easy], axis=1)
    energy_j = np.tile([10.0, 100.0, 20.0], (2000, 1))
    # the sample is of harder prompts, with answers of half the length
    hard = easy < 0.5
    means = PoolMeans(tuple(quality[:, :2].mean(axis=0)), (20.0, 200.0))
    wider = widened_means(means, quality[hard], energy_j[hard])
    assert wider.quality[:2] == means.quality
    assert quality[hard, 2].mean() < 0.4
    assert wider.quality[2] == pytest.approx(quality[:, 2].mean(), abs=0.03)
    assert wider.energy_j[2] == pytest.approx(40.0)


def test_means_are_shares():
    quality = np.array([[0.1, 0.9], [0.2, 1.0]])
    wider = widened_means(PoolMeans((1.0,), (1.0,)), quality, np.ones((2, 2)))
    assert 0.0 <= wider.quality[1] <= 1.0
