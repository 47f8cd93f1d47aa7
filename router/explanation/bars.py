"""At which quality bars each model would be chosen for a prompt: a scan of the dial."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

__all__ = ["BAR_STEP", "BarRange", "ModelBars", "scan_bars"]

BAR_STEP = 0.005
"""Distance of the bars that are tried."""

_N_BARS = round(1.0 / BAR_STEP)


@dataclass(frozen=True, slots=True)
class BarRange:
    """Bars next to each other, all of which lead to one model.

    Attributes
    ----------
    low, high : float
        The least and the greatest bar tried, both included.
    """

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ModelBars:
    """The bars at which one model would be chosen.

    Attributes
    ----------
    model : str
        Id in the API.
    ranges : tuple of BarRange
        Ascending; empty where no bar leads to it.
    """

    model: str
    ranges: tuple[BarRange, ...]

    def __str__(self) -> str:
        if not self.ranges:
            return "at no bar"
        return ", ".join(
            f"{found.low:g}" if found.low == found.high else f"{found.low:g} to {found.high:g}"
            for found in self.ranges
        )


def scan_bars(choose: Callable[[float], str], models: Sequence[str]) -> tuple[ModelBars, ...]:
    """Try the bars from the lowest to 1 and group them by the model that each leads to.

    Parameters
    ----------
    choose : callable
        Returns the model that a bar in (0, 1] leads to.
    models : sequence of str
        All models of the pool.

    Returns
    -------
    tuple of ModelBars
        In the order of `models`. A lower bar need not lead to a smaller model: settings are
        chosen for traffic, not for one prompt.

    Examples
    --------
    >>> found = scan_bars(lambda bar: "small" if bar <= 0.9 else "large", ["small", "large", "odd"])
    >>> [str(bars) for bars in found]
    ['0.005 to 0.9', '0.905 to 1', 'at no bar']
    """
    ranges: dict[str, list[BarRange]] = {model: [] for model in models}
    tried = [round(i * BAR_STEP, 6) for i in range(1, _N_BARS + 1)]
    for model, run in groupby(tried, key=choose):
        bars = list(run)
        ranges[model].append(BarRange(bars[0], bars[-1]))
    return tuple(ModelBars(model, tuple(found)) for model, found in ranges.items())
