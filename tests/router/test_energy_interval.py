from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.energy import EnergyInterval, basis_of, weakest_basis

BASES = ("measured", "estimated", "assumed")
joules = st.floats(0, 1e12)
factors = st.floats(1, 100)
intervals = st.builds(EnergyInterval.from_factor, joules, factors, st.sampled_from(BASES))


@pytest.mark.parametrize(
    ("text", "basis"),
    [
        ("measured", "measured"),
        ("Measured (B200 only)", "measured"),
        ("estimated: as Llama-3.2-3B", "estimated"),
        ("estimated; same architecture measured: X", "estimated"),
        (" assumed", "assumed"),
        ("relative price", "assumed"),
        ("measuredly", "assumed"),
        ("not measured", "assumed"),
        ("", "assumed"),
    ],
)
def test_the_first_word_of_a_text_is_its_basis(text: str, basis: str) -> None:
    assert basis_of(text) == basis


def test_the_weakest_basis_wins() -> None:
    assert weakest_basis("measured", "measured") == "measured"
    assert weakest_basis("measured", "estimated") == "estimated"
    assert weakest_basis("assumed", "estimated", "measured") == "assumed"


@pytest.mark.parametrize(
    "ends",
    [
        (1, 2, 3),
        (3, 1, 2),
        (1, -1, 2),
        (math.nan, 0, 1),
        (1, 0, math.inf),
        (-1, -1, -1),
    ],
)
def test_an_interval_that_is_none_is_refused(ends: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match=r"_j"):
        EnergyInterval(*ends, "measured")


def test_an_unknown_basis_is_refused() -> None:
    with pytest.raises(ValueError, match="basis must be one of"):
        EnergyInterval(1, 1, 1, "guessed")  # type: ignore[arg-type]


@pytest.mark.parametrize("factor", [0.5, 0, -1, math.nan])
def test_a_factor_below_one_is_refused(factor: float) -> None:
    with pytest.raises(ValueError, match="low_factor"):
        EnergyInterval.from_factor(1, factor, "measured")


@pytest.mark.parametrize("low", [0, -0.5, 1.1, math.nan])
def test_a_low_factor_outside_its_range_is_refused(low: float) -> None:
    with pytest.raises(ValueError, match="low_factor"):
        EnergyInterval.from_factor(1, 2, "measured", low_factor=low)


def test_from_factor() -> None:
    assert EnergyInterval.from_factor(8, 2, "assumed") == EnergyInterval(8, 4, 16, "assumed")
    assert EnergyInterval.from_factor(8, 2, "assumed", low_factor=0.75).low_j == 6


def test_it_is_frozen() -> None:
    with pytest.raises(AttributeError):
        EnergyInterval(1, 1, 1, "measured").value_j = 2  # type: ignore[misc]


def test_only_intervals_add() -> None:
    one = EnergyInterval(1, 1, 1, "measured")
    with pytest.raises(TypeError):
        one + 1  # type: ignore[operator]
    with pytest.raises(TypeError):
        1 + one
    with pytest.raises(TypeError):
        one * one  # type: ignore[operator]


@pytest.mark.parametrize("count", [-1, math.nan])
def test_scaling_by_a_bad_number_is_refused(count: float) -> None:
    with pytest.raises(ValueError, match="scaled"):
        EnergyInterval(1, 1, 1, "measured") * count


@given(st.lists(intervals, min_size=1, max_size=6))
def test_a_sum_keeps_order_ends_and_the_weakest_basis(parts: list[EnergyInterval]) -> None:
    total = sum(parts)
    assert isinstance(total, EnergyInterval)
    assert total.low_j <= total.value_j <= total.high_j
    assert total.low_j == pytest.approx(sum(part.low_j for part in parts))
    assert total.high_j == pytest.approx(sum(part.high_j for part in parts))
    assert total.basis == max((part.basis for part in parts), key=BASES.index)


@given(intervals, st.floats(0, 1e6))
def test_scaling_keeps_order_and_relative_width(part: EnergyInterval, count: float) -> None:
    scaled = part * count
    assert scaled == count * part
    assert scaled.low_j <= scaled.value_j <= scaled.high_j
    assert scaled.basis == part.basis
    assert scaled.high_j * part.value_j == pytest.approx(part.high_j * scaled.value_j)
