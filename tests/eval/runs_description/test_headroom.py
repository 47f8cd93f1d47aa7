from __future__ import annotations

import numpy as np
import pytest

from router.errors import DataError
from router.eval.baselines import ZeroRouter
from router.eval.benchmark import run_benchmark
from router.eval.runs_description.headroom import headroom


def test_the_same_figures_as_the_benchmark(specialists, router_method):
    found = headroom(specialists.matrix, specialists.pool, range(3))
    result = run_benchmark(
        specialists.matrix,
        specialists.pool,
        router_method,
        seeds=range(3),
        features=specialists.features,
        baselines=[ZeroRouter()],
    )
    methods = {method.name: method for method in result.methods}
    for bar in found.bars:
        name = f"energy_at_{bar.bar:.2f}"
        assert bar.zero_router == methods["zero router"].interval(name)
        assert bar.oracle == methods["oracle"].interval(name)
    assert found.oracle_ratio == methods["oracle"].interval("log_energy_ratio")
    assert (found.n_prompts, found.seeds, found.reference) == (300, (0, 1, 2), "large")


def test_by_hand(make_matrix, pool):
    """The small model is right on every prompt, at a fiftieth of the energy."""
    quality = np.tile([1.0, 0.0, 1.0], (20, 1))
    found = headroom(make_matrix(quality), pool, [0])
    assert found.reference == "small"
    assert [bar.zero_router.mean for bar in found.bars] == [1.0] * 4
    # what may be given up is given up to the same model: nothing costs less
    assert [bar.oracle.mean for bar in found.bars] == [1.0] * 4


def test_too_few_prompts(make_matrix, pool):
    with pytest.raises(DataError, match="at least two are needed"):
        headroom(make_matrix([[1.0, 0.0, 1.0]]), pool, [0])
    with pytest.raises(DataError, match="distinct texts"):
        headroom(make_matrix([[1.0, 0.0, 1.0]] * 2, groups=[0, 0]), pool, [0])
    with pytest.raises(DataError, match="no model 'large'"):
        headroom(make_matrix([[1.0, 0.0]] * 3), pool, [0])
