from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.explanation.bars import BAR_STEP, BarRange, scan_bars

MODELS = ("small", "middle", "large")


def test_ranges_may_come_back():
    """The dial need not be monotone for one prompt."""
    found = scan_bars(lambda bar: "middle" if 0.4 < bar <= 0.6 else "small", MODELS)
    assert found[0].ranges == (BarRange(0.005, 0.4), BarRange(0.605, 1.0))
    assert str(found[0]) == "0.005 to 0.4, 0.605 to 1"
    assert str(found[1]) == "0.405 to 0.6"
    assert str(found[2]) == "at no bar"


def test_a_single_bar():
    found = scan_bars(lambda bar: "large" if bar == 1.0 else "small", MODELS)
    assert [str(bars) for bars in found] == ["0.005 to 0.995", "at no bar", "1"]


@given(st.lists(st.sampled_from(MODELS), min_size=200, max_size=200))
def test_every_bar_is_in_one_range_of_its_model(chosen: list[str]):
    bars = [round((i + 1) * BAR_STEP, 6) for i in range(200)]
    by_bar = dict(zip(bars, chosen, strict=True))
    found = scan_bars(by_bar.__getitem__, MODELS)
    assert [model.model for model in found] == list(MODELS)
    for bar in bars:
        owners = [m.model for m in found for r in m.ranges if r.low <= bar <= r.high]
        assert owners == [by_bar[bar]]


def test_an_unknown_model_is_an_error():
    with pytest.raises(KeyError):
        scan_bars(lambda bar: "odd", MODELS)
