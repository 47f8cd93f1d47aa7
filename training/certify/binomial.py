"""The exact lower bound on a share, from a count.

References
----------
Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the
binomial", Biometrika 26, 1934.
"""

from __future__ import annotations

from scipy.special import betaincinv

__all__ = ["clopper_pearson_lower"]


def clopper_pearson_lower(count: int, n: int, error: float) -> float:
    """Return a lower bound on a share that is wrong with a chance of at most `error`.

    Parameters
    ----------
    count : int
        Cases that count, of `n`.
    n : int
        Independent cases.
    error : float
        In (0, 1).

    Returns
    -------
    float
        In [0, 1]; 0 where nothing counts.

    Examples
    --------
    >>> round(clopper_pearson_lower(45, 45, 0.1), 4)
    0.9501
    """
    return float(betaincinv(count, n - count + 1, error)) if count else 0.0
