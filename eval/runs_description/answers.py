"""What each model's answers look like: coverage, qualities, lengths."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from router.eval.intervals import Interval, interval95
from router.eval.matrix import AnswerMatrix

__all__ = ["Coverage", "Lengths", "ModelAnswers", "coverage", "model_answers"]

_Floats = NDArray[np.float64]

# at a limit on tokens there are far more answers than at any length below it
_PILE_SHARE, _PILE_COUNT, _PILE_FACTOR = 0.005, 5, 3


@dataclass(frozen=True, slots=True)
class Coverage:
    """Share of the prompts of one kind that each model was graded on.

    Attributes
    ----------
    label : str
        Task or source; empty for prompts without one.
    n_prompts : int
        Prompts of this kind.
    answered : tuple of float
        Share that each model was graded on.
    """

    label: str
    n_prompts: int
    answered: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Lengths:
    """Token counts of one model.

    Attributes
    ----------
    median, p90 : float
        Tokens; NaN where none is known.
    missing : float
        Share of the model's grades without a count.
    """

    median: float
    p90: float
    missing: float


@dataclass(frozen=True, slots=True)
class ModelAnswers:
    """What one model's answers look like.

    Attributes
    ----------
    model : str
        Its name in the runs.
    n : int
        Its grades.
    quality : Interval
        Mean quality and its 95 % interval over the prompts: Wilson's for right and wrong
        (Wilson, "Probable inference, the law of succession, and statistical inference", 1927),
        Student's for graded qualities.
    kind : {"binary", "graded", "constant"}
        Whether all grades are 0 or 1, some lie between, or all are equal.
    between : float
        Share of grades that are neither 0 nor 1.
    prompt_tokens, completion_tokens : Lengths
        Tokens of prompts and answers.
    energy_measured : float
        Share of the answers with a measured energy.
    at_longest : int
        Answers of exactly the greatest length, where they are so many more than at any other that
        a limit on tokens cut them off, as it seems; 0 elsewhere.
    longest : float
        The greatest length in tokens; NaN where none is known.
    truncated : int or None
        Answers that are marked as cut off; they have no grade. None where nothing marks them.
    """

    model: str
    n: int
    quality: Interval
    kind: str
    between: float
    prompt_tokens: Lengths
    completion_tokens: Lengths
    energy_measured: float
    at_longest: int
    longest: float
    truncated: int | None


def coverage(quality: _Floats, labels: Sequence[str]) -> tuple[Coverage, ...]:
    """Return what share of the prompts each model was graded on, for each kind of prompts.

    Parameters
    ----------
    quality : ndarray of shape (n_prompts, n_models)
        Grades, NaN where there is none.
    labels : sequence of str
        Task or source of each prompt.

    Returns
    -------
    tuple of Coverage
        The kinds with the most prompts first.

    Examples
    --------
    >>> import numpy as np
    >>> coverage(np.array([[1.0, np.nan], [0.0, 1.0]]), ["sums", "sums"])
    (Coverage(label='sums', n_prompts=2, answered=(1.0, 0.5)),)
    """
    names, place = np.unique(np.array(labels, dtype=object), return_inverse=True)
    count = np.bincount(place.reshape(-1), minlength=len(names))
    answered = np.zeros((len(names), quality.shape[1]))
    np.add.at(answered, place.reshape(-1), (~np.isnan(quality)).astype(np.float64))
    return tuple(
        Coverage(str(names[i]), int(count[i]), tuple((answered[i] / count[i]).tolist()))
        for i in np.argsort(-count, kind="stable").tolist()
    )


def model_answers(
    matrix: AnswerMatrix, truncated: Mapping[str, int] | None = None
) -> tuple[ModelAnswers, ...]:
    """Describe the answers of every model.

    Parameters
    ----------
    matrix : AnswerMatrix
        Evaluation runs.
    truncated : mapping of str to int, optional
        Answers of each model that are marked as cut off; absent where nothing marks them.

    Returns
    -------
    tuple of ModelAnswers
        In the order of the matrix.
    """
    return tuple(
        _answers(matrix, j, None if truncated is None else truncated.get(model, 0))
        for j, model in enumerate(matrix.models)
    )


def _answers(matrix: AnswerMatrix, j: int, truncated: int | None) -> ModelAnswers:
    graded = ~np.isnan(matrix.quality[:, j])
    quality = matrix.quality[graded, j]
    tokens = matrix.completion_tokens[graded, j]
    known = tokens[~np.isnan(tokens)]
    longest = float(known.max()) if len(known) else math.nan
    between = (quality > 0.0) & (quality < 1.0)
    kind = "graded" if between.any() else "binary"
    if len(quality) and np.ptp(quality) == 0:
        kind = "constant"
    return ModelAnswers(
        model=matrix.models[j],
        n=len(quality),
        quality=_mean(quality, bool(between.any())),
        kind=kind,
        between=float(between.mean()) if len(between) else math.nan,
        prompt_tokens=_lengths(matrix.prompt_tokens[graded, j]),
        completion_tokens=_lengths(tokens),
        energy_measured=float((~np.isnan(matrix.energy_j[graded, j])).mean())
        if len(quality)
        else math.nan,
        at_longest=_piled_up(known),
        longest=longest,
        truncated=truncated,
    )


def _piled_up(tokens: _Floats) -> int:
    """Return how many answers a limit on tokens cut off, as far as their lengths tell."""
    _, counts = np.unique(tokens, return_counts=True)
    if len(counts) < 2:
        return 0
    least = max(_PILE_COUNT, _PILE_SHARE * len(tokens), _PILE_FACTOR * int(counts[:-1].max()))
    return int(counts[-1]) if counts[-1] >= least else 0


def _mean(quality: _Floats, graded: bool) -> Interval:
    if graded or not len(quality):
        return interval95(quality)
    n, mean = len(quality), float(quality.mean())
    z = float(norm.ppf(0.975))
    centre = (mean + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(mean * (1 - mean) / n + z * z / (4 * n * n))
    # the ends are 0 and 1 but for rounding where all grades are
    return Interval(mean, max(min(centre - half, mean), 0.0), min(max(centre + half, mean), 1.0))


def _lengths(tokens: _Floats) -> Lengths:
    known = tokens[~np.isnan(tokens)]
    missing = 1.0 - len(known) / len(tokens) if len(tokens) else math.nan
    if not len(known):
        return Lengths(math.nan, math.nan, missing)
    return Lengths(float(np.median(known)), float(np.quantile(known, 0.9)), missing)
