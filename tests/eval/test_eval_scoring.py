import math

import numpy as np
import pytest

from router.eval.protocol import Outcome
from router.eval.scoring import Truth, average_frontier, score

QUALITY = np.array([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0], [1.0, 1.0]])
ENERGY_J = np.array([[1.0, 10.0]] * 4)


@pytest.fixture
def truth():
    return Truth(
        quality=QUALITY,
        energy_j=ENERGY_J,
        completion_tokens=np.array([[10.0, np.nan]] * 4),
        reference=1,
        zero_points=np.array([[1.0, 0.5], [10.0, 0.75]]),
    )


def test_a_perfect_router_by_hand(truth):
    # All prompts but the first go to the small model: quality 0.75 for 3.25 J.
    choices = np.array([[0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1]])
    found = score(Outcome(choices=choices), truth, 0)
    assert found.figures["energy_at_1.00"] == pytest.approx(0.325)
    assert found.figures["energy_at_0.90"] == pytest.approx(0.1 + 0.225 * 0.7)
    assert found.figures["peak_quality"] == 1
    ratios = [(1 + 2.25 * part) / (1 + 9 * part) for part in (0.7, 0.85, 0.94, 1.0)]
    assert found.figures["log_energy_ratio"] == pytest.approx(np.log(ratios).mean())
    assert math.isnan(found.figures["auc"])
    np.testing.assert_allclose(found.points[:3], [[0.1, 2 / 3], [0.325, 1], [1, 1]])


def test_shares_are_expected_outcomes(truth):
    half = score(Outcome(shares=np.array([[0.5, 0.5]])), truth, 0)
    np.testing.assert_allclose(half.points, [[0.55, 0.625 / 0.75], [1, 1]])


def test_the_zero_router_scores_nought(truth):
    assert score(Outcome(shares=np.eye(2)), truth, 0).figures["log_energy_ratio"] == 0


def test_predictions_and_own_figures(truth):
    outcome = Outcome(
        shares=np.eye(2),
        quality=QUALITY * 0.8 + 0.1,
        completion_tokens=np.full((4, 2), 20.0),
        figures={"train_s": 3},
    )
    figures = score(outcome, truth, 0).figures
    assert figures["auc"] == 1
    assert figures["brier"] == pytest.approx(0.01)
    assert figures["ece"] == pytest.approx(0.1)
    assert figures["ece_floor"] > 0
    assert figures["length_error"] == pytest.approx(math.log(2))
    assert figures["train_s"] == 3.0


def test_a_reference_that_is_never_right_gives_no_relative_figures(truth):
    nobody = Truth(np.zeros((4, 2)), ENERGY_J, truth.completion_tokens, 0, np.array([[1.0, 0.0]]))
    found = score(Outcome(shares=np.eye(2)), nobody, 0)
    assert found.figures["log_energy_ratio"] == 0
    assert math.isnan(found.figures["peak_quality"])
    assert np.isnan(found.points).all()


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        (Outcome(), "choices or shares"),
        (Outcome(choices=np.zeros((2, 3), int)), r"\(n_settings, 4\)"),
        (Outcome(choices=np.zeros(4, int)), r"\(n_settings, 4\)"),
        (Outcome(choices=np.zeros((0, 4), int)), r"\(n_settings, 4\)"),
        (Outcome(choices=np.full((1, 4), 2)), "from 0 to 1"),
        (Outcome(choices=np.full((1, 4), -1)), "from 0 to 1"),
        (Outcome(shares=np.ones((1, 3))), r"\(n_settings, 2\)"),
        (Outcome(shares=np.ones((1, 2))), "sum to 1"),
        (Outcome(shares=np.array([[2.0, -1.0]])), "sum to 1"),
        (Outcome(shares=np.eye(2), quality=np.zeros((4, 3))), "quality must have shape"),
        (Outcome(shares=np.eye(2), quality=np.full((4, 2), np.nan)), "quality has values"),
        (
            Outcome(shares=np.eye(2), completion_tokens=np.full((4, 2), np.inf)),
            "completion_tokens has values",
        ),
    ],
)
def test_outcomes_that_do_not_fit(truth, outcome, message):
    with pytest.raises(ValueError, match=message):
        score(outcome, truth, 0)


def test_average_frontier_is_the_mean_energy_at_each_quality():
    first = np.array([[0.1, 0.5], [1.0, 1.0]])
    second = np.array([[0.3, 0.5], [1.0, 1.0], [2.0, 1.2]])
    curve = average_frontier([first, second])
    np.testing.assert_allclose(curve[0], [0.2, 0.5])
    np.testing.assert_allclose(curve[-1], [1.0, 1.0])
    assert (np.diff(curve, axis=0) > 0).all()
    np.testing.assert_allclose(np.interp(0.75, curve[:, 1], curve[:, 0]), 0.6)


def test_average_frontier_of_a_single_point_and_of_nothing():
    curve = average_frontier([np.array([[1.0, 1.0], [1.0, 1.0]])])
    np.testing.assert_allclose(np.unique(curve, axis=0), [[1, 1]])
    assert average_frontier([np.full((2, 2), np.nan)]).shape == (0, 2)
    assert average_frontier([]).shape == (0, 2)
