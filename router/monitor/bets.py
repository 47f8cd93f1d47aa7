"""Bets against conformal p-values: how each way of drifting would move them.

Where nothing has drifted, a p-value is uniform on [0, 1], whatever the data look like. A bet is
a density on [0, 1]: its value at the p-value is the factor by which the capital of a gambler
grows who expects a certain drift, and its mean under uniformity is 1, so that nobody gains in
the long run unless something drifts. A drop of quality that is tolerated is no drift: where one
is, the mean is a little less than 1.

Qualities drift in two ways here. Either some share of the right answers turns wrong, no matter
how sure the router was (cut-off answers, a broken template, an outage that returns nonsense); or
the model has become less able, which costs most where the outcome was open. Each comes in two
sizes: small bets find small drifts, large ones find large drifts sooner.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["N_BANDS", "Bets", "band_of", "novelty_bets", "quality_bets"]

_Floats = NDArray[np.float64]

_EDGES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)
_CENTRES = (np.array([0.0, *_EDGES]) + np.array([*_EDGES, 1.0])) / 2.0

N_BANDS = len(_CENTRES)
"""Number of bands that predicted probabilities are told apart by."""

# A bet on a drop of d gains from drops above d / 2. This one is nearly as good as any at a drop of
# five points and does not take for drift what a thousand prompts more or less may differ by.
_DROPS = (0.06, 0.2)
_DROP_WEIGHTS = (0.9, 0.1)
# a router that says 0.99 is not that sure to be right about it
_DOUBT = 0.05
_NOVEL_TAILS = (0.01, 0.05, 0.2)
_NOVEL_SHARES = (0.08, 0.25)
_MAX_SHIFT = 3.0


@dataclass(frozen=True, slots=True)
class Bets:
    """Densities with one step each, by band.

    Attributes
    ----------
    weight : ndarray of shape (n_bets,)
        Share of the capital that starts on each bet; sums to 1.
    step : ndarray of shape (n_bets, n_bands)
        Where the density steps down, in (0, 1).
    log_below, log_above : ndarray of shape (n_bets, n_bands)
        Logarithm of the density up to the step and beyond it.
    """

    weight: _Floats
    step: _Floats
    log_below: _Floats
    log_above: _Floats

    def log_factors(self, p_value: float, band: int = 0) -> _Floats:
        """Return the logarithm of what each bet pays for a p-value.

        Parameters
        ----------
        p_value : float
            In [0, 1]; small where the observation is bad.
        band : int
            Band of the observation.

        Returns
        -------
        ndarray of shape (n_bets,)
            Logarithms of factors that are at most 1 in the mean over a uniform p-value.
        """
        low = p_value <= self.step[:, band]
        return np.where(low, self.log_below[:, band], self.log_above[:, band])


def band_of(probability: float) -> int:
    """Return the band that a predicted probability falls into.

    The bands are fixed, not fitted: where they lie must not depend on the outcomes.

    Examples
    --------
    >>> band_of(0.0), band_of(1.0) == N_BANDS - 1
    (0, True)
    """
    return bisect_right(_EDGES, probability)


def quality_bets(shares: _Floats, tolerance: float = 0.0) -> Bets:
    """Return bets that the quality of answers has dropped.

    Parameters
    ----------
    shares : ndarray of shape (n_bands,)
        Share of the reference answers in each band. With them a drop of so many points of mean
        quality is turned into what it means in each band.
    tolerance : float
        Drop of mean quality that is no drift, less than the smallest bet.

    Returns
    -------
    Bets
        Two kinds of drift in two sizes.

    Examples
    --------
    >>> bets = quality_bets(np.full(N_BANDS, 1 / N_BANDS))
    >>> mean = bets.step * np.exp(bets.log_below) + (1 - bets.step) * np.exp(bets.log_above)
    >>> bool(np.allclose(mean, 1.0))
    True
    """
    before = (1.0 - _DOUBT) * _CENTRES + _DOUBT / 2.0
    mean = max(float(shares @ _CENTRES), 2.0 * max(_DROPS))

    def dropped(drop: float) -> _Floats:
        return np.array([before * (1.0 - drop / mean), _less_able(before, shares, drop)])

    tolerated = np.tile(dropped(tolerance), (len(_DROPS), 1))
    changed = np.concatenate([dropped(drop) for drop in _DROPS])
    return Bets(
        weight=np.repeat(_DROP_WEIGHTS, 2) / 2.0,
        step=np.tile(1.0 - before, (len(changed), 1)),
        log_below=np.log((1.0 - changed) / (1.0 - tolerated)),
        log_above=np.log(changed / tolerated),
    )


def novelty_bets() -> Bets:
    """Return bets that a share of the prompts is more novel than most reference prompts.

    Returns
    -------
    Bets
        In one band: for each of three tails, one prompt in twelve or one in four is new.
    """
    pairs = [(tail, share) for tail in _NOVEL_TAILS for share in _NOVEL_SHARES]
    tail, share = np.array(pairs).T[:, :, None]
    return Bets(
        weight=np.full(len(pairs), 1.0 / len(pairs)),
        step=tail,
        log_below=np.log(1.0 - share + share / tail),
        log_above=np.log(1.0 - share),
    )


def _less_able(before: _Floats, shares: _Floats, drop: float) -> _Floats:
    """Lower all log odds by one amount, so that the mean falls by `drop`."""
    odds = np.log(before / (1.0 - before))
    target = max(float(shares @ before) - drop, 0.0)
    low, high = 0.0, _MAX_SHIFT
    while high - low > 1e-9:
        shift = (low + high) / 2.0
        if float(shares @ _expit(odds - shift)) > target:
            low = shift
        else:
            high = shift
    return _expit(odds - high)


def _expit(log_odds: _Floats) -> _Floats:
    return 1.0 / (1.0 + np.exp(-log_odds))
