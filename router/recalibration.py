"""From expected quality to the probability of a good answer."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from router.scoring import probabilities, within

__all__ = ["KNOTS", "Recalibration", "log_odds"]

_Floats = NDArray[np.float64]

KNOTS = np.arange(-6.0, 7.0)
"""Log-odds of the expected quality between which the map is linear; one unit apart."""


_LEAST = 1.0 / (1.0 + np.exp(-KNOTS[0]))


@dataclass(frozen=True, slots=True)
class Recalibration:
    """A monotone map for each model from expected quality to the probability of a good answer.

    An expected quality is a mean: half a point on every answer and a full point on every second
    one are the same to it. A probability is of an answer that is good, which is a quality of at
    least one half. Choices are made on expected quality; what is reported, and held against a
    floor, is the probability.

    Attributes
    ----------
    values : ndarray of shape (n_models, n_knots)
        Log-odds of a good answer at each of `KNOTS`; linear between them, constant beyond.
    """

    values: _Floats
    _first: NDArray[np.int64] = field(init=False, repr=False, compare=False)
    _slopes: _Floats = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_first", KNOTS.size * np.arange(len(self.values)))
        slopes = np.diff(self.values, axis=1, append=self.values[:, -1:])
        object.__setattr__(self, "_slopes", slopes)

    @classmethod
    def identity(cls, n_models: int) -> Recalibration:
        """Return the map that leaves expected qualities as they are, but for the extremes."""
        return cls(np.tile(KNOTS, (n_models, 1)))

    def probability(self, quality: _Floats) -> _Floats:
        """Return probabilities of a good answer.

        Parameters
        ----------
        quality : ndarray of shape (n, n_models)
            Expected qualities in [0, 1].

        Returns
        -------
        ndarray of shape (n, n_models)
            In (0, 1); a higher quality of the same model never has a lower probability.

        Examples
        --------
        >>> import numpy as np
        >>> Recalibration.identity(2).probability(np.array([[0.25, 0.9]])).round(3)
        array([[0.25, 0.9 ]])
        """
        place = log_odds(quality) - KNOTS[0]
        left = place.astype(np.int64)
        index = left + self._first
        found = self._slopes.take(index)
        found *= place - left
        found += self.values.take(index)
        return probabilities(found)


def log_odds(quality: _Floats) -> _Floats:
    """Return log-odds of qualities, no further out than the outer knots.

    Parameters
    ----------
    quality : ndarray
        Numbers in [0, 1].

    Returns
    -------
    ndarray
        Of the same shape.
    """
    inside = within(quality, _LEAST, 1.0 - _LEAST)
    return np.asarray(np.log(inside / (1.0 - inside)))
