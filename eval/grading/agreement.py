"""How far a judge's grades agree with gold labels of the same answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

__all__ = ["Agreement", "judge_agreement"]

_Z95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of grades with gold labels.

    Attributes
    ----------
    n : int
        Answers with both.
    agreement : float
        Share of answers that both call right or both call wrong, at `threshold`.
    low, high : float
        95 % Wilson interval of it.
    kappa : float
        Cohen's kappa: 0 for what chance gives, 1 for full agreement; NaN where both call every
        answer the same.
    auc : float
        Chance that the judge grades a right answer above a wrong one; NaN where the gold labels
        are all the same.
    bias : float
        Mean grade minus mean gold label: above 0 the judge is too kind.
    threshold : float
        Grade from which an answer counts as right.
    """

    n: int
    agreement: float
    low: float
    high: float
    kappa: float
    auc: float
    bias: float
    threshold: float

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON types, with null for NaN."""
        return {
            key: None if isinstance(value, float) and math.isnan(value) else value
            for key, value in asdict(self).items()
        }

    def __str__(self) -> str:
        return (
            f"agrees with the gold grader on {self.agreement:.1%} of {self.n:,} answers (95 % "
            f"interval {self.low:.1%} to {self.high:.1%}); kappa {self.kappa:.2f}, AUC "
            f"{self.auc:.2f}, bias {self.bias:+.2f}"
        )


def judge_agreement(
    judged: Sequence[float], gold: Sequence[float], *, threshold: float = 0.5
) -> Agreement:
    """Measure how far grades agree with gold labels.

    Parameters
    ----------
    judged, gold : sequence of float
        Grades of the same answers in [0, 1].
    threshold : float
        Grade from which an answer counts as right. A grade of exactly a half does.

    Returns
    -------
    Agreement
        Of all answers.

    Raises
    ------
    ValueError
        If there are none, or not as many of each.

    References
    ----------
    Wilson, "Probable inference", JASA 1927; Cohen, "A coefficient of agreement for nominal
    scales", 1960.

    Examples
    --------
    >>> judge_agreement([1.0, 0.9, 0.2, 0.8], [1, 1, 0, 0]).agreement
    0.75
    """
    grades, labels = np.asarray(judged, float), np.asarray(gold, float)
    if grades.shape != labels.shape or grades.ndim != 1 or not len(grades):
        raise ValueError("need as many grades as gold labels, and at least one")
    n = len(grades)
    right, gold_right = grades >= threshold, labels >= threshold
    share = float(np.mean(right == gold_right))
    by_chance = float(
        right.mean() * gold_right.mean() + (1 - right.mean()) * (1 - gold_right.mean())
    )
    kappa = (share - by_chance) / (1 - by_chance) if by_chance < 1 else math.nan
    centre = (share + _Z95**2 / (2 * n)) / (1 + _Z95**2 / n)
    half = _Z95 * math.sqrt(share * (1 - share) / n + _Z95**2 / (4 * n * n)) / (1 + _Z95**2 / n)
    return Agreement(
        n=n,
        agreement=share,
        low=max(0.0, min(centre - half, share)),
        high=min(1.0, max(centre + half, share)),
        kappa=kappa,
        auc=_auc(grades, gold_right),
        bias=float(grades.mean() - labels.mean()),
        threshold=threshold,
    )


def _auc(grades: np.ndarray[Any, np.dtype[np.float64]], right: np.ndarray[Any, Any]) -> float:
    good, bad = grades[right], np.sort(grades[~right])
    if not len(good) or not len(bad):
        return math.nan
    below = np.searchsorted(bad, good, "left")
    ties = np.searchsorted(bad, good, "right") - below
    return float((below + ties / 2).mean() / len(bad))
