import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from router.eval.frontier import (
    energy_at_quality,
    operating_points,
    upper_hull,
    zero_router_points,
)

# Multiples of a power of two, so that sums and products of a few of them are exact.
_coordinates = st.integers(0, 64).map(lambda k: k / 16)
_points = st.integers(1, 9).flatmap(lambda n: arrays(np.float64, (n, 2), elements=_coordinates))


def _least_energy(points: np.ndarray, quality: float) -> float:
    """Try every single point and every mix of two."""
    found = [e for e, q in points if q >= quality]
    for e0, q0 in points:
        for e1, q1 in points:
            if q0 < quality < q1:
                found.append(e0 + (quality - q0) / (q1 - q0) * (e1 - e0))
    return min(found, default=np.inf)


@given(_points, _coordinates)
def test_energy_at_quality_is_that_of_the_best_mix_of_two(points, quality):
    expected = _least_energy(points, quality)
    found = energy_at_quality(points, quality)
    assert found == expected or found == pytest.approx(expected, abs=1e-9)


@given(_points)
def test_hull_is_made_of_the_points_and_rises_ever_less_steeply(points):
    hull = upper_hull(points)
    assert {tuple(corner) for corner in hull} <= {tuple(point) for point in points}
    steps = np.diff(hull, axis=0)
    assert (steps > 0).all()
    slopes = steps[:, 1] / steps[:, 0]
    assert (np.diff(slopes) < 0).all()
    assert hull[-1, 1] == points[:, 1].max()
    assert hull[0, 0] == points[:, 0].min()


@given(_points, st.randoms(use_true_random=False))
def test_hull_does_not_depend_on_order_or_repetition(points, random):
    order = list(range(len(points))) * 2
    random.shuffle(order)
    np.testing.assert_array_equal(upper_hull(points[order]), upper_hull(points))


def test_quality_above_the_hull_costs_infinite_energy_and_below_it_the_least():
    points = np.array([[2.0, 0.5], [4.0, 0.9]])
    assert energy_at_quality(points, 0.91) == np.inf
    assert energy_at_quality(points, 0.1) == 2.0
    assert energy_at_quality(points, 0.7) == pytest.approx(3.0)
    assert energy_at_quality(points, 0.9) == pytest.approx(4.0)


def test_operating_points_are_means_of_the_chosen_cells():
    quality = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    energy_j = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    choices = np.array([[0, 0, 0], [0, 1, 0], [1, 1, 1]])
    np.testing.assert_allclose(
        operating_points(choices, quality, energy_j), [[2, 2 / 3], [8, 1], [20, 2 / 3]]
    )


def test_zero_router_mixes_the_models_that_training_data_say_to_mix():
    # Training means: (1, .2), (2, .6), (4, .5) dominated, (5, .9). On the test prompts the
    # dominated model would have been the best, but the zero router cannot know.
    train_energy_j = np.array([[1.0, 2.0, 4.0, 5.0]])
    train_quality = np.array([[0.2, 0.6, 0.5, 0.9]])
    quality = np.array([[0.0, 0.5, 1.0, 1.0], [0.0, 0.5, 1.0, 0.0]])
    energy_j = np.array([[1.0, 2.0, 1.0, 6.0], [1.0, 4.0, 1.0, 8.0]])
    np.testing.assert_allclose(
        zero_router_points(train_quality, train_energy_j, quality, energy_j),
        [[1, 0], [3, 0.5], [7, 0.5]],
    )


def test_zero_router_of_one_model_that_dominates_is_that_model():
    points = zero_router_points(
        np.array([[0.9, 0.8]]),
        np.array([[1.0, 2.0]]),
        np.array([[0.3, 0.9]]),
        np.array([[5.0, 9.0]]),
    )
    np.testing.assert_allclose(points, [[5, 0.3]])
