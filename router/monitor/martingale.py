"""Capital of a gambler who does not know what drifts, how much, or from when on.

The capital is spread over bets and over the observations from which on each bet is placed; all
shares together are 1, so the total is a test martingale: if nothing has drifted, the chance that
it *ever* reaches 1 / delta is at most delta (Ville, 1939), no matter how long one watches and
how often one looks. Spreading over starting points costs a constant factor and keeps the power
to see a drift that begins late; a plain martingale would by then have lost its capital. A
restarted sum (CUSUM, Shiryaev-Roberts, e-detectors: Shin, Ramdas and Rinaldo, 2024) would detect
a little sooner, but bounds the mean time between false alarms, not their probability.

References
----------
V. Vovk, "Testing randomness online", Statistical Science 36 (2021): conformal test martingales.
G. Shafer and V. Vovk, "Game-theoretic foundations for probability and finance" (2019).
I. Waudby-Smith and A. Ramdas, "Estimating means of bounded random variables by betting", Journal
of the Royal Statistical Society B 86 (2024).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from router.monitor.bets import Bets

__all__ = ["MixtureMartingale", "closed_e_values"]

# Share of the capital that is placed at once: what has drifted before the first observation.
_AT_ONCE = 0.25
# The rest starts at observation k with a share of c / ((k + c) (k + c + 1)), which sums to 1.
_PATIENCE = 1500.0
_MAX_LOG = 690.0


class MixtureMartingale:
    """A test martingale over several bets and all starting points.

    Parameters
    ----------
    bets : Bets
        What is bet on.

    Examples
    --------
    >>> from router.monitor.bets import novelty_bets
    >>> capital = MixtureMartingale(novelty_bets())
    >>> for _ in range(20):
    ...     capital.update(0.001)
    >>> capital.e_value > 1000
    True
    """

    def __init__(self, bets: Bets) -> None:
        self._bets = bets
        self._log_weight = np.log(bets.weight)
        self._log_placed = np.full(bets.weight.shape, -np.inf)
        self._n = 0
        self._e_value = 1.0

    @property
    def n(self) -> int:
        """Number of observations."""
        return self._n

    @property
    def e_value(self) -> float:
        """Capital now, at most 1e299; it began with 1."""
        return self._e_value

    def update(self, p_value: float, band: int = 0) -> None:
        """Take one more p-value.

        Parameters
        ----------
        p_value : float
            Uniform on [0, 1] given all earlier ones, unless something drifts.
        band : int
            Band of the observation.
        """
        start = (1.0 - _AT_ONCE) * _PATIENCE
        start /= (self._n + _PATIENCE) * (self._n + _PATIENCE + 1.0)
        if self._n == 0:
            start += _AT_ONCE
        placed = np.logaddexp(self._log_placed, math.log(start))
        self._log_placed = placed + self._bets.log_factors(p_value, band)
        self._n += 1
        self._value()

    def _value(self) -> None:
        waiting = (1.0 - _AT_ONCE) * _PATIENCE / (self._n + _PATIENCE)
        logs = self._log_placed + self._log_weight
        largest = max(float(logs.max()), math.log(waiting))
        total = float(np.exp(logs - largest).sum()) + waiting * math.exp(-largest)
        self._e_value = math.exp(min(largest + math.log(total), _MAX_LOG))

    def to_dict(self) -> dict[str, Any]:
        """Return the capital as JSON types."""
        return {"n": self._n, "log_placed": self._log_placed.tolist() if self._n else None}

    def restore(self, stored: Mapping[str, Any]) -> None:
        """Take up the capital of :meth:`to_dict`.

        Raises
        ------
        KeyError, TypeError, ValueError
            If something is missing or of another shape.
        """
        n = int(stored["n"])
        if n < 0:
            raise ValueError("a negative number of observations")
        if n == 0:
            return
        placed = np.array(stored["log_placed"], np.float64)
        if placed.shape != self._log_weight.shape or not np.isfinite(placed).all():
            raise ValueError("not the capital of these bets")
        self._n, self._log_placed = n, placed
        self._value()


def closed_e_values(e_values: list[float]) -> list[float]:
    """Adjust e-values of several hypotheses for their number, by closed testing.

    Whoever rejects where the adjusted value is at least 1 / delta rejects any true hypothesis
    with probability at most delta, however the e-values depend on each other. (V. Vovk and R.
    Wang, "E-values: calibration, combination and applications", Annals of Statistics 49, 2021:
    the least mean over all sets that contain the hypothesis.)

    Parameters
    ----------
    e_values : list of float
        One e-value a hypothesis.

    Returns
    -------
    list of float
        Adjusted e-values, at most the given ones.

    Examples
    --------
    >>> closed_e_values([30.0, 0.0, 0.0])
    [10.0, 0.0, 0.0]
    """
    adjusted = []
    for j, own in enumerate(e_values):
        best = total = own
        for count, other in enumerate(sorted(e_values[:j] + e_values[j + 1 :]), start=2):
            total += other
            best = min(best, total / count)
        adjusted.append(best)
    return adjusted
