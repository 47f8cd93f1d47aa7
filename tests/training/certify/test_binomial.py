from __future__ import annotations

import pytest
from scipy.stats import binomtest

from router.training.certify.binomial import clopper_pearson_lower


@pytest.mark.parametrize(("count", "n"), [(0, 10), (1, 10), (7, 10), (10, 10), (450, 500)])
@pytest.mark.parametrize("error", [0.2, 0.1, 0.01])
def test_it_is_scipys_interval(count: int, n: int, error: float) -> None:
    interval = binomtest(count, n, alternative="greater").proportion_ci(1 - error, "exact")
    assert clopper_pearson_lower(count, n, error) == pytest.approx(interval.low, abs=1e-12)
