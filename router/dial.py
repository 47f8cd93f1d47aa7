"""The dial of a router: settings from the cheapest answer to the best one.

A setting is an energy price and a shrinkage. Shrinkage moves expected qualities towards the
pool's means: at 0 they are taken as they are, at 1 every prompt gets one fixed model, so that
the fully shrunken settings are the models that the zero router mixes. Which settings to trust at
which bar is for prompts to say that the heads have not seen.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.errors import ConfigError
from router.policy import best_bargain, price_grid

__all__ = [
    "Dial",
    "DialShape",
    "PoolMeans",
    "Setting",
    "choose",
    "dial_settings",
    "dial_sweep",
    "shrink",
]

_Floats = NDArray[np.float64]
_Index = NDArray[np.int64]

_N_PRICES = 100


@dataclass(frozen=True, slots=True)
class PoolMeans:
    """Mean outcomes of the pool's models on the training prompts.

    Attributes
    ----------
    quality, energy_j : tuple of float
        Mean quality and mean energy in joules of each model.
    pruned : tuple of int
        Columns of models that are never chosen: others are better and take less energy.
    """

    quality: tuple[float, ...]
    energy_j: tuple[float, ...]
    pruned: tuple[int, ...] = ()

    @classmethod
    def of(cls, quality: _Floats, energy_j: _Floats) -> PoolMeans:
        """Return the means of outcomes (n, n_models) where quality is not NaN: of what was run."""
        gaps = np.isnan(quality)
        # a request that was never made took no energy that is known, whatever stands there
        spent = np.where(gaps, np.nan, energy_j) if gaps.any() else energy_j
        means = np.nanmean(quality, axis=0), np.nanmean(spent, axis=0)
        return cls(tuple(means[0].tolist()), tuple(means[1].tolist()))

    def dominated(self) -> tuple[int, ...]:
        """Return the columns of models that another one beats in mean quality and mean energy."""
        pairs = list(zip(self.quality, self.energy_j, strict=True))
        return tuple(
            j
            for j, (quality, energy_j) in enumerate(pairs)
            if any(q >= quality and e < energy_j for q, e in pairs)
        )


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of the dial.

    Attributes
    ----------
    price : float
        Quality that one joule must buy.
    shrinkage : float
        Share of the way from the expected qualities to the pool's means, in [0, 1].

    Raises
    ------
    ValueError
        If a number is out of its range.
    """

    price: float
    shrinkage: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.price < math.inf or not 0.0 <= self.shrinkage <= 1.0:
            raise ValueError(f"not a setting of the dial: {self.price!r}, {self.shrinkage!r}")


def shrink(
    quality: _Floats, energy_j: _Floats, means: PoolMeans, setting: Setting
) -> tuple[_Floats, _Floats]:
    """Move expectations towards the pool's means as far as a setting says.

    Parameters
    ----------
    quality, energy_j : ndarray of shape (n, n_models)
        Expected quality and energy in joules.
    means : PoolMeans
        Mean outcomes on the training prompts.
    setting : Setting
        Its shrinkage is used.

    Returns
    -------
    quality, energy_j : ndarray of shape (n, n_models)
        Shrunken qualities, those of pruned models minus infinity; energies as they were, or
        their means where shrinkage is complete.
    """
    mean_quality = np.array(means.quality)
    if setting.shrinkage >= 1.0:
        shrunken = np.tile(mean_quality, (len(quality), 1))
        energy_j = np.broadcast_to(means.energy_j, quality.shape)
    else:
        shrunken = quality + setting.shrinkage * (mean_quality - quality)
    if means.pruned:
        shrunken[:, list(means.pruned)] = -np.inf
    return shrunken, energy_j


def choose(quality: _Floats, energy_j: _Floats, means: PoolMeans, setting: Setting) -> _Index:
    """Choose the best bargain for each prompt at a setting.

    Parameters
    ----------
    quality, energy_j : ndarray of shape (n, n_models)
        Expected quality and energy in joules.
    means : PoolMeans
        Mean outcomes on the training prompts.
    setting : Setting
        Price and shrinkage.

    Returns
    -------
    ndarray of shape (n,)
        Columns of the chosen models.

    Examples
    --------
    >>> import numpy as np
    >>> quality, energy_j = np.array([[0.2, 0.9]]), np.array([[10.0, 100.0]])
    >>> means = PoolMeans((0.8, 0.9), (10.0, 100.0))
    >>> choose(quality, energy_j, means, Setting(price=0.005, shrinkage=0.0))
    array([1])
    >>> choose(quality, energy_j, means, Setting(price=0.005, shrinkage=1.0))
    array([0])
    """
    return best_bargain(*shrink(quality, energy_j, means, setting), setting.price)


@dataclass(frozen=True, slots=True)
class DialShape:
    """Which kinds of settings are tried.

    Attributes
    ----------
    shrinkages : tuple of float
        Each of them with every price.
    fixed_models : bool
        Whether the single models that the zero router mixes are settings too.
    """

    shrinkages: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75)
    fixed_models: bool = True


def dial_settings(
    quality: _Floats, energy_j: _Floats, means: PoolMeans, shape: DialShape | None = None
) -> tuple[Setting, ...]:
    """Return the settings that are tried for a pool.

    Parameters
    ----------
    quality, energy_j : ndarray of shape (n, n_models)
        Expected quality and energy in joules; they decide the range of prices.
    means : PoolMeans
        Mean outcomes on the training prompts.
    shape : DialShape, optional
        Which kinds of settings; the default ones where absent.

    Returns
    -------
    tuple of Setting
        Every price with every shrinkage, and one setting for each model on the upper hull of the
        means.
    """
    shape = shape or DialShape()
    prices = price_grid(quality, energy_j, _N_PRICES).tolist()
    settings = [Setting(price, shrinkage) for shrinkage in shape.shrinkages for price in prices]
    fixed = _prices_of_fixed_models(means) if shape.fixed_models else []
    return (*settings, *(Setting(price, 1.0) for price in fixed))


def _prices_of_fixed_models(means: PoolMeans) -> list[float]:
    """Return a price at which each model on the upper hull of the means is the best bargain.

    From the highest price to the lowest. A grid of prices would miss a model whose own range of
    prices lies between two of them.
    """
    models = [j for j in range(len(means.quality)) if j not in means.pruned]
    points = [(means.energy_j[j], means.quality[j]) for j in models]
    energy_j, quality = min(points, key=lambda point: (point[0], -point[1]))
    # the price below which the next model is the better bargain, for each model but the last
    limits: list[float] = []
    while True:
        steps = [((q - quality) / (e - energy_j), e, q) for e, q in points if q > quality]
        if not steps:
            break
        limit, energy_j, quality = max(steps)
        limits.append(limit)
    if not limits:
        return [0.0]
    between = [math.sqrt(high * low) for high, low in itertools.pairwise(limits)]
    return [2.0 * limits[0], *between, 0.5 * limits[-1]]


def dial_sweep(
    quality: _Floats,
    energy_j: _Floats,
    means: PoolMeans,
    reference: int,
    shape: DialShape | None = None,
) -> _Index:
    """Sweep the dial from the cheapest answers to the best ones.

    Parameters
    ----------
    quality, energy_j : ndarray of shape (n, n_models)
        Expected quality and energy in joules.
    means : PoolMeans
        Mean outcomes on the training prompts.
    reference : int
        Column of the reference model.
    shape : DialShape, optional
        Which kinds of settings; the default ones where absent.

    Returns
    -------
    ndarray of shape (n_settings, n)
        Columns of the chosen models by rising expected energy; the last setting is the
        reference model for every prompt.
    """
    settings = dial_settings(quality, energy_j, means, shape)
    choices = np.stack([choose(quality, energy_j, means, setting) for setting in settings])
    expected_j = energy_j[np.arange(len(quality)), choices].mean(axis=1)
    ordered = choices[np.argsort(expected_j, kind="stable")]
    return np.vstack([ordered, np.full((1, len(quality)), reference)])


@dataclass(frozen=True, slots=True)
class Dial:
    """What each setting led to on prompts that the heads had not seen.

    Attributes
    ----------
    settings : tuple of Setting
        The settings, by shrinkage, then from the highest price to the lowest.
    quality : tuple of float
        Mean quality relative to the reference model's at each setting; monotone in the price.
    energy : tuple of float
        Mean energy relative to the reference model's at each setting.
    means : PoolMeans
        What shrinkage leads to.
    n_prompts : int
        Prompts that this was measured on.

    Raises
    ------
    ValueError
        If the tuples differ in length, or a number is not finite or out of its range.
    """

    settings: tuple[Setting, ...]
    quality: tuple[float, ...]
    energy: tuple[float, ...]
    means: PoolMeans
    n_prompts: int

    def __post_init__(self) -> None:
        if not len(self.settings) == len(self.quality) == len(self.energy):
            raise ValueError("settings, quality and energy must have the same length")
        if not all(0.0 <= number < math.inf for number in (*self.quality, *self.energy)):
            raise ValueError("quality and energy must be finite and not negative")

    def setting_for(self, bar: float) -> Setting | None:
        """Return the setting of least energy that keeps the bar.

        Parameters
        ----------
        bar : float
            Share of the reference model's mean quality, in (0, 1].

        Returns
        -------
        Setting or None
            None where only the reference model keeps the bar.

        Raises
        ------
        ConfigError
            If `bar` is not in (0, 1].
        """
        if not 0.0 < bar <= 1.0:
            raise ConfigError(f"quality is {bar!r}: use a share of the reference in (0, 1]")
        keeping = [
            (energy, -quality, i)
            for i, (quality, energy) in enumerate(zip(self.quality, self.energy, strict=True))
            if quality >= bar and energy < 1.0
        ]
        return self.settings[min(keeping)[2]] if keeping else None

    @classmethod
    def measure(
        cls,
        expected_quality: _Floats,
        expected_energy_j: _Floats,
        quality: _Floats,
        energy_j: _Floats,
        means: PoolMeans,
        reference: int,
        shape: DialShape | None = None,
    ) -> Dial:
        """Measure the settings on prompts with known outcomes.

        Parameters
        ----------
        expected_quality, expected_energy_j : ndarray of shape (n, n_models)
            What the heads expected, from folds that did not see the prompts.
        quality, energy_j : ndarray of shape (n, n_models)
            What happened; quality is NaN where a model was not run.
        means : PoolMeans
            Mean outcomes, and which models are pruned.
        reference : int
            Column of the reference model.
        shape : DialShape, optional
            Which kinds of settings; the default ones where absent.

        Returns
        -------
        Dial
            Qualities are made monotone from the expensive end, so that a price is only trusted
            if every lower one keeps the bar too. Without a setting where no prompt was
            answered by all models: then only the reference model is known to keep a bar.
        """
        known = ~np.isnan(quality).any(axis=1)
        if not known.any():
            return cls((), (), (), means, 0)
        truth, joules = quality[known], energy_j[known]
        expected, cost = expected_quality[known], expected_energy_j[known]
        settings = dial_settings(expected_quality, expected_energy_j, means, shape)
        rows = np.arange(len(truth))
        base_quality = float(truth[:, reference].mean())
        base_energy = float(joules[:, reference].mean())
        kept, spent = [], []
        for setting in settings:
            chosen = choose(expected, cost, means, setting)
            kept.append(_share(truth[rows, chosen], base_quality))
            spent.append(_share(joules[rows, chosen], base_energy))
        return cls(settings, _monotone(settings, kept), tuple(spent), means, len(truth))

    def to_dict(self) -> dict[str, Any]:
        """Return the dial as JSON types."""
        return {
            "price": [setting.price for setting in self.settings],
            "shrinkage": [setting.shrinkage for setting in self.settings],
            "quality": list(self.quality),
            "energy": list(self.energy),
            "mean_quality": list(self.means.quality),
            "mean_energy_j": list(self.means.energy_j),
            "pruned": list(self.means.pruned),
            "n_prompts": self.n_prompts,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Dial:
        """Build the dial from :meth:`to_dict`.

        Raises
        ------
        KeyError, TypeError, ValueError
            If something is missing or of another shape.
        """
        columns = (
            tuple(map(float, stored[name])) for name in ("price", "shrinkage", "quality", "energy")
        )
        price, shrinkage, quality, energy = columns
        return cls(
            tuple(Setting(p, s) for p, s in zip(price, shrinkage, strict=True)),
            quality,
            energy,
            PoolMeans(
                tuple(map(float, stored["mean_quality"])),
                tuple(map(float, stored["mean_energy_j"])),
                tuple(map(int, stored["pruned"])),
            ),
            int(stored["n_prompts"]),
        )


def _share(values: _Floats, base: float) -> float:
    """Mean relative to the reference model's; 0 where that is 0."""
    return float(values.mean()) / base if base > 0.0 else 0.0


def _monotone(settings: Sequence[Setting], kept: Sequence[float]) -> tuple[float, ...]:
    """Least quality from each price down to the lowest of the same shrinkage."""
    trusted = list(kept)
    for i in range(len(kept) - 2, -1, -1):
        if settings[i].shrinkage == settings[i + 1].shrinkage:
            trusted[i] = min(trusted[i], trusted[i + 1])
    return tuple(trusted)
