"""Certificates: what a router promises about quality, and on what grounds.

A certificate of a bar says: with this confidence, traffic that is exchangeable with the calibration
prompts keeps at least this share of the reference model's mean quality. A certificate of a floor
says that the answers of the chosen model are good at least that often. Where calibration prompts do
not support a promise, the certificate says so, and how many would be needed.
"""

from __future__ import annotations

from dataclasses import dataclass

from router.dial import Setting
from router.errors import ConfigError

__all__ = ["Certificate", "FloorCertificate", "check_promise", "uncalibrated"]


@dataclass(frozen=True, slots=True)
class Certificate:
    """Whether a quality bar is promised, and on what grounds.

    Attributes
    ----------
    bar : float
        Share of the reference model's mean quality that traffic keeps.
    confidence : float
        Chance that such a promise is right, over the choice of the calibration prompts.
    holds : bool
        Whether it is promised.
    n : int
        Calibration prompts, each with a text of its own; of the group if there is one.
    n_needed : int or None
        Where the promise does not hold: calibration prompts with which it would in four cases of
        five, if they go as those at hand did. None where no number would do, or nothing is known.
    method : str
        How the bound was computed; empty without a calibration.
    date : str
        Day of the calibration, as in 2026-11-30; empty without one.
    group : str or None
        The kind of prompts that the promise is about; None for all traffic.
    setting : Setting or None
        The cheapest setting that is certified for the bar, which serves; None where there is none,
        or where none takes less energy than the reference model.
    reason : str
        The same in a sentence.
    """

    bar: float
    confidence: float
    holds: bool
    n: int
    n_needed: int | None
    method: str
    date: str
    group: str | None
    setting: Setting | None
    reason: str


@dataclass(frozen=True, slots=True)
class FloorCertificate:
    """Whether a floor under the probability of a good answer is promised for the chosen model.

    Attributes
    ----------
    floor : float
        Least share of good answers among the prompts that the model gets under this floor.
    confidence : float
        Chance that the promises for all models of the pool are right together.
    holds : bool
        Whether it is promised.
    n, n_good : int
        Calibration prompts that the model got under this floor, and how many went well.
    n_needed : int or None
        Where the promise does not hold: about how many prompts the model must get so that it
        would, if they go as those at hand did. None where no number would do.
    coverage : float
        Share of all calibration prompts for which some model reached the floor.
    reason : str
        The same in a sentence.
    """

    floor: float
    confidence: float
    holds: bool
    n: int
    n_good: int
    n_needed: int | None
    coverage: float
    reason: str


def uncalibrated(bar: float, confidence: float, group: str | None = None) -> Certificate:
    """Return the certificate of a router that was never calibrated: it promises nothing.

    Parameters
    ----------
    bar : float
        Share of the reference model's mean quality, in (0, 1].
    confidence : float
        In (0, 1).
    group : str, optional
        Kind of prompts.

    Raises
    ------
    ConfigError
        If `bar` or `confidence` is out of range.

    Examples
    --------
    >>> uncalibrated(0.98, 0.9).reason
    'not certified: this router was never calibrated'
    """
    check_promise(bar, confidence)
    return Certificate(
        bar=bar,
        confidence=confidence,
        holds=False,
        n=0,
        n_needed=None,
        method="",
        date="",
        group=group,
        setting=None,
        reason="not certified: this router was never calibrated",
    )


def check_promise(bar: float, confidence: float) -> None:
    """Refuse what no certificate can be about.

    Raises
    ------
    ConfigError
        If `bar` is not in (0, 1] or `confidence` not in (0, 1).
    """
    if not 0.0 < bar <= 1.0:
        raise ConfigError(f"quality is {bar!r}: use a share of the reference in (0, 1]")
    if not 0.0 < confidence < 1.0:
        raise ConfigError(f"confidence is {confidence!r}: use a number in (0, 1), such as 0.9")
