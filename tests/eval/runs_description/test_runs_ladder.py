from __future__ import annotations

import numpy as np
import pytest

from router.eval.runs_description.ladder import ladder


def test_the_smallest_right_model_by_hand():
    quality = np.array(
        [
            [1.0, 1.0, 1.0],  # all right: the small one
            [0.0, 0.5, 1.0],  # a half is right: the middle one
            [0.0, 0.4, 0.9],  # only the large one
            [0.0, 0.0, 0.0],  # none
            [1.0, 0.0, 1.0],  # the small one needed more energy here
        ]
    )
    energy_j = np.tile([1.0, 2.0, 9.0], (5, 1))
    energy_j[4] = [20.0, 2.0, 9.0]
    found = ladder(quality, energy_j, ("small", "middle", "large"))
    assert [rung.model for rung in found.rungs] == ["middle", "small", "large"]  # by mean energy
    shares = {r.model: (r.right, r.least_energy_right, r.only_right) for r in found.rungs}
    assert shares["small"] == (0.4, 0.2, 0.0)
    assert shares["middle"] == (0.4, 0.2, 0.0)
    assert shares["large"] == (0.8, 0.4, 0.2)
    assert (found.none_right, found.all_right, found.n_prompts) == (0.2, 0.2, 5)


def test_shares_add_up():
    rng = np.random.default_rng(0)
    quality, energy_j = rng.random((500, 6)), rng.uniform(1, 9, (500, 6))
    found = ladder(quality, energy_j, tuple("abcdef"))
    total = sum(rung.least_energy_right for rung in found.rungs) + found.none_right
    assert total == pytest.approx(1)
    assert [rung.mean_energy_j for rung in found.rungs] == sorted(energy_j.mean(axis=0))


def test_equal_energy_goes_to_the_first():
    found = ladder(np.ones((4, 2)), np.ones((4, 2)), ("first", "second"))
    assert [rung.least_energy_right for rung in found.rungs] == [1.0, 0.0]
