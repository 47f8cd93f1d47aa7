"""Fixed-sequence testing along a path of settings.

The settings are put in an order before calibration prompts are looked at, from the most careful
one to the cheapest. They are tested in that order, each at the full error, up to the first that is
not refuted to break the bar; all before it are certified. No correction for the number of settings
is needed: a wrong certificate needs the *first* setting that breaks the bar to be passed, which
happens with a chance of at most the error.

References
----------
Bauer, "Multiple testing in clinical trials", Statistics in Medicine 10, 1991. Angelopoulos et al.,
"Learn then test: calibrating predictive algorithms to achieve risk control", Annals of Applied
Statistics 19, 2025.
"""

from __future__ import annotations

from collections.abc import Sequence

from router.training.certify.paired import PairedEvidence

__all__ = ["BARS", "certified_steps", "certified_table"]

BARS = tuple(i / 50 for i in range(25, 40)) + tuple(i / 200 for i in range(160, 201))
"""Bars that are certified one by one, from 0.5 to 1.

A bar between two of them is promised by the higher one. A bound that holds for all bars at once
would need p-values that never fall as the bar rises, and those of exact tests now and then do.
"""


def certified_steps(evidence: PairedEvidence, bar: float, error: float) -> int:
    """Return how many settings of the path are certified for a bar.

    Parameters
    ----------
    evidence : PairedEvidence
        Grades on calibration prompts.
    bar : float
        Share of the reference model's mean quality, in (0, 1].
    error : float
        One less the confidence.

    Returns
    -------
    int
        The settings before the first that is not refuted to break the bar.
    """
    for step in range(evidence.n_settings):
        if not evidence.rejects(step, bar, error):
            return step
    return evidence.n_settings


def certified_table(
    evidence: PairedEvidence, errors: Sequence[float]
) -> tuple[tuple[int, ...], ...]:
    """Return how many settings are certified for each error and each of the `BARS`.

    Parameters
    ----------
    evidence : PairedEvidence
        Grades on calibration prompts.
    errors : sequence of float
        One less the confidences.

    Returns
    -------
    tuple of tuple of int
        One row an error, one column a bar. The promise is for any one cell, chosen beforehand.
    """
    return tuple(tuple(certified_steps(evidence, bar, error) for bar in BARS) for error in errors)
