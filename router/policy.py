"""The routing policy: price energy, then take the best bargain for each prompt.

A prompt goes to the model with the largest ``quality - price * energy``. One price holds for
all prompts, because a quality bar is a property of traffic: a threshold on each prompt's own
probability pays for the largest model on every prompt that no model can answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.errors import ConfigError

__all__ = ["PriceTable", "best_bargain", "price_grid", "price_sweep"]

_Floats = NDArray[np.float64]
_Index = NDArray[np.int64]


def best_bargain(quality: _Floats, energy_j: _Floats, price: float) -> _Index:
    """Choose the model with the largest ``quality - price * energy_j`` for each prompt.

    Parameters
    ----------
    quality : ndarray of shape (n, n_models)
        Expected quality.
    energy_j : ndarray of shape (n, n_models)
        Expected energy in joules.
    price : float
        Quality that one joule must buy.

    Returns
    -------
    ndarray of shape (n,)
        Column of the chosen model; ties go to the lower energy.

    Examples
    --------
    >>> import numpy as np
    >>> best_bargain(np.array([[0.7, 0.9]]), np.array([[10.0, 100.0]]), 0.001)
    array([1])
    >>> best_bargain(np.array([[0.7, 0.9]]), np.array([[10.0, 100.0]]), 0.01)
    array([0])
    """
    utility = quality - price * energy_j
    best = utility.max(axis=1, keepdims=True)
    tied = np.where(utility >= best - 1e-12, energy_j, np.inf)
    return tied.argmin(axis=1).astype(np.int64)


def price_grid(quality: _Floats, energy_j: _Floats, n_prices: int) -> _Floats:
    """Return geometric prices from one that buys the cheapest model to one that hardly matters.

    Parameters
    ----------
    quality, energy_j : ndarray of shape (n, n_models)
        Expected quality and energy in joules.
    n_prices : int
        Number of prices.

    Returns
    -------
    ndarray of shape (n_prices,)
        Quality per joule, descending; the last one is zero.
    """
    gap = energy_j.max(axis=1) - energy_j.min(axis=1)
    typical = float(np.median(gap[gap > 0])) if (gap > 0).any() else 1.0
    return np.append(np.geomspace(1e3, 1e-4, n_prices - 1) / typical, 0.0)


def price_sweep(
    quality: _Floats, energy_j: _Floats, reference: int, n_settings: int = 100
) -> _Index:
    """Sweep the dial from the cheapest answer to the best one.

    Parameters
    ----------
    quality, energy_j : ndarray of shape (n, n_models)
        Expected quality and energy in joules.
    reference : int
        Column of the reference model.
    n_settings : int
        Settings of the dial.

    Returns
    -------
    ndarray of shape (n_settings, n)
        Columns of the chosen models; the last setting is the reference model for every prompt.
    """
    prices = price_grid(quality, energy_j, n_settings - 1)
    chosen = [best_bargain(quality, energy_j, float(price)) for price in prices]
    chosen.append(np.full(len(quality), reference, np.int64))
    return np.stack(chosen)


@dataclass(frozen=True, slots=True)
class PriceTable:
    """What each price led to on prompts that the heads had not seen.

    Attributes
    ----------
    prices : tuple of float
        Quality per joule, descending.
    quality : tuple of float
        Mean quality relative to the reference model's at each price, made monotone.
    energy : tuple of float
        Mean energy relative to the reference model's at each price.
    n_prompts : int
        Prompts that this was measured on.
    """

    prices: tuple[float, ...]
    quality: tuple[float, ...]
    energy: tuple[float, ...]
    n_prompts: int

    def price_for(self, bar: float) -> float | None:
        """Return the highest price that keeps the bar; None where only the reference model does.

        Parameters
        ----------
        bar : float
            Share of the reference model's mean quality, in (0, 1].

        Raises
        ------
        ConfigError
            If `bar` is not in (0, 1].
        """
        if not 0.0 < bar <= 1.0:
            raise ConfigError(f"quality is {bar!r}: use a share of the reference in (0, 1]")
        for price, quality in zip(self.prices, self.quality, strict=True):
            if quality >= bar:
                return price
        return None

    @classmethod
    def measure(
        cls,
        predicted_quality: _Floats,
        predicted_energy_j: _Floats,
        quality: _Floats,
        energy_j: _Floats,
        reference: int,
        *,
        n_prices: int = 200,
    ) -> PriceTable:
        """Measure prices on prompts with known outcomes.

        Parameters
        ----------
        predicted_quality, predicted_energy_j : ndarray of shape (n, n_models)
            What the heads expected, from folds that did not see the prompts.
        quality, energy_j : ndarray of shape (n, n_models)
            What happened; NaN where a model was not run.
        reference : int
            Column of the reference model.
        n_prices : int
            Number of prices.

        Returns
        -------
        PriceTable
            Qualities are made monotone from the expensive end, so that a price is only trusted
            if every lower one keeps the bar too.
        """
        known = ~np.isnan(quality).any(axis=1)
        truth, joules = quality[known], energy_j[known]
        expected, cost = predicted_quality[known], predicted_energy_j[known]
        rows = np.arange(len(truth))
        base_quality = max(float(truth[:, reference].mean()), 1e-12)
        base_energy = max(float(joules[:, reference].mean()), 1e-12)
        prices = price_grid(expected, cost, n_prices)
        kept = np.empty(len(prices))
        spent = np.empty(len(prices))
        for i, price in enumerate(prices):
            chosen = best_bargain(expected, cost, float(price))
            kept[i] = truth[rows, chosen].mean() / base_quality
            spent[i] = joules[rows, chosen].mean() / base_energy
        monotone = np.minimum.accumulate(kept[::-1])[::-1]
        return cls(
            tuple(prices.tolist()), tuple(monotone.tolist()), tuple(spent.tolist()), len(truth)
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the table as JSON types."""
        return {
            "prices": list(self.prices),
            "quality": list(self.quality),
            "energy": list(self.energy),
            "n_prompts": self.n_prompts,
        }

    @classmethod
    def from_dict(cls, table: dict[str, Any]) -> PriceTable:
        """Build the table from :meth:`to_dict`."""
        return cls(
            tuple(table["prices"]), tuple(table["quality"]), tuple(table["energy"]),
            int(table["n_prompts"]),
        )
