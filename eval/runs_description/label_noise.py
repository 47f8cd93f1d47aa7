"""How far grades go with chance: estimated from prompts that were asked more than once.

The grades that one model got for one prompt vary by chance alone: the answer was sampled anew and
graded anew. Their mean square around the prompt's own mean is the variance of that chance (the
within-target mean square of a one-way random-effects model; Shrout and Fleiss, "Intraclass
correlations: uses in assessing rater reliability", Psychological Bulletin 86, 1979). Where every
grade is right or wrong and a share ``e`` of them is flipped, that variance is ``e (1 - e)``, which
gives ``e``. No router can predict this part of the grades.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["MIN_PROMPTS", "LabelNoise", "NoiseEstimate", "estimate_noise", "label_noise"]

MIN_PROMPTS = 20
"""Prompts with repeated grades below which nothing is estimated."""

_Floats = NDArray[np.float64]
_Index = NDArray[np.int64]

_N_DRAWS = 1000


@dataclass(frozen=True, slots=True)
class NoiseEstimate:
    """Variance of grades by chance.

    Attributes
    ----------
    n_repeats : int
        Grades beyond the first of a prompt and model; what the estimate rests on.
    n_prompts : int
        Prompts with such grades.
    variance : float
        Mean square of grades around their prompt's own mean.
    low, high : float
        Ends of its 95 % interval, by resampling prompts.
    flip_rate, flip_low, flip_high : float
        Share of grades that differ from their prompt's usual grade, with its interval; NaN where
        grades are not just right or wrong.
    unexplained : float
        Share of the variance of all grades of a model that this is, mean over the models; NaN
        where grades do not vary.
    """

    n_repeats: int
    n_prompts: int
    variance: float
    low: float
    high: float
    flip_rate: float
    flip_low: float
    flip_high: float
    unexplained: float


@dataclass(frozen=True, slots=True)
class LabelNoise:
    """What repeated prompts say about the noise in grades.

    Attributes
    ----------
    repeated : NoiseEstimate or None
        From prompts with the same text under several ids; None where there are too few.
    near : NoiseEstimate or None
        From prompts that are nearly the same, with the same numbers: an upper bound, because
        their right answers may differ. None where there are too few.
    n_prompts, n_near_prompts : int
        Prompts with repeated grades that there are, whether or not they are enough.
    """

    repeated: NoiseEstimate | None
    near: NoiseEstimate | None
    n_prompts: int
    n_near_prompts: int


def label_noise(quality: _Floats, same: _Index, near: _Index, seed: int = 0) -> LabelNoise:
    """Estimate the noise in grades from prompts that were asked more than once.

    Parameters
    ----------
    quality : ndarray of shape (n_prompts, n_models)
        Grades, NaN where there is none.
    same, near : ndarray of shape (n_prompts,)
        Equal for prompts of the same text, and of nearly the same text.
    seed : int
        Seed of the resampling.

    Returns
    -------
    LabelNoise
        Nothing is estimated from fewer than `MIN_PROMPTS` prompts with repeated grades.
    """
    _, first = np.unique(same, return_index=True)
    first.sort()
    return LabelNoise(
        repeated=estimate_noise(quality, same, seed),
        near=estimate_noise(quality[first], near[first], seed),
        n_prompts=int((_repeats(quality, same)[1] > 0).sum()),
        n_near_prompts=int((_repeats(quality[first], near[first])[1] > 0).sum()),
    )


def estimate_noise(quality: _Floats, groups: _Index, seed: int = 0) -> NoiseEstimate | None:
    """Estimate the variance of grades around the mean of their group.

    Parameters
    ----------
    quality : ndarray of shape (n_prompts, n_models)
        Grades, NaN where there is none.
    groups : ndarray of shape (n_prompts,)
        Prompts of one group count as one prompt asked repeatedly.
    seed : int
        Seed of the resampling.

    Returns
    -------
    NoiseEstimate or None
        None where fewer than `MIN_PROMPTS` groups have several grades of one model.

    Examples
    --------
    >>> import numpy as np
    >>> quality = np.array([[1.0], [1.0], [1.0], [0.0]] * 20)
    >>> found = estimate_noise(quality, np.repeat(np.arange(40), 2))
    >>> found.n_repeats, found.variance, round(found.flip_rate, 3)
    (40, 0.25, 0.5)
    """
    squares, repeats = _repeats(quality, groups)
    used = repeats > 0
    if used.sum() < MIN_PROMPTS:
        return None
    total = int(repeats.sum())
    squares, repeats = squares[used], repeats[used]
    variance = float(squares.sum()) / total
    low, high = np.quantile(_resampled(squares, repeats, seed), (0.025, 0.975))
    graded = quality[~np.isnan(quality)]
    binary = bool(np.isin(graded, (0.0, 1.0)).all())
    flips = [_flip_rate(v) if binary else math.nan for v in (variance, float(low), float(high))]
    return NoiseEstimate(
        n_repeats=total,
        n_prompts=int(used.sum()),
        variance=variance,
        low=float(low),
        high=float(high),
        flip_rate=flips[0],
        flip_low=flips[1],
        flip_high=flips[2],
        unexplained=_unexplained(quality, groups),
    )


def _resampled(squares: _Floats, repeats: _Floats, seed: int) -> _Floats:
    """Return the variance of resampled prompts, of shape (n_draws,)."""
    rng = np.random.default_rng(seed)
    n = len(squares)
    found = np.empty(_N_DRAWS)
    for draw in range(_N_DRAWS):
        counts = np.bincount(rng.integers(0, n, n), minlength=n)
        found[draw] = (counts @ squares) / (counts @ repeats)
    return found


def _repeats(quality: _Floats, groups: _Index) -> tuple[_Floats, _Floats]:
    """Return for each group the squares around its means, and its grades beyond the first."""
    squares, repeats = _by_model(quality, groups)
    return squares.sum(axis=1), repeats.sum(axis=1)


def _by_model(quality: _Floats, groups: _Index) -> tuple[_Floats, _Floats]:
    """Return squares around the mean and grades beyond the first, for each group and model."""
    _, place = np.unique(groups, return_inverse=True)
    shape = (int(place.max(initial=-1)) + 1, quality.shape[1])
    known = ~np.isnan(quality)
    count, total, squares = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    filled = np.where(known, quality, 0.0)
    np.add.at(count, place, known.astype(np.float64))
    np.add.at(total, place, filled)
    mean = total / np.maximum(count, 1.0)
    np.add.at(squares, place, np.where(known, np.square(filled - mean[place]), 0.0))
    return squares, np.maximum(count - 1.0, 0.0)


def _unexplained(quality: _Floats, groups: _Index) -> float:
    squares, repeats = _by_model(quality, groups)
    shares = []
    for j, column in enumerate(quality.T):
        known = column[~np.isnan(column)]
        n = float(repeats[:, j].sum())
        if n > 0 and len(known) > 1 and np.ptp(known) > 0:
            shares.append(min(float(squares[:, j].sum()) / n / float(known.var(ddof=1)), 1.0))
    return float(np.mean(shares)) if shares else math.nan


def _flip_rate(variance: float) -> float:
    """Return the e of at most one half with ``e (1 - e) = variance``."""
    return 0.5 * (1.0 - math.sqrt(max(1.0 - 4.0 * variance, 0.0)))
