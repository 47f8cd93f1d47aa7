"""Carbon and cost of an energy, from figures that the user gives with their source."""

from __future__ import annotations

from dataclasses import dataclass

from router.energy.interval import EnergyInterval
from router.errors import ConfigError

__all__ = ["Footprint", "GivenFigure", "Rates"]

_JOULES_PER_KWH = 3.6e6
_MOST = 1e6
_NO_SOURCE = "given by the user, no source named"


@dataclass(frozen=True, slots=True)
class GivenFigure:
    """A number that the user vouches for.

    Attributes
    ----------
    value : float
        The number.
    source : str
        Where it comes from.
    """

    value: float
    source: str = _NO_SOURCE


@dataclass(frozen=True, slots=True)
class Footprint:
    """A quantity that follows from an energy, with the ends of its interval.

    Attributes
    ----------
    value, low, high : float
        Best estimate and ends, in `unit`. The ends are those of the energy alone: the rate
        itself is taken as exact.
    unit : str
        ``kWh``, ``g CO2e`` or the currency.
    """

    value: float
    low: float
    high: float
    unit: str


@dataclass(frozen=True, slots=True)
class Rates:
    """What turns joules of GPUs into grams and money; nothing has a default.

    Attributes
    ----------
    grid_intensity : GivenFigure or None
        Grams of CO2 equivalent per kWh, from 0 to a million.
    price : GivenFigure or None
        Price per kWh, from 0 to a million.
    currency : str
        Unit of the price; may be empty.
    pue : GivenFigure or None
        Power usage effectiveness, energy of the site over energy of its computers, at least 1.
        Without it the site's own consumption is left out.

    Raises
    ------
    ConfigError
        If a figure is out of its range, or its source is blank.

    Examples
    --------
    >>> rates = Rates(grid_intensity=GivenFigure(400.0, "my grid"), pue=GivenFigure(1.5, "site"))
    >>> carbon = rates.carbon(EnergyInterval(3.6e6, 1.8e6, 7.2e6, "estimated"))
    >>> carbon.value, carbon.high, carbon.unit
    (600.0, 1200.0, 'g CO2e')
    """

    grid_intensity: GivenFigure | None = None
    price: GivenFigure | None = None
    currency: str = ""
    pue: GivenFigure | None = None

    def __post_init__(self) -> None:
        for name, least in (("grid_intensity", 0.0), ("price", 0.0), ("pue", 1.0)):
            figure = getattr(self, name)
            if figure is None:
                continue
            label = name.replace("_", " ")
            if not least <= figure.value <= _MOST:
                raise ConfigError(
                    f"{label} must be a number from {least:g} to {_MOST:g}, got {figure.value:g}"
                )
            if not figure.source.strip():
                raise ConfigError(f"the source of the {label} is blank: name it or leave it out")

    def site_kwh(self, energy: EnergyInterval) -> Footprint:
        """Return the energy in kWh, with what the site adds to it."""
        return _scaled(energy, self._site, "kWh")

    def carbon(self, energy: EnergyInterval) -> Footprint | None:
        """Return grams of CO2 equivalent, or None without a grid intensity."""
        if self.grid_intensity is None:
            return None
        return _scaled(energy, self._site * self.grid_intensity.value, "g CO2e")

    def cost(self, energy: EnergyInterval) -> Footprint | None:
        """Return the price of the electricity, or None without a price."""
        if self.price is None:
            return None
        return _scaled(energy, self._site * self.price.value, self.currency)

    @property
    def _site(self) -> float:
        return 1.0 if self.pue is None else self.pue.value


def _scaled(energy: EnergyInterval, per_kwh: float, unit: str) -> Footprint:
    value, low, high = (
        joules / _JOULES_PER_KWH * per_kwh
        for joules in (energy.value_j, energy.low_j, energy.high_j)
    )
    return Footprint(value, low, high, unit)
