"""Evidence on calibration prompts: grades of routed answers beside the reference model's."""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from router.training.certify.betting import log_capital
from router.training.certify.hoeffding_bentkus import hoeffding_bentkus_p_value
from router.training.certify.ratio_test import ratio_p_value

__all__ = [
    "METHODS",
    "BoundedEvidence",
    "CountedEvidence",
    "GambledEvidence",
    "PairedEvidence",
    "better_method",
    "gather",
    "rounded",
]

_Floats = NDArray[np.float64]
_Bools = NDArray[np.bool_]

# standard deviations that the tests take off at an error of 0.1
_EXACT, _BETTING = 1.3, 2.15

METHODS = {
    "exact": "exact paired test of right and wrong answers",
    "betting": "betting on bounded grades",
    "hoeffding-bentkus": "Hoeffding-Bentkus bound on bounded grades",
}
"""Names of the tests, with a description each."""


class PairedEvidence(Protocol):
    """Evidence on every setting of a path."""

    @property
    def n_settings(self) -> int:
        """Settings on the path."""

    def rejects(self, setting: int, bar: float, error: float) -> bool:
        """Whether "this setting keeps less than the bar" is refuted at this error."""


@dataclass(frozen=True, slots=True)
class CountedEvidence:
    """Right and wrong answers, for the exact test.

    Attributes
    ----------
    gained, lost, both : tuple of int
        For each setting the prompts that only the router, only the reference model, and both
        got right.
    """

    gained: tuple[int, ...]
    lost: tuple[int, ...]
    both: tuple[int, ...]

    @classmethod
    def of(cls, routed: _Bools, reference: _Bools) -> CountedEvidence:
        """Count right answers of shape (n_settings, n) and (n,)."""
        return cls(
            tuple((routed & ~reference).sum(axis=1).tolist()),
            tuple((~routed & reference).sum(axis=1).tolist()),
            tuple((routed & reference).sum(axis=1).tolist()),
        )

    @property
    def n_settings(self) -> int:
        """Settings on the path."""
        return len(self.gained)

    def rejects(self, setting: int, bar: float, error: float) -> bool:
        """Whether "this setting keeps less than the bar" is refuted at this error."""
        counts = self.gained[setting], self.lost[setting], self.both[setting]
        return ratio_p_value(*counts, bar) <= error


@dataclass(frozen=True, slots=True)
class GambledEvidence:
    """Grades in [0, 1], for the bound by betting.

    Attributes
    ----------
    routed : ndarray of shape (n_settings, n)
        Grades of the routed answers, in an order that does not depend on them.
    reference : ndarray of shape (n,)
        Grades of the reference model's answers.
    """

    routed: _Floats
    reference: _Floats

    @property
    def n_settings(self) -> int:
        """Settings on the path."""
        return len(self.routed)

    def rejects(self, setting: int, bar: float, error: float) -> bool:
        """Whether "this setting keeps less than the bar" is refuted at this error."""
        capital = log_capital(self.routed[setting], self.reference, bar, error)
        return capital >= log(1.0 / error)


@dataclass(frozen=True, slots=True)
class BoundedEvidence:
    """Grades in [0, 1], for the Hoeffding-Bentkus bound.

    Attributes
    ----------
    routed : ndarray of shape (n_settings, n)
        Grades of the routed answers.
    reference : ndarray of shape (n,)
        Grades of the reference model's answers.
    """

    routed: _Floats
    reference: _Floats

    @property
    def n_settings(self) -> int:
        """Settings on the path."""
        return len(self.routed)

    def rejects(self, setting: int, bar: float, error: float) -> bool:
        """Whether "this setting keeps less than the bar" is refuted at this error."""
        surplus = float(np.mean(self.routed[setting] - bar * self.reference))
        # a surplus in [-bar, 1] as a loss in [0, 1]
        loss, level = (1.0 - surplus) / (1.0 + bar), 1.0 / (1.0 + bar)
        return hoeffding_bentkus_p_value(loss, len(self.reference), level) <= error


def rounded(grades: _Floats, draws: _Floats) -> _Bools:
    """Turn grades into right and wrong answers without moving their mean.

    A grade of 0.3 counts as right with a chance of 0.3. All answers to a prompt share the draw,
    so that equal grades stay equal. Grades of 0 and 1 stay what they are.

    Parameters
    ----------
    grades : ndarray of shape (..., n)
        Grades in [0, 1].
    draws : ndarray of shape (n,)
        One number in [0, 1) for each prompt, drawn without looking at the grades.

    Returns
    -------
    ndarray of shape (..., n)
        Whether each answer counts as right.

    Examples
    --------
    >>> rounded(np.array([[0.0, 0.3, 0.3, 1.0]]), np.array([0.0, 0.2, 0.7, 0.99]))
    array([[False,  True, False,  True]])
    """
    return np.asarray(grades > draws)


def better_method(routed: _Floats, reference: _Floats) -> str:
    """Choose the test that takes off less, on grades of training prompts.

    The exact test of right and wrong answers is the sharper one, but has to draw lots where grades
    are fractions, and lots add spread. Where grades hardly differ and are fractions throughout,
    betting on them as they are wins.

    Parameters
    ----------
    routed : ndarray of shape (n_settings, n)
        Grades of the routed answers.
    reference : ndarray of shape (n,)
        Grades of the reference model's answers.

    Returns
    -------
    str
        A key of `METHODS`.
    """
    drawn = np.abs(routed - reference)  # the chance that lots tell the two apart
    plain = (routed - reference) ** 2
    exact, betting = np.sqrt(drawn.mean(axis=1)), np.sqrt(plain.mean(axis=1))
    return "exact" if _EXACT * exact.sum() <= _BETTING * betting.sum() else "betting"


def gather(method: str, routed: _Floats, reference: _Floats, draws: _Floats) -> PairedEvidence:
    """Return the evidence for one of the `METHODS`.

    Parameters
    ----------
    method : str
        A key of `METHODS`.
    routed : ndarray of shape (n_settings, n)
        Grades of the routed answers, in an order that does not depend on them.
    reference : ndarray of shape (n,)
        Grades of the reference model's answers.
    draws : ndarray of shape (n,)
        For :func:`rounded`.
    """
    if method == "exact":
        return CountedEvidence.of(rounded(routed, draws), rounded(reference, draws))
    if method == "betting":
        return GambledEvidence(routed, reference)
    return BoundedEvidence(routed, reference)
