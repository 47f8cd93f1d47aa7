from __future__ import annotations

import math

import pytest

from router.energy import EnergyInterval, GivenFigure, Rates
from router.errors import ConfigError

ENERGY = EnergyInterval(3.6e6, 1.8e6, 7.2e6, "estimated")


def test_nothing_has_a_default() -> None:
    rates = Rates()
    assert rates.carbon(ENERGY) is None
    assert rates.cost(ENERGY) is None
    assert (rates.grid_intensity, rates.price, rates.pue) == (None, None, None)
    assert rates.site_kwh(ENERGY).value == 1.0


def test_a_kilowatt_hour() -> None:
    rates = Rates(GivenFigure(400, "grid"), GivenFigure(0.25, "bill"), "EUR", GivenFigure(1.5, "x"))
    carbon, cost, site = rates.carbon(ENERGY), rates.cost(ENERGY), rates.site_kwh(ENERGY)
    assert carbon is not None
    assert cost is not None
    assert (carbon.value, carbon.low, carbon.high, carbon.unit) == (600, 300, 1200, "g CO2e")
    assert (cost.value, cost.low, cost.high, cost.unit) == (0.375, 0.1875, 0.75, "EUR")
    assert (site.value, site.unit) == (1.5, "kWh")


def test_a_figure_without_a_source_says_so() -> None:
    assert GivenFigure(400).source == "given by the user, no source named"


def test_free_and_clean_electricity_is_allowed() -> None:
    rates = Rates(grid_intensity=GivenFigure(0.0), price=GivenFigure(0.0))
    carbon = rates.carbon(ENERGY)
    assert carbon is not None
    assert carbon.value == 0.0


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf, 1e308])
@pytest.mark.parametrize("name", ["grid_intensity", "price", "pue"])
def test_figures_that_cannot_be(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=name.replace("_", " ")):
        Rates(**{name: GivenFigure(value, "somewhere")})  # type: ignore[arg-type]


def test_a_pue_below_1_and_a_blank_source() -> None:
    with pytest.raises(ConfigError, match=r"pue must be a number from 1 to 1e\+06, got 0\.9"):
        Rates(pue=GivenFigure(0.9))
    with pytest.raises(ConfigError, match="source of the price is blank"):
        Rates(price=GivenFigure(0.3, "  "))
