import math

import pytest

from router.eval.intervals import Interval
from router.eval.verdict import Comparison, compare, state_verdict


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-0.3, -0.1, Comparison.BEATS),
        (0.1, 0.3, Comparison.LOSES),
        (-0.1, 0.3, Comparison.UNCLEAR),
        (0.0, 0.0, Comparison.UNCLEAR),
        (math.nan, math.nan, Comparison.UNKNOWN),
    ],
)
def test_only_a_whole_interval_on_one_side_counts(low, high, expected):
    assert compare(Interval((low + high) / 2, low, high)) is expected


def test_a_router_that_wins_and_loses_says_both():
    text = state_verdict(
        "WattRoute",
        Interval(-0.5, -0.6, -0.4),
        5,
        {
            "a": Comparison.BEATS,
            "b": Comparison.LOSES,
            "c": Comparison.BEATS,
            "d": Comparison.UNCLEAR,
            "e": Comparison.BEATS,
        },
    )
    assert text == (
        "WattRoute beats the zero router: 39% less energy at equal quality (log_energy_ratio "
        "-0.500, 95 % interval -0.600 to -0.400, 5 seeds). It beats a, c and e. It does not "
        "clearly differ from d. It loses to b."
    )


def test_a_router_that_loses_says_so_first():
    text = state_verdict("R", Interval(0.2, 0.1, 0.3), 3, {})
    assert text.startswith("R loses to the zero router: 22% more energy")


def test_an_unclear_result_is_not_called_a_win():
    text = state_verdict("R", Interval(-0.2, -0.5, 0.1), 3, {})
    assert text.startswith("R does not clearly differ from the zero router: 18% less energy")


def test_one_seed_gives_no_verdict():
    text = state_verdict("R", Interval(-0.2, math.nan, math.nan), 1, {})
    assert text.startswith("No verdict on R, one seed gives no interval")
    assert "1 seed)" in text
    assert "nan" not in text


def test_no_difference_at_all():
    text = state_verdict("R", Interval(0.0, 0.0, 0.0), 3, {})
    assert text.startswith("R does not clearly differ from the zero router: the same energy")
