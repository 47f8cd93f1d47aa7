import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.dial import Dial, PoolMeans, Setting
from router.eval.protocol import QUALITY_BARS
from router.eval.scoring import Truth
from router.eval.served import (
    SERVED,
    SERVED_DIFFERENCE,
    ZERO_SERVED,
    served_choices,
    served_figures,
    zero_mixtures,
)

MEANS = PoolMeans((0.6, 0.9), (10.0, 100.0))


def _truth(quality, energy_j, reference=1):
    quality, energy_j = np.array(quality, float), np.array(energy_j, float)
    points = np.stack([energy_j.mean(axis=0), quality.mean(axis=0)], axis=1)
    return Truth(quality, energy_j, np.full(quality.shape, np.nan), reference, points)


def test_a_bar_without_a_setting_is_served_by_the_reference_model():
    dial = Dial((Setting(0.0, 0.0),), (0.93,), (0.4,), MEANS, 50)
    quality, energy_j = np.array([[0.9, 0.1], [0.1, 0.9]]), np.full((2, 2), 10.0)
    chosen = served_choices(dial, quality, energy_j, reference=1, bars=(0.9, 0.95))
    assert chosen.tolist() == [[0, 1], [1, 1]]


def test_the_zero_router_mixes_what_keeps_the_bar_in_training():
    shares = zero_mixtures(MEANS, 1, bars=(0.5, 0.9, 1.0))
    assert shares[0].tolist() == [1.0, 0.0]
    assert shares[1] @ MEANS.quality == pytest.approx(0.81)
    assert shares[2].tolist() == [0.0, 1.0]


@given(
    st.lists(st.tuples(st.integers(0, 10), st.integers(1, 50)), min_size=2, max_size=6),
    st.floats(0.05, 1.0),
)
def test_a_mixture_keeps_the_bar_at_the_least_energy(models, bar):
    quality = np.array([q / 10 for q, _ in models])
    energy_j = np.array([float(e) for _, e in models])
    means = PoolMeans(tuple(quality.tolist()), tuple(energy_j.tolist()))
    reference = int(np.lexsort((energy_j, -quality))[0])
    (shares,) = zero_mixtures(means, reference, bars=(bar,))
    assert shares.sum() == pytest.approx(1)
    assert (shares >= 0).all()
    assert shares @ quality >= bar * quality[reference] - 1e-9
    for j in range(len(models)):  # no single model is a better bargain
        if quality[j] >= bar * quality[reference]:
            assert shares @ energy_j <= energy_j[j] + 1e-9


def test_serving_the_reference_model_costs_nothing_against_the_zero_router():
    truth = _truth([[0, 1], [1, 1], [0, 1]], [[1, 10], [2, 20], [3, 30]])
    choices = np.ones((4, 3), int)
    figures = served_figures(choices, zero_mixtures(PoolMeans((0.3, 1.0), (2, 20)), 1), truth)
    assert figures[SERVED] == pytest.approx(0)
    for bar in QUALITY_BARS:
        assert figures[f"served_quality_{bar:.2f}"] == 1
        assert figures[f"served_energy_{bar:.2f}"] == 1
        assert figures[f"served_log_ratio_{bar:.2f}"] == pytest.approx(0)


def test_a_perfect_choice_is_charged_against_the_best_of_the_zero_router():
    # The router keeps more quality than any model has, at a tenth of the energy.
    truth = _truth([[1, 0], [0, 1], [0, 1]], [[1, 30], [1, 30], [1, 30]])
    choices = np.tile([0, 1, 1], (4, 1))
    figures = served_figures(choices, zero_mixtures(PoolMeans((0.3, 0.6), (1, 30)), 1), truth)
    assert figures["served_quality_1.00"] == pytest.approx(1.5)
    assert figures[SERVED] == pytest.approx(np.log((1 + 30 + 30) / 3 / 30))


def test_what_lies_above_the_zero_hull_is_counted_as_a_loss():
    # A random choice between the models lies on the hull; paying more for it lies above.
    truth = _truth([[0, 1], [0, 1], [1, 1], [1, 1]], [[1, 9]] * 2 + [[1, 21]] * 2)
    wasteful = np.tile([0, 0, 1, 1], (4, 1))
    figures = served_figures(wasteful, zero_mixtures(PoolMeans((0.5, 1.0), (1, 15)), 1), truth)
    assert figures[SERVED] == pytest.approx(np.log(11 / 1))
    assert figures[SERVED_DIFFERENCE] == pytest.approx(figures[SERVED] - figures[ZERO_SERVED])


def test_the_zero_router_as_served_pays_for_what_training_means_got_wrong():
    # In training the models differ, on the test prompts they do not: the mix wastes energy.
    truth = _truth([[1, 1], [1, 1]], [[1, 10], [1, 10]])
    truth = Truth(truth.quality, truth.energy_j, truth.completion_tokens, 1, truth.zero_points)
    mixtures = zero_mixtures(PoolMeans((0.5, 1.0), (1, 10)), 1)
    figures = served_figures(np.zeros((4, 2), int), mixtures, truth)
    assert figures[SERVED] == 0
    assert figures[ZERO_SERVED] == pytest.approx(np.mean(np.log(mixtures @ [1.0, 10.0])))


def test_nothing_right_and_no_energy_give_figures_without_a_warning():
    truth = _truth(np.zeros((3, 2)), np.zeros((3, 2)))
    figures = served_figures(np.zeros((4, 3), int), np.tile([1.0, 0.0], (4, 1)), truth)
    assert figures[SERVED] == 0
    assert np.isnan(figures["served_quality_0.90"])
