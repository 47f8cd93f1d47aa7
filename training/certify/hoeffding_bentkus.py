"""The Hoeffding-Bentkus bound, for comparison: it knows the range of grades, not their spread.

References
----------
Bates et al., "Distribution-free, risk-controlling prediction sets", Journal of the ACM 68, 2021.
Angelopoulos et al., "Learn then test: calibrating predictive algorithms to achieve risk control",
Annals of Applied Statistics 19, 2025.
"""

from __future__ import annotations

from math import ceil, e, exp, log

from scipy.special import bdtr

__all__ = ["hoeffding_bentkus_p_value"]


def hoeffding_bentkus_p_value(mean_loss: float, n: int, level: float) -> float:
    """Return the p-value of "the expected loss is more than `level`".

    Parameters
    ----------
    mean_loss : float
        Mean of n losses in [0, 1].
    n : int
        Number of losses.
    level : float
        The expected loss in question, in (0, 1).

    Returns
    -------
    float
        In [0, 1].

    Examples
    --------
    >>> round(hoeffding_bentkus_p_value(0.05, 1000, 0.07), 4)
    0.0161
    """
    below = min(mean_loss, level)
    exponent = _times_log(below, level) + _times_log(1.0 - below, 1.0 - level)
    # the count that the mean stands for, whatever rounding did
    bentkus = e * float(bdtr(ceil(n * mean_loss - 1e-9), n, level))
    return min(1.0, exp(-n * exponent), bentkus)


def _times_log(a: float, b: float) -> float:
    """Return ``a ln(a / b)``, 0 where a is 0."""
    return a * log(a / b) if a > 0.0 else 0.0
